#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "release/repository/model_config.h"

namespace verdict {

/// How the models of a repository come and go while the server runs.
struct RepositoryOptions {
  enum class Mode {
    kStartup,   // read once, at the start
    kPoll,      // followed: what is added, changed or removed on disk is loaded or unloaded
    kExplicit,  // nothing but what `load` names and what calls load
  };
  Mode mode = Mode::kStartup;
  std::chrono::milliseconds poll_interval{15'000};
  std::vector<std::string> load;  // kExplicit: names of models
  int load_threads = 1;           // how many versions are loaded at a time
  /// The server is ready if every wanted model serves a version; else if any model does.
  bool strict_readiness = false;
  bool require_manifest = false;          // else versions without one are served too
  std::vector<std::string> trusted_keys;  // PEM files; if any, each version is signed by one
  VersionPolicy default_policy{VersionPolicy::Kind::kAll, 1, {}};  // of models that name none
};

}  // namespace verdict
