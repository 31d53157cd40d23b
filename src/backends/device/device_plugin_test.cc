#include "backends/device/device_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace verdict {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Status Open(const std::string& backend, const std::string& folder = VERDICT_TEST_PLUGINS) {
  return OpenDevice(backend, folder, {}).status();
}

TEST(OpenDevice, PassesOnWhatThePluginSays) {
  const Status status = Open("good");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("backend 'good'"), HasSubstr("there is no device 0")));
}

TEST(OpenDevice, MissingFileNamesFoldersAndHowToBuild) {
  const Status status = Open("tensorrt", "/nowhere/at/all");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("no libverdict_tensorrt.so in /nowhere/at/all"),
                                      HasSubstr("-DTENSORRT_ROOT=")));
}

TEST(OpenDevice, AMisspeltNameIsToldTheKnownOnes) {
  EXPECT_THAT(Open("tensorr", "/nowhere/at/all").message(),
              AllOf(HasSubstr("no libverdict_tensorr.so"), HasSubstr("known is 'tensorrt'")));
}

TEST(OpenDevice, RefusesAnotherAbi) {
  const Status status = Open("wrong_abi");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("libverdict_wrong_abi.so"), HasSubstr("ABI version 999"),
                    HasSubstr("needs " + std::to_string(kDeviceAbiVersion))));
}

TEST(OpenDevice, RefusesAnotherCompiler) {
  const Status status = Open("wrong_build");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(DeviceBuildId() + ", of another time"),
                                      HasSubstr("with one compiler")));
}

TEST(OpenDevice, RefusesALibraryWithoutTheSymbol) {
  const Status status = Open("no_symbol");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("no symbol 'verdict_device_plugin'"));
}

TEST(OpenDevice, RefusesWhatIsNoLibrary) {
  const std::string folder = ::testing::TempDir() + "verdict_no_library";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/libverdict_text.so") << "not a library";
  const Status status = Open("text", folder);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("libverdict_text.so' does not load: "));
}

TEST(OpenDevice, NamesAreNoPaths) {
  for (const char* name : {"", "../good", "a/b", "Good", "good.so", "a b"}) {
    EXPECT_EQ(Open(name).code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(Open(std::string(65, 'a')).code(), StatusCode::kInvalidArgument);
}

TEST(PluginFolders, AreTheGivenOneOrThoseOfTheEnvironmentAndTheProgram) {
  EXPECT_THAT(PluginFolders("/x"), ElementsAre("/x"));
  ASSERT_EQ(setenv("VERDICT_PLUGIN_PATH", "/a::/b:", 1), 0);
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  EXPECT_THAT(PluginFolders(""), ElementsAre("/a", "/b", program.string(),
                                             (program.parent_path() / "lib/verdict").string()));
  ASSERT_EQ(unsetenv("VERDICT_PLUGIN_PATH"), 0);
  EXPECT_EQ(PluginFolders("").size(), 2U);
}

}  // namespace
}  // namespace verdict
