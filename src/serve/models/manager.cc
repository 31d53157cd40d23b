#include "serve/models/manager.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <system_error>

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;
using Mode = RepositoryOptions::Mode;

Status Stopping() { return Unavailable("the server is shutting down"); }

}  // namespace

ModelManager::ModelManager(std::filesystem::path root, const RepositoryOptions& options,
                           const ModelHost& host, ModelStore* store, OnReadiness on_readiness)
    : root_(std::move(root)),
      options_(options),
      host_(host),
      metrics_(host.metrics),
      store_(store),
      on_readiness_(std::move(on_readiness)),
      reaper_(std::make_shared<ModelReaper>([this] { Post([] {}); })) {
  // Models may outlive the manager: a request may hold one.
  host_.free = [reaper = reaper_](ModelReaper::Model model) { reaper->Add(std::move(model)); };
}

ModelManager::~ModelManager() { Stop(); }

Result<std::unique_ptr<ModelManager>> ModelManager::Create(std::filesystem::path root,
                                                           const RepositoryOptions& options,
                                                           const ModelHost& host, ModelStore* store,
                                                           OnReadiness on_readiness) {
  ModelHost trusting = host;
  VERDICT_ASSIGN_OR_RETURN(trusting.trust,
                           VersionTrust::Load(options.require_manifest, options.trusted_keys));
  VERDICT_ASSIGN_OR_RETURN(const RepositoryListing listing,
                           ListRepository(root, trusting.trust.needs_manifest()));
  std::unique_ptr<ModelManager> manager(
      new ModelManager(std::move(root), options, trusting, store, std::move(on_readiness)));
  for (const std::string& name : options.load) manager->models_[name].wanted = true;
  manager->Take(listing);
  manager->ignored_at_start_ = listing.ignored;
  manager->Commit();
  return manager;
}

Status ModelManager::Start() {
  // Not logged before: now nothing speaks against the server's start any more.
  LogIgnored(ignored_at_start_);
  for (const auto& [name, model] : models_) {
    if (model.on_disk) continue;
    spdlog::error("model {} is to be loaded, but there is none of that name in {}", name,
                  root_.string());
  }
  VERDICT_RETURN_IF_ERROR(loaders_.Start(options_.load_threads));
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error&) {
    return ResourceExhausted(
        "cannot start the thread that loads models; lower --io-threads or raise the process limit");
  }
  return OkStatus();
}

bool ModelManager::Post(std::function<void()> event) {
  {
    std::lock_guard lock(mutex_);
    if (stop_) return false;
    events_.push_back(std::move(event));
  }
  wake_.notify_one();
  return true;
}

void ModelManager::Run() {
  const bool polls = options_.mode == Mode::kPoll;
  auto next_scan = Clock::now() + options_.poll_interval;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const auto woken = [this] { return stop_ || !events_.empty(); };
    if (polls) {
      wake_.wait_until(lock, next_scan, woken);
    } else {
      wake_.wait(lock, woken);
    }
    if (stop_) break;
    std::deque<std::function<void()>> events = std::exchange(events_, {});
    lock.unlock();
    for (const auto& event : events) event();
    events.clear();
    if (polls && Clock::now() >= next_scan) {
      Scan();
      next_scan = Clock::now() + options_.poll_interval;
    }
    Commit();
    lock.lock();
  }
  lock.unlock();
  EndAll();
}

/// Answers everyone who waits. Nothing is posted any more.
void ModelManager::EndAll() {
  std::deque<std::function<void()>> events;
  {
    std::lock_guard lock(mutex_);
    events.swap(events_);
  }
  for (const auto& event : events) event();
  for (auto& [name, model] : models_) {
    for (Done& done : model.waiters) answers_.emplace_back(std::move(done), Stopping());
    model.waiters.clear();
  }
  settled_.store(true);
  Commit();
}

void ModelManager::BeginStop() {
  loaders_.BeginStop();
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
}

void ModelManager::Stop() {
  BeginStop();
  if (thread_.joinable()) thread_.join();
  loaders_.Stop();
  EndAll();
  reaper_->Close();
}

