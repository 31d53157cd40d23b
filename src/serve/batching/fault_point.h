#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <thread>

#include "base/status.h"
#include "ir/types.h"

namespace verdict {

/// What an operator has ordered to go wrong in a model's runs, for drills and tests. Threads: any.
class FaultPoint {
 public:
  enum class Kind { kNone, kError, kNotANumber, kDelay };

  /// share: of the runs, spread evenly. delay: of kDelay, before each run.
  void Set(Kind kind, double share, std::chrono::microseconds delay) {
    share_.store(share);
    delay_us_.store(delay.count());
    kind_.store(kind);
  }
  bool active() const { return kind_.load(std::memory_order_relaxed) != Kind::kNone; }

  /// Before a run. Returns: what the run is to be like. Errors: kInternal, which is then the run's.
  Result<Kind> Before() {
    if (active() && kind_.load() == Kind::kDelay && Strikes()) {
      std::this_thread::sleep_for(std::chrono::microseconds(delay_us_.load()));
    }
    return BeforeRescue();
  }
  /// The same on the one thread that goes on with what hangs: it is not to hang itself.
  Result<Kind> BeforeRescue() {
    const Kind kind = kind_.load();
    if (kind == Kind::kNone || kind == Kind::kDelay || !Strikes()) return Kind::kNone;
    if (kind == Kind::kError) return Internal("a fault that was ordered by POST …/fault");
    return kind;
  }

  /// Makes a run's float32 outputs no numbers.
  static void Spoil(std::span<const TensorView> outputs) {
    for (const TensorView& output : outputs) {
      if (output.dtype != DataType::kFloat32) continue;
      for (float& value : output.as<float>()) value = std::numeric_limits<float>::quiet_NaN();
    }
  }

 private:
  bool Strikes() {
    const auto run = static_cast<double>(runs_.fetch_add(1));
    const double share = share_.load();
    return std::floor((run + 1) * share) > std::floor(run * share);
  }

  std::atomic<Kind> kind_{Kind::kNone};
  std::atomic<double> share_{1};
  std::atomic<int64_t> delay_us_{0};
  std::atomic<uint64_t> runs_{0};
};

}  // namespace verdict
