// The decisions of ModelManager: what is loaded, what goes, what is published.
#include <malloc.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "observe/logging.h"
#include "release/repository/version_policy.h"
#include "serve/models/manager.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

/// As LoadedModel::Load; a model that memory cannot hold is an error of that model alone.
Result<std::shared_ptr<const LoadedModel>> TryLoad(const std::string& name, const VersionFile& file,
                                                   const ModelConfig& config,
                                                   const ModelHost& host) {
  try {
    return LoadedModel::Load(name, file, config, host);
  } catch (const std::exception& error) {
    return ResourceExhausted(file.engine.string() + ": cannot be loaded: " + error.what());
  }
}

void LogLoaded(const LoadedModel& model, double seconds) {
  const LogScope model_field("model", model.name());
  const LogScope version_field("version", model.version_text());
  const Engine& engine = model.engine();
  spdlog::info("model {} version {} is ready: loaded in {:.1f} ms, {}", model.name(),
               model.version(), seconds * 1000, engine.plan().target);
  if (engine.contents().golden.empty()) {
    spdlog::warn("model {} version {}: the engine has no golden vectors, and is served unchecked",
                 model.name(), model.version());
  }
  if (!engine.notice().empty()) {
    spdlog::warn("model {} version {}: {}", model.name(), model.version(), engine.notice());
  }
}

void LogFailed(const std::string& name, int64_t number, const VersionRecord& version) {
  const LogScope model_field("model", name);
  const LogScope version_field("version", std::to_string(number));
  if (version.served != nullptr) {
    spdlog::error("model {}: the change is refused; version {} as loaded before keeps serving: {}",
                  name, number, version.error.message());
  } else {
    spdlog::error("model {} version {} is not served: {}", name, number, version.error.message());
  }
}

}  // namespace

/// Compares what is there with what is desired, and does what can be done about it now.
void ModelManager::Reconcile(const std::string& name, ModelRecord& model) {
  if (model.wanted && model.on_disk) ReadConfig(model);
  UpdateVersions(name, model);
  RetireVersions(name, model);
  AnswerWaiters(name, model);
}

void ModelManager::ReadConfig(ModelRecord& model) {
  const FileStamp& stamp = model.folder.config_stamp;
  if (model.config_text.has_value() || model.config_read == stamp) return;
  auto config = ReadModelConfig(model.folder.config);
  model.config_read = stamp;
  model.config_status = config.status();
  if (config.ok()) model.config = *std::move(config);
  ++model.config_generation;
}

/// Brings the records in line with the disk and the policy, and begins the loads that are due.
void ModelManager::UpdateVersions(const std::string& name, ModelRecord& model) {
  for (auto& [number, version] : model.versions) version.desired = version.on_disk = false;
  if (model.on_disk) {
    for (const VersionFile& file : model.folder.versions) {
      const auto it = model.versions.find(file.version);
      if (it != model.versions.end()) it->second.on_disk = true;
    }
  }
  if (!model.wanted || !model.on_disk) return;
  const VersionPolicy& policy = model.config.version_policy.value_or(options_.default_policy);
  for (const int64_t number : DesiredVersions(policy, model.folder.versions)) {
    if (!model.versions.contains(number)) metrics_->Model(name, std::to_string(number));
    VersionRecord& version = model.versions[number];
    version.desired = version.on_disk = true;
    for (const VersionFile& file : model.folder.versions) {
      if (file.version == number) version.file = file;
    }
    const LoadTarget target{version.file.stamp, model.config_generation};
    if (version.pending || version.tried == target) continue;
    changed_ = true;
    if (model.config_status.ok()) {
      BeginLoad(name, model, version);
    } else {
      version.tried = target;
      version.error = model.config_status;
      metrics_->CountLoad(name, false);
      LogFailed(name, number, version);
    }
  }
}

void ModelManager::BeginLoad(const std::string& name, ModelRecord& model, VersionRecord& version) {
  version.pending = true;
  ModelConfig config = model.config;
  if (!config.version_policy.has_value()) config.version_policy = options_.default_policy;
  loaders_.Submit([this, name, file = version.file, config = std::move(config),
                   target = LoadTarget{version.file.stamp, model.config_generation}] {
    const auto start = Clock::now();
    auto loaded = TryLoad(name, file, config, host_);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    Post([this, name, number = file.version, target, loaded = std::move(loaded), seconds] {
      EndLoad(name, number, target, loaded, seconds);
    });
  });
}

void ModelManager::EndLoad(const std::string& name, int64_t number, const LoadTarget& target,
                           const Result<std::shared_ptr<const LoadedModel>>& loaded,
                           double seconds) {
  ModelRecord& model = models_.at(name);  // a record stays while a load is pending
  VersionRecord& version = model.versions.at(number);
  changed_ = true;
  version.pending = false;
  version.tried = target;
  version.error = loaded.status();
  metrics_->CountLoad(name, loaded.ok());
  if (loaded.ok()) ++alive_[{name, number}];
  if (!loaded.ok()) {
    LogFailed(name, number, version);
  } else if (version.desired) {
    version.served = *loaded;
    LogLoaded(**loaded, seconds);
  }
  metrics_->Model(name, std::to_string(number))->SetLoaded(version.served != nullptr, seconds);
  Reconcile(name, model);
}

