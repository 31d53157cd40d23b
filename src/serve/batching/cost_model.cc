#include "serve/batching/cost_model.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "serve/batching/engine_rows.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr auto kMeasuringTime = std::chrono::milliseconds(50);
constexpr int kRuns = 4;  // of each size; the first one also binds shapes
constexpr double kWeight = 1.0 / 8;
constexpr double kLargestStep = 2;  // a run counts at most as so many times the estimate

/// 2^size <= rows < 2^(size + 1).
size_t SizeBelow(int64_t rows) {
  return static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(rows, 1)))) - 1;
}

}  // namespace

CostModel::CostModel(std::span<const nanoseconds> measured)
    : sizes_(std::min(measured.size(), kSizes)) {
  VERDICT_CHECK(!measured.empty());
  for (size_t i = 0; i < sizes_.load(); ++i) ns_[i] = std::max<int64_t>(measured[i].count(), 1);
}

Result<std::unique_ptr<CostModel>> CostModel::Measure(Session& session, int64_t max_rows) {
  return Measure(session.engine(), max_rows, [&session](std::span<const TensorView> inputs) {
    return session.Run(inputs).status();
  });
}

Result<std::unique_ptr<CostModel>> CostModel::Measure(
    const Engine& engine, int64_t max_rows,
    const std::function<Status(std::span<const TensorView>)>& run_engine) {
  const EngineRows engine_rows = RowsOf(engine);
  const Clock::time_point begin = Clock::now();
  std::vector<nanoseconds> measured;
  for (int64_t rows = 1; rows <= max_rows && measured.size() < kSizes; rows *= 2) {
    // Twice the rows take up to twice the time: what would not fit is not begun.
    const auto spent = Clock::now() - begin;
    if (!measured.empty() && spent + 4 * measured.back() > kMeasuringTime) break;
    VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> inputs,
                             ZeroInputs(engine, std::max(rows, engine_rows.min)));
    const std::vector<TensorView> views = Views(inputs);
    nanoseconds fastest = nanoseconds::max();
    for (int run = 0; run < kRuns; ++run) {
      const Clock::time_point start = Clock::now();
      VERDICT_RETURN_IF_ERROR(run_engine(views));
      const Clock::time_point end = Clock::now();
      fastest = std::min<nanoseconds>(fastest, end - start);
      if (run > 0 && end - begin + fastest > kMeasuringTime) break;
    }
    measured.push_back(fastest);
  }
  return std::make_unique<CostModel>(measured);
}

nanoseconds CostModel::Estimate(int64_t rows) const {
  const size_t below = SizeBelow(rows);
  const size_t sizes = sizes_.load(std::memory_order_relaxed);
  const auto at = [&](size_t size) {
    return static_cast<double>(ns_[size].load(std::memory_order_relaxed));
  };
  const auto n = static_cast<double>(std::max<int64_t>(rows, 1));
  if (below + 1 >= sizes) {
    const size_t last = sizes - 1;
    return nanoseconds(
        static_cast<int64_t>(at(last) * n / static_cast<double>(int64_t{1} << last)));
  }
  const double part = n / static_cast<double>(int64_t{1} << below) - 1;  // in [0, 1)
  return nanoseconds(static_cast<int64_t>(at(below) + part * (at(below + 1) - at(below))));
}

void CostModel::Replace(const CostModel& other) {
  for (size_t i = 0; i < kSizes; ++i) {
    ns_[i].store(other.ns_[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  sizes_.store(other.sizes_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void CostModel::Observe(int64_t rows, nanoseconds time) {
  const auto estimate = static_cast<double>(std::max<int64_t>(Estimate(rows).count(), 1));
  const double ratio =
      std::clamp(static_cast<double>(time.count()) / estimate, 1 / kLargestStep, kLargestStep);
  const double factor = 1 + kWeight * (ratio - 1);
  // Both sizes that the estimate came from.
  const size_t sizes = sizes_.load(std::memory_order_relaxed);
  const size_t below = std::min(SizeBelow(rows), sizes - 1);
  const bool exact = std::has_single_bit(static_cast<uint64_t>(std::max<int64_t>(rows, 1)));
  const size_t above = exact ? below : std::min(below + 1, sizes - 1);
  for (size_t size = below; size <= above; ++size) {
    const auto old = static_cast<double>(ns_[size].load(std::memory_order_relaxed));
    ns_[size].store(std::max<int64_t>(static_cast<int64_t>(old * factor), 1),
                    std::memory_order_relaxed);
  }
}

}  // namespace verdict
