#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "release/repository/verify_version.h"

namespace verdict {

inline constexpr int64_t kAbandonedAfterS = 86'400;

struct GarbageOptions {
  uint32_t keep = 1;  // > 0: versions of each model that verify
  bool dry_run = false;
  std::set<std::pair<std::string, int64_t>> pinned;  // these stay
  VersionTrust trust;                                // what verifies
  int64_t now = 0;                                   // UnixTime()
};

/// Removes old versions of every model, and what writers left behind more than a day ago. There
/// stay: the newest `keep` that verify, and all that are newer than those; those that are pinned or
/// that the model's config.yaml names or its `latest` policy serves. A model whose config.yaml
/// cannot be read keeps all. A version is renamed to a hidden folder first, so that no reader sees
/// half of it. Returns: the folders removed (dry_run: that would be). Errors: as ListRepository;
/// kInvalidArgument (keep is 0); kUnavailable (a folder cannot be removed).
Result<std::vector<std::filesystem::path>> CollectGarbage(const std::filesystem::path& root,
                                                          const GarbageOptions& options);

}  // namespace verdict
