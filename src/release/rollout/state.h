#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"
#include "release/rollout/snapshot.h"

namespace verdict {

enum class RolloutStatus {
  kRunning,
  kPromoted,
  kRolledBack,
  kPinned,  // an operator holds it as it is
};

struct RolloutModel {
  std::string model;
  int64_t version = 0;  // > 0
  bool operator==(const RolloutModel&) const = default;
};

/// What must survive a restart. Standby is a rollout at 0 steps: the canary is loaded and gets
/// nothing.
struct RolloutState {
  std::string id, route;
  RolloutModel champion, canary;
  uint32_t steps = 0;  // the canary's share of the keys in 0.01 %, at most kRolloutSteps
  RolloutStatus status = RolloutStatus::kRunning;
  std::string reason;   // of the decision, empty while running
  int64_t started = 0;  // seconds since 1970, UTC
  RolloutSnapshot snapshot;
  bool operator==(const RolloutState&) const = default;
};

std::string WriteRolloutState(const RolloutState& state);

/// Members that are not known are passed over, so that an older server reads a newer one's file.
/// Errors: kInvalidArgument naming the member ("canary.version: …"); any text is safe.
Result<RolloutState> ReadRolloutState(std::string_view json);

/// A reader sees the old state or the whole new one, and after a power cut too: the file is synced,
/// renamed, and its folder synced. Errors: as WriteFileAtomically; kInvalidArgument, with the old
/// file untouched, for a state that ReadRolloutState would refuse.
Status SaveRolloutState(const std::filesystem::path& path, const RolloutState& state);

/// Errors: as ReadSmallFile and ReadRolloutState, with the path before.
Result<RolloutState> LoadRolloutState(const std::filesystem::path& path);

}  // namespace verdict
