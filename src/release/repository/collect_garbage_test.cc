#include "release/repository/collect_garbage.h"

#include <gmock/gmock.h>

#include "base/unix_time.h"
#include "release/repository/published_test.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class GarbageCollection : public PublishedTest {
 protected:
  std::vector<fs::path> Collect(uint32_t keep, bool dry_run = false) {
    options_.keep = keep;
    options_.dry_run = dry_run;
    auto removed = CollectGarbage(root_, options_);
    EXPECT_TRUE(removed.ok()) << removed.status().ToString();
    return removed.ok() ? *removed : std::vector<fs::path>{};
  }
  GarbageOptions options_{.pinned = {}, .trust = {}, .now = UnixTime()};
};

TEST_F(GarbageCollection, KeepsTheNewest) {
  PublishVersions(4);
  EXPECT_THAT(Collect(2, true), ElementsAre(Folder(1), Folder(2)));
  EXPECT_TRUE(fs::exists(Folder(1)));
  EXPECT_THAT(Collect(2), ElementsAre(Folder(1), Folder(2)));
  EXPECT_FALSE(fs::exists(Folder(1)));
  EXPECT_TRUE(fs::exists(Folder(3)));
  EXPECT_THAT(Collect(2), ElementsAre());
  EXPECT_EQ(CollectGarbage(root_, {.keep = 0, .pinned = {}, .trust = {}}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(GarbageCollection, AVersionThatDoesNotVerifyIsNotTheOneKept) {
  PublishVersions(3);
  Tamper(Folder(3) / kEngineFileName);
  EXPECT_THAT(Collect(1), ElementsAre(Folder(1)));
  EXPECT_TRUE(fs::exists(Folder(2)));
  EXPECT_TRUE(fs::exists(Folder(3)));
}

TEST_F(GarbageCollection, KeepsWhatIsPinnedOrNamed) {
  PublishVersions(5);
  options_.pinned = {{"fraud", 1}, {"other", 2}};
  std::ofstream(root_ / "fraud" / "config.yaml") << "version_policy: {specific: {versions: [3]}}\n";
  EXPECT_THAT(Collect(1), ElementsAre(Folder(2), Folder(4)));
  std::ofstream(root_ / "fraud" / "config.yaml") << "version_policy: {latest: {num_versions: 9}}\n";
  options_.pinned = {};
  EXPECT_THAT(Collect(1), ElementsAre());
  std::ofstream(root_ / "fraud" / "config.yaml") << "noise: [\n";
  EXPECT_THAT(Collect(1), ElementsAre());
}

TEST_F(GarbageCollection, RemovesWhatWritersLeftADayAgo) {
  PublishVersions(1);
  const fs::path left = root_ / "fraud" / (std::string(kUnfinishedPrefix) + "abc");
  fs::create_directory(left);
  std::ofstream(left / "model.engine") << "half";
  EXPECT_THAT(Collect(1), ElementsAre());
  options_.now += kAbandonedAfterS + 10;
  EXPECT_THAT(Collect(1), ElementsAre(left));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(Folder(1)));
}

}  // namespace
}  // namespace verdict
