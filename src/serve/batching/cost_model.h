#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "runtime/session.h"

namespace verdict {

/// How long a run of an engine takes, by number of rows: measured when the model is loaded, and
/// followed while it serves. Threads: any.
class CostModel {
 public:
  /// Measures at 1, 2, 4, … up to max_rows rows, with the shapes of the engine's profiles (all
  /// other extents at their largest) and inputs of zeros (strings: "0"); the fastest of a few runs
  /// each. Takes about 50 ms at most, or two runs of one row if they are longer; sizes for which
  /// there was no time are taken as proportional. max_rows: 1 for an engine without a batch.
  /// Errors: those of Session::Run.
  static Result<std::unique_ptr<CostModel>> Measure(Session& session, int64_t max_rows);
  /// The same of whatever else runs the engine. Errors: those of `run`.
  static Result<std::unique_ptr<CostModel>> Measure(
      const Engine& engine, int64_t max_rows,
      const std::function<Status(std::span<const TensorView>)>& run);

  /// Of known costs: of 1, 2, 4, … rows; not empty.
  explicit CostModel(std::span<const std::chrono::nanoseconds> measured);

  CostModel(const CostModel& other) { Replace(other); }

  /// Interpolated between the measured sizes, proportional beyond.
  std::chrono::nanoseconds Estimate(int64_t rows) const;

  /// Takes over what another one has measured.
  void Replace(const CostModel& other);

  /// Takes a run into account (an exponential average; outliers count little).
  void Observe(int64_t rows, std::chrono::nanoseconds time);

 private:
  static constexpr size_t kSizes = 24;  // 1, 2, 4, … 2^23 rows
  std::array<std::atomic<int64_t>, kSizes> ns_{};
  std::atomic<size_t> sizes_{0};  // of which so many are measured
};

}  // namespace verdict
