#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "observe/metrics.h"
#include "release/repository/repository.h"
#include "serve/models/loader_threads.h"
#include "serve/models/model_reaper.h"
#include "serve/models/model_record.h"
#include "serve/models/model_store.h"
#include "serve/models/repository_options.h"

namespace verdict {

/// The life of models, in TensorFlow Serving's steps: the repository is listed, the policy says
/// which versions are desired, loader threads load and warm them up, the store publishes each at
/// once, and what it replaces is freed here as soon as the last request lets go of it.
///
/// A version serves until what shall replace it is ready (VersionsToRetire). A load that fails
/// changes nothing but the reason in the index; it is tried again when its file or its
/// configuration changes, or a call asks for it.
///
/// One thread decides: all state belongs to it, and the others send it events.
class ModelManager {
 public:
  using Done = std::function<void(const Status&)>;
  /// Whether models are ready for traffic, as RepositoryOptions::strict_readiness has it; never
  /// before every model of the start has been tried. Called after every change.
  using OnReadiness = std::function<void(bool ready)>;

  /// Lists the repository, and publishes what will be loaded as still being loaded. What `host`
  /// names and `store` must outlive the manager; host.free is set here. Errors: as ListRepository
  /// and VersionTrust::Load.
  static Result<std::unique_ptr<ModelManager>> Create(std::filesystem::path root,
                                                      const RepositoryOptions& options,
                                                      const ModelHost& host, ModelStore* store,
                                                      OnReadiness on_readiness);
  ~ModelManager();

  /// Begins to load. Errors: kResourceExhausted (threads).
  Status Start();

  /// Loads what is desired of a model, or again what has changed of it; a version that failed is
  /// tried once more. Threads: any; does not wait.
  ///
  /// config: the text of a configuration to be used instead of the model's file until the next
  /// call. done: called once, on a thread of the manager (or on this one while it stops), when all
  /// desired versions have been tried. kInvalidArgument: name or configuration; kNotFound: not in
  /// the repository; kFailedPrecondition: the configuration says of tensors what the engine does
  /// not; kUnavailable: not allowed in this mode, a version failed for another reason (others may
  /// serve), stopping.
  void Load(std::string model, std::optional<std::string> config, Done done);

  /// Takes a model out of service; its memory is freed when the requests under way have ended.
  /// Threads and `done` as Load's; kNotFound: nothing is known of such a model.
  void Unload(std::string model, Done done);

  /// OK, or why Load and Unload are refused: kUnavailable. Threads: any.
  Status CheckAllowed() const;

  /// Lists the repository now, where it is polled. Threads: any; does not wait.
  void Rescan();

  /// True once every model of the start has been tried, or the manager has stopped. Threads: any.
  bool settled() const { return settled_.load(); }
  void WaitUntilSettled() const { settled_.wait(false); }

  /// Begins no load any more and answers those who wait. Does not wait. Threads: any.
  void BeginStop();
  /// The same, and waits for the loads that have begun. The store keeps what it has.
  void Stop();

 private:
  ModelManager(std::filesystem::path root, const RepositoryOptions& options, const ModelHost& host,
               ModelStore* store, OnReadiness on_readiness);

  /// Returns: false if the manager is stopping; the event is then dropped.
  bool Post(std::function<void()> event);
  void Run();
  void EndAll();

  // The deciding thread's.
  ModelRecord& Observe(const ModelFolder& folder);
  void LogIgnored(const std::vector<std::string>& lines);
  void Take(const RepositoryListing& listing);
  void Scan();
  void DoLoad(const std::string& model, const std::optional<std::string>& config, Done done);
  void DoUnload(const std::string& model, Done done);

  // The deciding thread's, in manager_reconcile.cc.
  void Reconcile(const std::string& name, ModelRecord& model);
  void ReadConfig(ModelRecord& model);
  void UpdateVersions(const std::string& name, ModelRecord& model);
  void BeginLoad(const std::string& name, ModelRecord& model, VersionRecord& version);
  void EndLoad(const std::string& name, int64_t number, const LoadTarget& target,
               const Result<std::shared_ptr<const LoadedModel>>& loaded, double seconds);
  void RetireVersions(const std::string& name, ModelRecord& model);
  void AnswerWaiters(const std::string& name, ModelRecord& model);
  void ForgetMetrics(const std::string& name, int64_t number);
  void Commit();
  void Publish(bool settled);
  bool FreeUnused();

  const std::filesystem::path root_;
  const RepositoryOptions options_;
  ModelHost host_;
  Metrics* const metrics_;  // host_'s
  ModelStore* const store_;
  const OnReadiness on_readiness_;

  // The deciding thread's.
  using VersionKey = std::pair<std::string, int64_t>;
  std::map<std::string, ModelRecord> models_;
  std::vector<std::weak_ptr<const LoadedModel>> published_;  // by the last Publish
  std::map<VersionKey, int> alive_;                          // models not freed yet
  std::vector<std::pair<Done, Status>> answers_;
  bool changed_ = true;  // since the last Publish
  std::vector<std::string> ignored_at_start_;
  std::set<std::string> logged_;  // what is wrong with the repository, as last seen

  std::atomic<bool> settled_{false};
  std::shared_ptr<ModelReaper> reaper_;
  std::mutex mutex_;  // guards events_ and stop_
  std::condition_variable wake_;
  std::deque<std::function<void()>> events_;
  bool stop_ = false;
  std::thread thread_;
  LoaderThreads loaders_;
};

}  // namespace verdict
