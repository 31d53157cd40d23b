#include "tools/target_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CheckTargetTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("target_file_test." + std::to_string(::getpid()));
    fs::create_directories(folder_);
    std::ofstream(folder_ / "m.onnx") << "model";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Refusal(const fs::path& path) {
    const auto target = CheckTarget("--out", path, {{"the model", folder_ / "m.onnx"}});
    return target.ok() ? "accepted" : target.status().message();
  }

  fs::path folder_;
};

TEST_F(CheckTargetTest, TakesNewAndOldFiles) {
  std::ofstream(folder_ / "old") << "old";
  for (const char* name : {"new", "old"}) {
    EXPECT_EQ(CheckTarget("--out", folder_ / name, {{"the model", ""}}).value(), folder_ / name);
  }
  EXPECT_EQ(CheckTarget("--out", "here", {}).value(), "here");
}

TEST_F(CheckTargetTest, NamesTheFlagAndWhatIsWrong) {
  EXPECT_THAT(Refusal(folder_ / "absent" / "x"), HasSubstr("--out " + folder_.string()));
  EXPECT_THAT(Refusal(folder_ / "absent" / "x"), HasSubstr("there is no folder"));
  EXPECT_THAT(Refusal(folder_), HasSubstr("is a folder"));
}

TEST_F(CheckTargetTest, RefusesWhatTheCommandReadsByAnyName) {
  EXPECT_THAT(Refusal(folder_ / "m.onnx"), HasSubstr("would overwrite the model"));
  EXPECT_THAT(Refusal(folder_ / "." / "m.onnx"), HasSubstr("would overwrite the model"));
  fs::create_symlink("m.onnx", folder_ / "link");
  EXPECT_THAT(Refusal(folder_ / "link"), HasSubstr("would overwrite the model"));
  // Nor may two outputs be one file that does not exist yet.
  EXPECT_FALSE(CheckTarget("--out", folder_ / "new", {{"the cache", folder_ / "new"}}).ok());
}

TEST_F(CheckTargetTest, FollowsSymlinks) {
  fs::create_directories(folder_ / "deep");
  fs::create_symlink("deep/second", folder_ / "first");
  fs::create_symlink("file", folder_ / "deep" / "second");
  EXPECT_EQ(CheckTarget("--out", folder_ / "first", {}).value(), folder_ / "deep" / "file");
  std::ofstream(folder_ / "deep" / "file") << "old";
  EXPECT_EQ(CheckTarget("--out", folder_ / "first", {}).value(), folder_ / "deep" / "file");
  fs::create_symlink("/absent/file", folder_ / "astray");
  EXPECT_THAT(Refusal(folder_ / "astray"), HasSubstr("there is no folder /absent"));
  fs::create_symlink("loop", folder_ / "loop");
  EXPECT_THAT(Refusal(folder_ / "loop"), HasSubstr("too many symlinks"));
}

TEST_F(CheckTargetTest, LeavesDevicesAsTheyAre) {
  fs::create_symlink("/dev/null", folder_ / "null");
  EXPECT_EQ(CheckTarget("--out", folder_ / "null", {}).value(), folder_ / "null");
}

}  // namespace
}  // namespace verdict
