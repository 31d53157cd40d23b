#include "serve/config/check_repository.h"

#include <algorithm>
#include <array>

#include "base/terminal_text.h"
#include "config/config_file.h"
#include "config/read_config.h"
#include "release/repository/model_config.h"
#include "release/repository/repository.h"
#include "release/repository/verify_version.h"
#include "runtime/engine.h"
#include "serve/batching/model_queue.h"
#include "serve/config/declared_tensors.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

std::string BatchingText(const ModelConfig& config) {
  if (config.sequence_batching) return "sequences";
  // Without dynamic_batching too: batches then form of what happens to wait.
  if (config.max_batch_size > 1) return "up to " + std::to_string(config.max_batch_size) + " rows";
  return "none";
}

/// Reads the configuration of a model; all of its problems go to *problems.
ModelConfig ReadConfiguration(const fs::path& file, std::vector<std::string>* problems) {
  const auto text = ReadConfigFile(file);
  if (text.status().code() == StatusCode::kNotFound) return {};
  ConfigProblems found(file.string());
  ModelConfig config;
  if (text.ok()) {
    config = ParseModelConfig(*text, file.string(), &found);
  } else {
    found.Add(text.status().message());
  }
  for (std::string& line : found.lines()) problems->push_back(std::move(line));
  return config;
}

/// The versions that the policy wants, ascending. Those it names that are not there are problems.
std::vector<VersionFile> Wanted(const ModelFolder& model, const ModelConfig& config,
                                const std::string& config_file,
                                std::vector<std::string>* problems) {
  std::vector<VersionFile> wanted = model.versions;
  if (!config.version_policy) return wanted;
  const VersionPolicy& policy = *config.version_policy;
  if (policy.kind == VersionPolicy::Kind::kLatest && wanted.size() > policy.num_versions) {
    wanted.erase(wanted.begin(), wanted.end() - policy.num_versions);
  }
  if (policy.kind != VersionPolicy::Kind::kSpecific) return wanted;
  std::erase_if(wanted, [&](const VersionFile& file) {
    return !std::ranges::binary_search(policy.versions, file.version);
  });
  for (const int64_t version : policy.versions) {
    if (std::ranges::find(wanted, version, &VersionFile::version) != wanted.end()) continue;
    problems->push_back(config_file + ": key 'version_policy.specific.versions': version " +
                        std::to_string(version) +
                        " is not in the folder; add it or take it out of the list");
  }
  return wanted;
}

CheckedVersion CheckVersion(const std::string& model, const VersionFile& file,
                            const ModelConfig& config, const VersionTrust& trust) {
  CheckedVersion checked{model, file.version, BatchingText(config), {}, ""};
  checked.status = VerifyVersion(file.engine.parent_path(), trust).status();
  if (!checked.status.ok()) return checked;
  const auto engine = Engine::Load(file.engine);
  checked.status = engine.status();
  if (!engine.ok()) return checked;
  checked.notice = (*engine)->notice();
  checked.status = Engine::CheckGolden(*engine);
  if (checked.status.ok()) checked.status = CheckDeclaredTensors(config, **engine);
  if (checked.status.ok()) checked.status = ModelQueue::Check(*engine, config);
  checked.status = checked.status.WithContext(file.engine.string());
  return checked;
}

void CheckModel(const fs::path& root, const ModelFolder& model, const VersionTrust& trust,
                RepositoryCheck* check) {
  const fs::path file = root / model.name / kModelConfigFileName;
  std::vector<std::string> problems;
  const ModelConfig config = ReadConfiguration(file, &problems);
  if (!problems.empty()) {
    check->versions.push_back(
        {model.name, 0, "", InvalidArgument("its " + std::string(kModelConfigFileName)), ""});
  } else {
    for (const VersionFile& version : Wanted(model, config, file.string(), &problems)) {
      check->versions.push_back(CheckVersion(model.name, version, config, trust));
      const CheckedVersion& checked = check->versions.back();
      if (!checked.status.ok()) problems.push_back(checked.status.message());
    }
  }
  for (std::string& problem : problems) check->problems.push_back(std::move(problem));
}

}  // namespace

RepositoryCheck CheckRepository(const RepositoryConfig& repository) {
  RepositoryCheck check;
  const fs::path root(repository.path);
  const auto trust = VersionTrust::Load(repository.require_manifest, repository.trusted_keys);
  if (!trust.ok()) {
    check.problems.push_back("key 'repository.trusted_keys': " + trust.status().message());
    return check;
  }
  auto listing = ListRepository(root, trust->needs_manifest());
  if (!listing.ok()) {
    check.problems.push_back(listing.status().message());
    return check;
  }
  check.notes = std::move(listing->ignored);
  std::vector<ModelFolder>& models = listing->models;
  if (repository.mode == RepositoryConfig::Mode::kExplicit) {
    std::erase_if(models, [&](const ModelFolder& model) {
      return std::ranges::find(repository.load, model.name) == repository.load.end();
    });
    for (const std::string& name : repository.load) {
      if (std::ranges::find(models, name, &ModelFolder::name) != models.end()) continue;
      check.problems.push_back(root.string() + ": has no model '" + name +
                               "', which repository.load names; add it or take it out");
    }
  } else if (models.empty()) {
    check.problems.push_back(root.string() +
                             ": holds no model; put engines in <model>/<version>/model.engine");
  }
  for (const ModelFolder& model : models) CheckModel(root, model, *trust, &check);
  return check;
}

std::string CheckTable(const RepositoryCheck& check) {
  using Row = std::array<std::string, 4>;
  std::vector<Row> rows = {{"MODEL", "VERSION", "BATCHING", "STATUS"}};
  for (const CheckedVersion& checked : check.versions) {
    std::string status = checked.status.ok() ? "ready" : "fails: " + checked.status.message();
    if (!checked.notice.empty()) status += " (" + checked.notice + ")";
    rows.push_back({TerminalText(checked.model),
                    checked.version == 0 ? "-" : std::to_string(checked.version),
                    checked.batching.empty() ? "-" : checked.batching, TerminalText(status)});
  }
  std::array<size_t, 3> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    for (size_t i = 0; i < widths.size(); ++i) {
      table += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    }
    table += row.back() + "\n";
  }
  return table;
}

}  // namespace verdict
