#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "observe/metrics.h"
#include "observe/trace/tracer.h"
#include "serve/admission/gate.h"
#include "serve/batching/scheduler.h"
#include "serve/endpoints/infer_request.h"
#include "serve/models/model_store.h"
#include "serve/routing/route.h"
#include "serve/shared_memory/region_registry.h"

namespace verdict {

class ModelManager;
class Rescuer;
class ServingDevice;

/// What holds for requests whose clients ask for no deadline, or for a far one.
struct DeadlineOptions {
  uint64_t default_us = 0;  // 0: none
  uint64_t max_us = 0;      // 0: whatever the client asks for
};

/// What the endpoints work on. Shared by all workers; what belongs to one worker is indexed by it.
class Service {
 public:
  /// workers: threads of the transports; each has a number in [0, workers).
  /// compute_threads: the scheduler's.
  /// gate: who may enter; by default anyone for inference, nobody for admin calls.
  Service(int workers, int compute_threads, const SharedMemoryOptions& shared_memory = {},
          std::unique_ptr<Gate> gate = *Gate::Make({}))
      : workers_(workers),
        rescue_slot_(workers + compute_threads + 1),
        gate_(std::move(gate)),
        metrics_(workers + compute_threads + 2),
        models_(workers),
        tracer_(workers + compute_threads + 2, &metrics_.trace()),
        shared_memory_(shared_memory) {
    for (int i = 0; i < workers; ++i) scratch_.push_back(NewScratch());
  }

  /// Memory that a worker uses again from request to request.
  struct Scratch {
    InferRequestReader reader;
    InferRequest request;

    /// After each request: lets go of shared memory, and of what a rare big request took.
    void Reset() {
      reader.Shrink();
      request.outputs.clear();
    }
  };

  Gate& gate() { return *gate_; }
  Metrics& metrics() { return metrics_; }
  ModelStore& models() { return models_; }
  Tracer& tracer() { return tracer_; }
  RegionRegistry& shared_memory() { return shared_memory_; }
  int workers() const { return workers_; }
  /// Set before any request, and until the last one is answered.
  void SetScheduler(Scheduler* scheduler) { scheduler_ = scheduler; }
  Scheduler& scheduler() const { return *scheduler_; }
  /// Whether admins may make models fail. Set before any request.
  void SetFaultInjection(bool allowed) { fault_injection_ = allowed; }
  bool fault_injection() const { return fault_injection_; }
  /// Set before any request.
  void SetDeadlines(const DeadlineOptions& deadlines) { deadlines_ = deadlines; }
  /// The deadline of a request that came in then, of which its client asks for `asked`.
  std::chrono::steady_clock::time_point Deadline(
      std::chrono::steady_clock::time_point arrival,
      std::chrono::steady_clock::time_point asked) const {
    using std::chrono::microseconds;
    const bool none = asked == std::chrono::steady_clock::time_point::max();
    if (none && deadlines_.default_us > 0) asked = arrival + microseconds(deadlines_.default_us);
    if (deadlines_.max_us > 0) asked = std::min(asked, arrival + microseconds(deadlines_.max_us));
    return asked;
  }
  /// The counters of a thread of the scheduler (Job::Times::thread).
  int compute_slot(int thread) const { return workers_ + thread; }
  /// The counters of the rescuer's thread.
  int rescue_slot() const { return rescue_slot_; }

  /// Filled before requests come.
  RouteTable& routes() { return routes_; }
  const RouteTable& routes() const { return routes_; }
  /// Null where there are no routes.
  Rescuer* rescuer() const { return rescuer_; }
  /// Before requests come, and until the last one is answered.
  void SetRescuer(Rescuer* rescuer) { rescuer_ = rescuer; }

  Scratch& scratch(int worker) { return *scratch_[static_cast<size_t>(worker)]; }
  /// The worker's scratch, with the request in it but for the parser, which takes many times the
  /// size of the text: that stays with the worker, who gets another scratch. Threads: the worker's.
  std::unique_ptr<Scratch> TakeScratch(int worker) {
    std::unique_ptr<Scratch> spare;
    {
      const std::lock_guard lock(spare_mutex_);
      if (!spares_.empty()) {
        spare = std::move(spares_.back());
        spares_.pop_back();
      }
    }
    if (spare == nullptr) spare = NewScratch();
    Scratch& taken = scratch(worker);
    taken.reader.HandOnParser(&spare->reader, &taken.request);
    return std::exchange(scratch_[static_cast<size_t>(worker)], std::move(spare));
  }
  /// Takes one back that is no longer needed. Threads: any.
  void PutSpareScratch(std::unique_ptr<Scratch> scratch) {
    constexpr size_t kKeep = 256;
    scratch->Reset();
    const std::lock_guard lock(spare_mutex_);
    if (spares_.size() < kKeep) spares_.push_back(std::move(scratch));
  }

  /// The device that models run on; null where the server was made without.
  const ServingDevice* device() const { return device_; }
  ServingDevice* device() { return device_; }
  /// Before requests come, and until the last one is answered.
  void SetDevice(ServingDevice* device) { device_ = device; }

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
  std::unique_ptr<Scratch> NewScratch() {
    auto scratch = std::make_unique<Scratch>();
    scratch->reader.UseSharedMemory(&shared_memory_);
    return scratch;
  }

  int workers_;
  int rescue_slot_;
  RouteTable routes_;
  Rescuer* rescuer_ = nullptr;
  bool fault_injection_ = false;
  std::unique_ptr<Gate> gate_;
  Metrics metrics_;
  ModelStore models_;
  Tracer tracer_;
  RegionRegistry shared_memory_;
  Scheduler* scheduler_ = nullptr;
  DeadlineOptions deadlines_;
  std::vector<std::unique_ptr<Scratch>> scratch_;
  std::mutex spare_mutex_;  // guards spares_
  std::vector<std::unique_ptr<Scratch>> spares_;
  ModelManager* manager_ = nullptr;
  ServingDevice* device_ = nullptr;
  std::atomic<bool> models_ready_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace verdict