Status ModelManager::CheckAllowed() const {
  switch (options_.mode) {
    case Mode::kExplicit:
      return OkStatus();
    case Mode::kPoll:
      return Unavailable("explicit model load / unload is not allowed if polling is enabled");
    case Mode::kStartup:
      break;
  }
  return Unavailable(
      "explicit model load / unload is not allowed: models are read when the server starts; start "
      "it with repository.mode explicit (or poll) to change them while it runs");
}

void ModelManager::Load(std::string model, std::optional<std::string> config, Done done) {
  if (Status status = CheckAllowed(); !status.ok()) return done(status);
  const bool posted = Post([this, model = std::move(model), config = std::move(config), done] {
    DoLoad(model, config, done);
  });
  if (!posted) done(Stopping());
}

void ModelManager::Unload(std::string model, Done done) {
  if (Status status = CheckAllowed(); !status.ok()) return done(status);
  const bool posted = Post([this, model = std::move(model), done] { DoUnload(model, done); });
  if (!posted) done(Stopping());
}

void ModelManager::Rescan() {
  if (options_.mode == Mode::kPoll) Post([this] { Scan(); });
}

ModelRecord& ModelManager::Observe(const ModelFolder& folder) {
  ModelRecord& model = models_[folder.name];
  model.on_disk = true;
  model.folder = folder;
  changed_ = true;
  return model;
}

/// Logs what has not been there the last time.
void ModelManager::LogIgnored(const std::vector<std::string>& lines) {
  std::set<std::string> seen;
  for (const std::string& line : lines) {
    if (!logged_.contains(line)) spdlog::warn("ignored: {}", line);
    seen.insert(line);
  }
  logged_ = std::move(seen);
}

void ModelManager::Take(const RepositoryListing& listing) {
  for (auto& [name, model] : models_) {
    // What cannot be read now has not gone for that.
    model.on_disk = model.on_disk && std::ranges::binary_search(listing.unreadable, name);
  }
  for (const ModelFolder& folder : listing.models) {
    ModelRecord& model = Observe(folder);
    model.wanted = model.wanted || options_.mode != Mode::kExplicit;
  }
  for (auto& [name, model] : models_) Reconcile(name, model);
  std::erase_if(models_, [this](const auto& entry) {
    const auto& [name, model] = entry;
    const bool gone = !model.on_disk && model.versions.empty() && model.waiters.empty() &&
                      std::ranges::count(options_.load, name) == 0;
    if (gone) metrics_->RetireModel(name);
    return gone;
  });
}

void ModelManager::Scan() {
  auto listing = ListRepository(root_, host_.trust.needs_manifest());
  if (listing.ok()) {
    LogIgnored(listing->ignored);
    return Take(*listing);
  }
  if (logged_.insert(listing.status().message()).second) {
    spdlog::error("the repository cannot be read; what is loaded goes on serving: {}",
                  listing.status().message());
  }
}

void ModelManager::DoLoad(const std::string& name, const std::optional<std::string>& config,
                          Done done) {
  auto folder = ListModel(root_, name, host_.trust.needs_manifest());
  if (!folder.ok()) return void(answers_.emplace_back(std::move(done), folder.status()));
  ModelConfig parsed;
  if (config.has_value()) {
    auto result = ParseSentModelConfig(*config, name);
    if (!result.ok()) return void(answers_.emplace_back(std::move(done), result.status()));
    parsed = *std::move(result);
  }
  ModelRecord& model = Observe(*folder);
  model.wanted = true;
  if (model.config_text != config) {
    model.config_text = config;
    model.config_read.reset();
    if (config.has_value()) {
      model.config = std::move(parsed);
      model.config_status = OkStatus();
      ++model.config_generation;
    }
  } else if (!model.config_status.ok()) {
    model.config_read.reset();
  }
  for (auto& [number, version] : model.versions) {
    if (!version.error.ok()) version.tried.reset();
  }
  model.waiters.push_back(std::move(done));
  Reconcile(name, model);
}

void ModelManager::DoUnload(const std::string& name, Done done) {
  const auto it = models_.find(name);
  if (it == models_.end()) {
    return void(answers_.emplace_back(std::move(done), NotFound("unknown model '" + name + "'")));
  }
  it->second.wanted = false;
  Reconcile(name, it->second);
  answers_.emplace_back(std::move(done), OkStatus());
}

}  // namespace verdict