/// Takes out of service what has been replaced, and forgets what neither serves nor will.
void ModelManager::RetireVersions(const std::string& name, ModelRecord& model) {
  std::vector<VersionStanding> standings;
  for (const auto& [number, version] : model.versions) {
    standings.push_back(
        {number, version.desired, version.on_disk, version.served != nullptr, version.pending});
  }
  for (const int64_t number : VersionsToRetire(standings)) {
    model.versions.at(number).served.reset();
    metrics_->Model(name, std::to_string(number))->SetReady(false);
    spdlog::info("model {} version {} is no longer served", name, number);
    changed_ = true;
  }
  for (auto it = model.versions.begin(); it != model.versions.end();) {
    const VersionRecord& version = it->second;
    if (version.desired || version.pending || version.served != nullptr) {
      ++it;
      continue;
    }
    const int64_t number = it->first;
    it = model.versions.erase(it);
    ForgetMetrics(name, number);
    changed_ = true;
  }
}

/// Lets the scrape forget a version of which nothing is left.
void ModelManager::ForgetMetrics(const std::string& name, int64_t number) {
  const auto model = models_.find(name);
  if (model != models_.end() && model->second.versions.contains(number)) return;
  if (!alive_.contains({name, number})) metrics_->Retire(name, std::to_string(number));
}

void ModelManager::AnswerWaiters(const std::string& name, ModelRecord& model) {
  if (model.waiters.empty() || (model.wanted && model.pending())) return;
  Status status;
  if (!model.wanted) {
    status = Unavailable("model '" + name + "' was unloaded while it was being loaded");
  } else if (!model.config_status.ok()) {
    status = model.config_status;
  } else {
    std::string failed;
    bool any_desired = false;
    bool config_fits = false;  // a failure that is not the configuration's
    for (const auto& [number, version] : model.versions) {
      any_desired = any_desired || version.desired;
      if (!version.desired || version.error.ok()) continue;
      failed += (failed.empty() ? "" : "; ") + ("version " + std::to_string(number)) + ": " +
                version.error.message();
      config_fits = config_fits || version.error.code() != StatusCode::kFailedPrecondition;
    }
    if (!failed.empty()) {
      failed = "load failed for model '" + name + "': " + failed;
      status = config_fits ? Unavailable(failed) : FailedPrecondition(failed);
    } else if (!any_desired) {
      status = NotFound("model '" + name + "' has no version that its version_policy asks for");
    }
  }
  for (auto& done : std::exchange(model.waiters, {}))
    answers_.emplace_back(std::move(done), status);
}

/// Makes known what the events have changed. Answers come last: who hears that a model is loaded
/// finds it served, and who waits until all is settled finds all of it published.
void ModelManager::Commit() {
  bool settled = settled_.load();
  if (!settled) {
    settled =
        std::ranges::none_of(models_, [](const auto& model) { return model.second.pending(); });
    changed_ = changed_ || settled;
  }
  do {
    if (std::exchange(changed_, false)) Publish(settled);
  } while (FreeUnused());
  settled_.store(settled);
  settled_.notify_all();
  for (auto& [done, status] : std::exchange(answers_, {})) done(status);
}

void ModelManager::Publish(bool settled) {
  auto set = std::make_shared<ModelSet>();
  std::vector<std::weak_ptr<const LoadedModel>> published;
  bool any_served = false, all_served = true;
  for (const auto& [name, model] : models_) {
    set->Put(name);
    if (!model.wanted) {
      for (const VersionFile& file : model.folder.versions) {
        set->Put(name, {file.version, nullptr, "it is not loaded"});
      }
    }
    bool served = false;
    for (const auto& [number, version] : model.versions) {
      ModelVersion entry{number, version.served, version.error.message()};
      if (version.served == nullptr && version.pending) {
        entry.reason = "it is still being loaded";
        entry.unready = ModelState::kLoading;
      }
      if (version.served != nullptr) published.push_back(version.served);
      served = served || version.served != nullptr;
      set->Put(name, std::move(entry));
    }
    any_served = any_served || served;
    all_served = all_served && (served || !model.wanted);
  }
  for (const auto& [key, count] : alive_) {
    const auto model = models_.find(key.first);
    if (model != models_.end() && model->second.versions.contains(key.second)) continue;
    set->Put(key.first, {key.second, nullptr, "it is being unloaded: requests still use it",
                         ModelState::kUnloading});
  }
  store_->Replace(std::move(set));
  for (const auto& before : std::exchange(published_, published)) {
    const auto same = [&](const auto& now) {
      return !now.owner_before(before) && !before.owner_before(now);
    };
    if (std::ranges::any_of(published, same)) continue;
    // Nobody joins the batches of what has been withdrawn.
    if (const auto model = before.lock()) host_.scheduler->Hurry(model->queue().get());
  }
  on_readiness_(settled && any_served && (all_served || !options_.strict_readiness));
}

/// Frees the models that nobody uses any more. Returns: whether there were any.
bool ModelManager::FreeUnused() {
  std::vector<VersionKey> freed;
  {
    const auto unused = reaper_->Take();
    for (const auto& model : unused) freed.emplace_back(model->name(), model->version());
  }
  if (freed.empty()) return false;
  // What models were made of lies scattered over the heaps: hand it back, else the process keeps
  // it.
  ::malloc_trim(0);
  for (const VersionKey& key : freed) {
    const auto it = alive_.find(key);
    // Not one whose load ended while the manager was stopping.
    if (it != alive_.end() && --it->second == 0) alive_.erase(it);
    ForgetMetrics(key.first, key.second);
  }
  changed_ = true;
  return true;
}

}  // namespace verdict
