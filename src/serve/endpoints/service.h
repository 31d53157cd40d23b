#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "observe/metrics.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/model_store.h"

namespace verdict {

class ModelManager;

/// What the endpoints work on. Shared by all workers; what belongs to one worker is indexed by it.
class Service {
 public:
  explicit Service(int workers)
      : metrics_(workers), models_(workers), scratch_(Scratches(workers)) {}

  /// Memory that a worker uses again from request to request.
  struct Scratch {
    InferRequestReader reader;
    InferRequest request;
  };

  Metrics& metrics() { return metrics_; }
  ModelStore& models() { return models_; }
  Scratch& scratch(int worker) { return *scratch_[static_cast<size_t>(worker)]; }

  /// Who loads and unloads models; null if nobody does.
  ModelManager* manager() const { return manager_; }
  /// Before requests come.
  void SetManager(ModelManager* manager) { manager_ = manager; }

  /// True if traffic is welcome: the models are ready, and no shutdown has begun.
  bool ready() const { return models_ready_.load() && !draining_.load(); }
  /// Whether the models are ready for traffic (ModelManager::OnReadiness).
  void SetModelsReady(bool ready) { models_ready_.store(ready); }
  void BeginDrain() { draining_.store(true); }

 private:
  static std::vector<std::unique_ptr<Scratch>> Scratches(int workers) {
    std::vector<std::unique_ptr<Scratch>> scratches;
    for (int i = 0; i < workers; ++i) scratches.push_back(std::make_unique<Scratch>());
    return scratches;
  }

  Metrics metrics_;
  ModelStore models_;
  std::vector<std::unique_ptr<Scratch>> scratch_;
  ModelManager* manager_ = nullptr;
  std::atomic<bool> models_ready_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace verdict
