#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "observe/metrics.h"
#include "observe/trace/tracer.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/model_store.h"
#include "serve/shared_memory/region_registry.h"

namespace verdict {

/// What the endpoints work on. Shared by all workers; what belongs to one worker is indexed by it.
class Service {
 public:
  explicit Service(int workers, const SharedMemoryOptions& shared_memory = {})
      : metrics_(workers),
        models_(workers),
        tracer_(workers, &metrics_.trace()),
        shared_memory_(shared_memory),
        scratch_(Scratches(workers)) {
    for (auto& scratch : scratch_) scratch->reader.UseSharedMemory(&shared_memory_);
  }

  /// Memory that a worker uses again from request to request.
  struct Scratch {
    InferRequestReader reader;
    InferRequest request;
  };

  Metrics& metrics() { return metrics_; }
  ModelStore& models() { return models_; }
  Tracer& tracer() { return tracer_; }
  RegionRegistry& shared_memory() { return shared_memory_; }
  Scratch& scratch(int worker) { return *scratch_[static_cast<size_t>(worker)]; }

  /// True if traffic is welcome: models were loaded, at least one can answer, and no shutdown has
  /// begun.
  bool ready() const { return loaded_.load() && !draining_.load(); }
  /// All models of the start have been tried; `any` of them can answer.
  void FinishLoading(bool any) { loaded_.store(any); }
  void BeginDrain() { draining_.store(true); }

 private:
  static std::vector<std::unique_ptr<Scratch>> Scratches(int workers) {
    std::vector<std::unique_ptr<Scratch>> scratches;
    for (int i = 0; i < workers; ++i) scratches.push_back(std::make_unique<Scratch>());
    return scratches;
  }

  Metrics metrics_;
  ModelStore models_;
  Tracer tracer_;
  RegionRegistry shared_memory_;
  std::vector<std::unique_ptr<Scratch>> scratch_;
  std::atomic<bool> loaded_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace verdict
