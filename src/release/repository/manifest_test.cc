#include "release/repository/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kDigest(64, 'a');

Manifest Sample() {
  return {"fraud",
          3,
          "2026-11-28T12:00:00Z",
          "verdict 0.1.0",
          "{\"auc\":0.97}",
          {{"model.engine", 5, kDigest}}};
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, ReadsWhatItWrites) {
  const std::string text = ManifestText(Sample());
  const auto read = ParseManifest(text);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->metadata, "{\"auc\":0.97}");
  EXPECT_EQ(ManifestText(*read), text);
}

TEST(Manifest, RefusesWhatIsHostile) {
  const std::string text = ManifestText(Sample());
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  const struct {
    std::string text, says;
  } cases[] = {
      {"", "not valid JSON"},
      {text.substr(0, text.size() / 2), "not valid JSON"},
      {"[]", "not an object"},
      {std::string(kMaxManifestBytes + 1, ' '), "larger than 1 MiB"},
      {Replaced(text, "\"format\": 1", "\"format\": 2"), "of format 2"},
      {Replaced(text, "\"format\": 1", "\"format\": 1, \"x\": 1"), "unknown key 'x'"},
      {Replaced(text, "\"version\": 3", "\"version\": 3, \"version\": 4"), "twice"},
      {Replaced(text, "\"version\": 3", "\"version\": -3"), "'version'"},
      {Replaced(text, "\"tool\"", "\"tools\""), "unknown key"},
      {Replaced(text, "model.engine", "../model.engine"), "path '../model.engine'"},
      {Replaced(text, "model.engine", "/etc/passwd"), "path '/etc/passwd'"},
      {Replaced(text, "model.engine", "a/b/../c"), "path 'a/b/../c'"},
      {Replaced(text, "model.engine", "a/.hidden"), "path"},
      {Replaced(text, "model.engine", "a//b"), "path"},
      {Replaced(text, "model.engine", "a/b/c/d/e/f/g/h/i"), "too deep"},
      {Replaced(text, "model.engine", "other"), "does not name model.engine"},
      {Replaced(text, "\"size\": 5", "\"size\": -1"), "'size'"},
      {Replaced(text, "\"size\": 5", "\"size\": 1e3"), "'size'"},
      {Replaced(text, kDigest, "AA"), "sha256"},
      {Replaced(text, "2026-11-28T12:00:00Z", "yesterday"), "'created'"},
      {Replaced(text, "{\"auc\":0.97}", deep), "not valid JSON"},
      {Replaced(text, "{\"auc\":0.97}", "7"), "'metadata'"},
      {Replaced(text, "\"fraud\"", "\"../x\""), "model's name"},
  };
  for (const auto& c : cases) {
    const auto read = ParseManifest(c.text);
    EXPECT_EQ(read.status().code(), StatusCode::kInvalidArgument) << c.says;
    EXPECT_THAT(read.status().message(), HasSubstr(c.says));
  }
}

TEST(Manifest, RefusesTooManyFilesAndTheSameTwice) {
  Manifest manifest = Sample();
  manifest.files.push_back(manifest.files.front());
  EXPECT_THAT(ParseManifest(ManifestText(manifest)).status().message(), HasSubstr("twice"));
  manifest.files.pop_back();
  for (size_t i = 0; i < kMaxManifestFiles; ++i) {
    manifest.files.push_back({"f" + std::to_string(i), 1, kDigest});
  }
  EXPECT_THAT(ParseManifest(ManifestText(manifest)).status().message(), HasSubstr("1000 files"));
}

class ManifestFiles : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("manifest." + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "v/sub");
    Write("v/model.engine", "hello");
    Write("v/sub/more", "more");
    auto files = DescribeFiles(root_ / "v", {"sub/more", "model.engine"});
    ASSERT_TRUE(files.ok()) << files.status().ToString();
    manifest_ = Sample();
    manifest_.files = *files;
  }
  void TearDown() override { fs::remove_all(root_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name) << text;
  }
  Status Verify() { return VerifyFiles(root_ / "v", manifest_); }
  fs::path root_;
  Manifest manifest_;
};

TEST_F(ManifestFiles, VerifiesWhatItDescribes) {
  ASSERT_EQ(manifest_.files.size(), 2u);
  EXPECT_EQ(manifest_.files[0].path, "model.engine");
  EXPECT_EQ(manifest_.files[0].sha256,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_TRUE(Verify().ok()) << Verify().ToString();
}

TEST_F(ManifestFiles, NamesTheFileThatDiffers) {
  Write("v/sub/more", "less");
  EXPECT_EQ(Verify().code(), StatusCode::kDataLoss);
  EXPECT_THAT(Verify().message(), HasSubstr("sub/more: is not what its manifest says"));
  Write("v/sub/more", "mor");
  EXPECT_THAT(Verify().message(), HasSubstr("has 3 bytes, its manifest says 4"));
  fs::remove(root_ / "v/sub/more");
  EXPECT_THAT(Verify().message(), HasSubstr("sub/more: is missing"));
}

TEST_F(ManifestFiles, FollowsNoLinkAndReadsNoPipe) {
  Write("outside", "hello");
  fs::remove(root_ / "v/model.engine");
  fs::create_symlink(root_ / "outside", root_ / "v/model.engine");
  EXPECT_THAT(Verify().message(), HasSubstr("link"));
  fs::remove(root_ / "v/model.engine");
  fs::create_directory(root_ / "v/model.engine");
  EXPECT_THAT(Verify().message(), HasSubstr("no regular file"));
  fs::remove(root_ / "v/model.engine");
  Write("v/model.engine", "hello");
  fs::rename(root_ / "v/sub", root_ / "elsewhere");
  fs::create_symlink(root_ / "elsewhere", root_ / "v/sub");
  EXPECT_THAT(Verify().message(), HasSubstr("link"));
}

TEST_F(ManifestFiles, AnEngineExchangedAfterwardsIsSeen) {
  const std::string good = "hello", other = "hellO";
  EXPECT_TRUE(CheckEngineBytes(manifest_, std::as_bytes(std::span(good)), "e").ok());
  EXPECT_EQ(CheckEngineBytes(manifest_, std::as_bytes(std::span(other)), "e").code(),
            StatusCode::kDataLoss);
}

TEST(Metadata, IsAnObject) {
  EXPECT_EQ(*CheckMetadata("{ \"a\": [1, 2] }"), "{\"a\":[1,2]}");
  EXPECT_FALSE(CheckMetadata("[]").ok());
  EXPECT_FALSE(CheckMetadata("{").ok());
}

}  // namespace
}  // namespace verdict
