#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "release/repository/model_config.h"
#include "release/repository/repository.h"

namespace verdict {

/// The versions that `policy` wants of those on disk (ascending). Returns: ascending. A specific
/// version that is not on disk is not among them. Threads: pure.
std::vector<int64_t> DesiredVersions(const VersionPolicy& policy,
                                     std::span<const VersionFile> on_disk);

/// How one version of a model stands.
struct VersionStanding {
  int64_t version = 0;
  bool desired = false;  // by policy, and on disk
  bool on_disk = false;
  bool served = false;
  bool pending = false;  // being loaded, or waiting for that
};

/// The versions to take out of service now: served, and no longer desired. They stay while what
/// shall replace them is not there yet: none goes while a desired version is pending; one that
/// the policy has displaced goes once all that are desired are served, and one whose file is gone
/// once any is. Where nothing is desired all go. Threads: pure.
std::vector<int64_t> VersionsToRetire(std::span<const VersionStanding> versions);

}  // namespace verdict
