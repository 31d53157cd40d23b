#include "quant/calibration_cache.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

namespace verdict {
namespace {

using ::testing::HasSubstr;

const std::string kDigest(64, 'a');

std::string Error(const std::string& text) {
  const auto parsed = CalibrationCache::Parse(text, "c.cache");
  return parsed.ok() ? "" : parsed.status().message();
}

TEST(CalibrationCache, IsWrittenAsTensorRtWritesIt) {
  CalibrationCache cache;
  cache.scales = {{"x", 1.0F}, {"dense/Relu:0", 0.0078740157F}};
  EXPECT_EQ(cache.Print(), "TRT-8503-EntropyCalibration2\ndense/Relu:0: 3c010204\nx: 3f800000\n");
}

TEST(CalibrationCache, ReadsWhatTensorRtWrites) {
  const auto cache = CalibrationCache::Parse(
      "TRT-8601-MinMaxCalibration\ninput: 3c010a14\n(Unnamed Layer* 0) [Constant]: 0: 3F800000\r\n",
      "c.cache");
  ASSERT_TRUE(cache.ok()) << cache.status().ToString();
  ASSERT_EQ(cache->scales.size(), 2u);
  EXPECT_NEAR(cache->scales.at("input"), 0.007876, 1e-5);
  EXPECT_EQ(cache->scales.at("(Unnamed Layer* 0) [Constant]: 0"), 1.0F);
  EXPECT_EQ(CalibrationCache::Parse(cache->Print(), "again")->scales, cache->scales);
}

TEST(CalibrationCache, SaysWhatIsWrongAndWhere) {
  const std::string header = "TRT-8503-EntropyCalibration2\n";
  EXPECT_THAT(Error("TRT-x\nx: 3f800000\n"), HasSubstr("c.cache, line 1: 'TRT-x'"));
  EXPECT_THAT(Error(""), HasSubstr("without tensors"));
  EXPECT_THAT(Error(header), HasSubstr("without tensors"));
  EXPECT_THAT(Error(header + "x 3f800000\n"), HasSubstr("line 2: no 'tensor: scale'"));
  EXPECT_THAT(Error(header + "x: 3f80000\n"), HasSubstr("line 2: '3f80000' is not eight"));
  EXPECT_THAT(Error(header + "x: 3f80000g\n"), HasSubstr("is not eight"));
  for (const char* bits : {"00000000", "7f800000", "7fc00000", "bf800000", "00000001"}) {
    EXPECT_THAT(Error(header + "x: " + bits + "\n"), HasSubstr("line 2: a scale of")) << bits;
  }
  EXPECT_THAT(Error(header + "x: 3f800000\nx: 3f800000\n"), HasSubstr("line 3: tensor 'x' comes"));
}

class CalibrationCacheFile : public testing::Test {
 protected:
  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / "calibration_cache_test.cache";
  void SetUp() override { TearDown(); }
  void TearDown() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_.string() + ".sha256");
  }
};

TEST_F(CalibrationCacheFile, IsBoundToItsModel) {
  CalibrationCache cache;
  cache.scales = {{"x", 0.5F}};
  ASSERT_TRUE(WriteCalibrationCache(path_, cache, "models/m.onnx", kDigest).ok());
  std::ostringstream beside;
  beside << std::ifstream(path_.string() + ".sha256").rdbuf();
  EXPECT_EQ(beside.str(), kDigest + "  m.onnx\n") << "as sha256sum writes it";
  const auto loaded = ReadCalibrationCache(path_, kDigest);
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_TRUE(loaded->is_bound);
  EXPECT_EQ(loaded->cache.scales, cache.scales);
  const auto other = ReadCalibrationCache(path_, std::string(64, 'b'));
  EXPECT_EQ(other.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.status().message(), HasSubstr("was made for another model"));
}

TEST_F(CalibrationCacheFile, ANameWithALineBreakIsRefused) {
  CalibrationCache cache;
  cache.scales = {{"x: 3f800000\ny", 0.5F}};
  EXPECT_THAT(WriteCalibrationCache(path_, cache, "m.onnx", kDigest).message(),
              HasSubstr("line break"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(CalibrationCacheFile, OfTensorRtIsBoundToNone) {
  std::ofstream(path_) << "TRT-8503-EntropyCalibration2\nx: 3f800000\n";
  const auto loaded = ReadCalibrationCache(path_, kDigest);
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_FALSE(loaded->is_bound);
  EXPECT_EQ(ReadCalibrationCache("/nowhere/c.cache", kDigest).status().code(),
            StatusCode::kNotFound);
}

}  // namespace
}  // namespace verdict
