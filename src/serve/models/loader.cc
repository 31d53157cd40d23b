#include "serve/models/loader.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <exception>
#include <memory>
#include <utility>

#include "observe/logging.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

/// As LoadedModel::Load; a model that memory cannot hold is an error of that model alone.
Result<std::shared_ptr<const LoadedModel>> TryLoad(const std::string& model,
                                                   const VersionFile& file, Metrics* metrics) {
  try {
    return LoadedModel::Load(model, file, metrics);
  } catch (const std::exception& error) {
    return ResourceExhausted(file.engine.string() + ": cannot be loaded: " + error.what());
  }
}

ModelVersion LoadVersion(const std::string& model, const VersionFile& file, Metrics* metrics) {
  const LogScope model_field("model", model);
  const LogScope version_field("version", std::to_string(file.version));
  const auto start = Clock::now();
  auto loaded = TryLoad(model, file, metrics);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  metrics->Model(model, std::to_string(file.version))->SetLoaded(loaded.ok(), seconds);
  if (!loaded.ok()) {
    spdlog::error("model {} version {} is not served: {}", model, file.version,
                  loaded.status().message());
    return {file.version, nullptr, loaded.status().message()};
  }
  const Engine& engine = (*loaded)->engine();
  spdlog::info("model {} version {} is ready: loaded in {:.1f} ms, {}", model, file.version,
               seconds * 1000, engine.plan().target);
  if (engine.contents().golden.empty()) {
    spdlog::warn("model {} version {}: the engine has no golden vectors, and is served unchecked",
                 model, file.version);
  }
  if (!engine.notice().empty()) {
    spdlog::warn("model {} version {}: {}", model, file.version, engine.notice());
  }
  return {file.version, *std::move(loaded), {}};
}

}  // namespace

void AnnounceModels(const RepositoryListing& listing, Metrics* metrics, ModelStore* store) {
  ModelSet models = *store->Current();
  for (const ModelFolder& folder : listing.models) {
    for (const VersionFile& file : folder.versions) {
      metrics->Model(folder.name, std::to_string(file.version));
      models.Put(folder.name, {file.version, nullptr, "it is still being loaded"});
    }
  }
  store->Replace(std::make_shared<const ModelSet>(std::move(models)));
}

void LoadModels(const RepositoryListing& listing, const std::atomic<bool>& stop, Metrics* metrics,
                ModelStore* store) {
  for (const std::string& line : listing.ignored) spdlog::warn("ignored: {}", line);
  ModelSet models = *store->Current();
  for (const ModelFolder& folder : listing.models) {
    for (const VersionFile& file : folder.versions) {
      if (stop.load(std::memory_order_relaxed)) return;
      models.Put(folder.name, LoadVersion(folder.name, file, metrics));
      store->Replace(std::make_shared<const ModelSet>(models));
    }
  }
}

}  // namespace verdict
