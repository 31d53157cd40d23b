#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/config/server_config.h"

namespace verdict {

/// One version that a server would serve, or why not.
struct CheckedVersion {
  std::string model;
  int64_t version = 0;   // 0: of a model none of whose versions was tried
  std::string batching;  // "up to 64 rows", "sequences", "none"
  Status status;         // OK: loaded, and its golden vectors are right
  std::string notice;    // Engine::notice()
};

struct RepositoryCheck {
  std::vector<CheckedVersion> versions;
  std::vector<std::string> problems;  // one line each, those of `versions` among them
  std::vector<std::string> notes;     // what the server passes over
};

/// Does what a server does with its repository before it is ready, but serves nothing: lists it,
/// reads every config.yaml, loads every version that is wanted, one after another, and checks its
/// golden vectors and what config.yaml asks of the engine.
RepositoryCheck CheckRepository(const RepositoryConfig& repository);

/// A table: model, version, batching, status; a line each, safe for terminals.
std::string CheckTable(const RepositoryCheck& check);

}  // namespace verdict
