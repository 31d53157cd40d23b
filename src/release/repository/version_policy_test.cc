#include "release/repository/version_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using Kind = VersionPolicy::Kind;
using Versions = std::vector<int64_t>;

std::vector<VersionFile> OnDisk(const Versions& versions) {
  std::vector<VersionFile> files;
  for (const int64_t version : versions) files.push_back({version, {}, {}});
  return files;
}

TEST(VersionPolicy, WantsTheseVersions) {
  struct Case {
    VersionPolicy policy;
    Versions on_disk;
    Versions desired;
  };
  const Case cases[] = {
      {{Kind::kLatest, 1, {}}, {1, 2, 10}, {10}},
      {{Kind::kLatest, 2, {}}, {1, 2, 10}, {2, 10}},
      {{Kind::kLatest, 5, {}}, {1, 2}, {1, 2}},
      {{Kind::kLatest, 1, {}}, {}, {}},
      {{Kind::kAll, 1, {}}, {1, 2, 10}, {1, 2, 10}},
      {{Kind::kAll, 1, {}}, {}, {}},
      {{Kind::kSpecific, 1, {2, 3, 10}}, {1, 2, 10, 11}, {2, 10}},
      {{Kind::kSpecific, 1, {7}}, {1, 2}, {}},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(DesiredVersions(c.policy, OnDisk(c.on_disk)), c.desired)
        << "kind " << static_cast<int>(c.policy.kind) << " of "
        << testing::PrintToString(c.on_disk);
  }
}

// How a version stands, in a word.
VersionStanding Served(int64_t v) { return {v, true, true, true, false}; }
VersionStanding Reloading(int64_t v) { return {v, true, true, true, true}; }
VersionStanding Loading(int64_t v) { return {v, true, true, false, true}; }
VersionStanding Failed(int64_t v) { return {v, true, true, false, false}; }
VersionStanding Displaced(int64_t v) { return {v, false, true, true, false}; }
VersionStanding Removed(int64_t v) { return {v, false, false, true, false}; }

TEST(VersionRetirement, NothingGoesBeforeItsReplacementIsThere) {
  struct Case {
    const char* what;
    std::vector<VersionStanding> versions;
    Versions retired;
  };
  const Case cases[] = {
      {"nothing to do", {Served(1), Served(2)}, {}},
      {"v2 is being loaded", {Displaced(1), Loading(2)}, {}},
      {"v2 is ready", {Displaced(1), Served(2)}, {1}},
      {"v2 failed: v1 stays", {Displaced(1), Failed(2)}, {}},
      {"one of two failed: what the policy displaced stays",
       {Displaced(1), Served(2), Failed(3)},
       {}},
      {"v1's folder is gone, v2 is being loaded", {Removed(1), Loading(2)}, {}},
      {"v1's folder is gone, v2 is ready", {Removed(1), Served(2)}, {1}},
      {"v1's folder is gone, v2 failed: v1 stays", {Removed(1), Failed(2)}, {}},
      {"v1's folder is gone, v3 serves, v2 has long failed",
       {Removed(1), Failed(2), Served(3)},
       {1}},
      {"a version that serves is loaded again", {Removed(1), Reloading(2)}, {}},
      {"the model's folder is gone", {Removed(1), Removed(2)}, {1, 2}},
      {"the model was unloaded", {Displaced(1), Displaced(2)}, {1, 2}},
  };
  for (const Case& c : cases) EXPECT_EQ(VersionsToRetire(c.versions), c.retired) << c.what;
}

}  // namespace
}  // namespace verdict
