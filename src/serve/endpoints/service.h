#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "observe/metrics.h"
#include "serve/admission/gate.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/model_store.h"

namespace verdict {

/// What the endpoints work on. Shared by all workers; what belongs to one worker is indexed by it.
class Service {
 public:
  /// gate: who may enter; by default anyone for inference, nobody for admin calls.
  explicit Service(int workers, std::unique_ptr<Gate> gate = *Gate::Make({}))
      : gate_(std::move(gate)), metrics_(workers), models_(workers), scratch_(Scratches(workers)) {}

  /// Memory that a worker uses again from request to request.
  struct Scratch {
    InferRequestReader reader;
    InferRequest request;
  };

  Gate& gate() { return *gate_; }
  Metrics& metrics() { return metrics_; }
  ModelStore& models() { return models_; }
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

  std::unique_ptr<Gate> gate_;
  Metrics metrics_;
  ModelStore models_;
  std::vector<std::unique_ptr<Scratch>> scratch_;
  std::atomic<bool> loaded_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace verdict
