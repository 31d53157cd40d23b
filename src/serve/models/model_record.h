#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "release/repository/model_config.h"
#include "release/repository/repository.h"
#include "serve/models/loaded_model.h"

namespace verdict {

/// What a load was of: the same again would give the same.
struct LoadTarget {
  VersionStamp version;
  uint64_t config_generation = 0;
  bool operator==(const LoadTarget&) const = default;
};

/// What the manager knows of one version.
struct VersionRecord {
  VersionFile file;  // as last seen
  bool on_disk = false;
  bool desired = false;
  bool pending = false;             // being loaded, or waiting for that
  std::optional<LoadTarget> tried;  // by the last load that has ended
  Status error;  // of that load; a version loaded before it is served all the same
  std::shared_ptr<const LoadedModel> served;
};

/// What the manager knows of one model.
struct ModelRecord {
  bool wanted = false;   // to be served
  bool on_disk = false;  // `folder` is as last seen
  ModelFolder folder;

  ModelConfig config;                      // the last that was valid
  Status config_status;                    // of the last that was read
  std::optional<FileStamp> config_read;    // of which file that was
  std::optional<std::string> config_text;  // a call's, instead of the file
  uint64_t config_generation = 0;          // counts the changes

  std::map<int64_t, VersionRecord> versions;  // desired, served or pending
  /// Calls that wait until nothing of the model is pending.
  std::vector<std::function<void(const Status&)>> waiters;

  bool pending() const {
    for (const auto& [number, version] : versions) {
      if (version.pending) return true;
    }
    return false;
  }
};

}  // namespace verdict
