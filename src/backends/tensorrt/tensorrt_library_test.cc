#include "backends/tensorrt/tensorrt_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict::tensorrt {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TensorRtVersion, NumbersOfBothSchemes) {
  EXPECT_EQ(VersionFromNumber(8503).text(), "8.5.3");
  EXPECT_EQ(VersionFromNumber(8601).text(), "8.6.1");
  EXPECT_EQ(VersionFromNumber(100001).text(), "10.0.1");
  EXPECT_EQ(VersionFromNumber(101600).text(), "10.16.0");
  EXPECT_EQ(VersionFromNumber(110100).text(), "11.1.0");
}

TEST(TensorRtVersion, OnlyTheHeadersMinorVersionFits) {
  EXPECT_TRUE(CheckVersion({kTensorRtMajor, kTensorRtMinor, 99}).ok());
  for (const TensorRtVersion other : {TensorRtVersion{kTensorRtMajor, kTensorRtMinor + 1, 0},
                                      TensorRtVersion{kTensorRtMajor + 1, kTensorRtMinor, 0}}) {
    const Status status = CheckVersion(other);
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("version " + other.text()), HasSubstr("install TensorRT ")));
  }
}

TEST(Logger, KeepsTheLastErrorsForTheStatus) {
  std::vector<std::string> logged;
  Logger logger([&](const std::string& line) { logged.push_back(line); });
  using Severity = nvinfer1::ILogger::Severity;
  for (const char* text : {"first", "second", "third", "fourth", "fifth"}) {
    logger.log(Severity::kERROR, text);
  }
  logger.log(Severity::kWARNING, "a warning");
  logger.log(Severity::kINFO, "said to builds alone");
  logger.log(Severity::kVERBOSE, "said to nobody");
  EXPECT_EQ(logged.size(), 6U);
  EXPECT_EQ(logged.back(), "TensorRT: warning: a warning");
  const Status status = TensorRtError("building", logger);
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(status.message(), "building: TensorRT: second; third; fourth; fifth");
  EXPECT_THAT(TensorRtError("building", logger).message(), HasSubstr("no message of TensorRT"));
}

TEST(Logger, ABuildHearsWhatTheDeviceDoesNot) {
  std::vector<std::string> device, build;
  Logger logger([&](const std::string& line) { device.push_back(line); });
  logger.SetBuildLog([&](const std::string& line) { build.push_back(line); });
  logger.log(nvinfer1::ILogger::Severity::kINFO, "3 of 7");
  logger.SetBuildLog({});
  logger.log(nvinfer1::ILogger::Severity::kINFO, "4 of 7");
  EXPECT_THAT(build, ElementsAre("TensorRT: 3 of 7"));
  EXPECT_THAT(device, ElementsAre());
}

TEST(Logger, CutsLongMessages) {
  Logger logger({});
  logger.log(nvinfer1::ILogger::Severity::kERROR, std::string(100'000, 'x').c_str());
  EXPECT_LT(logger.TakeErrors().size(), 1000U);
}

TEST(TensorRtError, TellsMemoryFromOtherErrors) {
  Logger logger({});
  logger.log(nvinfer1::ILogger::Severity::kERROR,
             "2: [virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no "
             "further information)");
  EXPECT_EQ(TensorRtError("loading", logger).code(), StatusCode::kResourceExhausted);
  logger.log(nvinfer1::ILogger::Severity::kERROR, "Cuda failure: out of memory");
  EXPECT_EQ(TensorRtError("loading", logger).code(), StatusCode::kResourceExhausted);
  logger.log(nvinfer1::ILogger::Severity::kERROR, "a memory of something");
  EXPECT_EQ(TensorRtError("loading", logger).code(), StatusCode::kInternal);
}

TEST(TensorRtLibrary, MissingLibrarySaysWhatToInstall) {
  const auto library = TensorRtLibrary::Open();
  if (library.ok()) GTEST_SKIP() << "TensorRT " << (*library)->version().text() << " is here";
  EXPECT_EQ(library.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(library.status().message(),
              AllOf(HasSubstr("libnvinfer.so." + std::to_string(kTensorRtMajor)),
                    HasSubstr("install TensorRT"), HasSubstr("LD_LIBRARY_PATH")));
}

}  // namespace
}  // namespace verdict::tensorrt
