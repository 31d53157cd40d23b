#include "release/repository/version_policy.h"

#include <algorithm>

namespace verdict {

std::vector<int64_t> DesiredVersions(const VersionPolicy& policy,
                                     std::span<const VersionFile> on_disk) {
  if (policy.kind == VersionPolicy::Kind::kLatest && on_disk.size() > policy.num_versions) {
    on_disk = on_disk.last(policy.num_versions);
  }
  std::vector<int64_t> desired;
  for (const VersionFile& file : on_disk) {
    if (policy.kind == VersionPolicy::Kind::kSpecific &&
        std::ranges::count(policy.versions, file.version) == 0) {
      continue;
    }
    desired.push_back(file.version);
  }
  return desired;
}

std::vector<int64_t> VersionsToRetire(std::span<const VersionStanding> versions) {
  bool any_desired = false, any_pending = false, any_served = false, all_served = true;
  for (const VersionStanding& version : versions) {
    if (!version.desired) continue;
    any_desired = true;
    any_pending = any_pending || version.pending;
    any_served = any_served || version.served;
    all_served = all_served && version.served;
  }
  std::vector<int64_t> retired;
  for (const VersionStanding& version : versions) {
    if (!version.served || version.desired) continue;
    const bool replaced = !any_pending && (version.on_disk ? all_served : any_served);
    if (replaced || !any_desired) retired.push_back(version.version);
  }
  return retired;
}

}  // namespace verdict
