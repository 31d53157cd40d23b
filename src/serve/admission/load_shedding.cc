#include "serve/admission/load_shedding.h"

#include <algorithm>

namespace verdict {
namespace {

constexpr std::chrono::milliseconds kHalfLife{50};
/// A new observation's share of the average.
constexpr int64_t kWeight = 16;

/// How far `value` is from watermark (0) to limit (1).
double Pressure(double value, double watermark, double limit) {
  if (value < watermark) return -1;
  if (value >= limit) return 1;
  return (value - watermark) / (limit - watermark);
}

}  // namespace

bool AdmitsUnderLoad(const ShedPolicy& policy, const LoadSnapshot& load, uint32_t priority) {
  double pressure = -1;
  if (load.max_in_flight > 0) {
    const auto limit = static_cast<double>(load.max_in_flight);
    pressure =
        Pressure(static_cast<double>(load.in_flight), limit * policy.in_flight_watermark, limit);
  }
  if (policy.queue_delay_watermark.count() > 0) {
    const auto watermark = static_cast<double>(policy.queue_delay_watermark.count());
    const double limit = policy.queue_delay_limit.count() > 0
                             ? static_cast<double>(policy.queue_delay_limit.count())
                             : 2 * watermark;
    pressure = std::max(pressure,
                        Pressure(static_cast<double>(load.queue_delay.count()), watermark, limit));
  }
  if (pressure < 0) return true;
  const uint32_t levels = std::max(policy.priority_levels, 1U);
  const uint32_t level = std::clamp(priority == 0 ? policy.default_priority : priority, 1U, levels);
  // The last level goes at the watermark, the first at the limit.
  const double tolerance = levels == 1 ? 1.0 : static_cast<double>(levels - level) / (levels - 1);
  return pressure < tolerance;
}

void QueueDelayMeter::Observe(std::chrono::microseconds delay, Clock::time_point now) {
  // Two threads at once may lose one of two observations: an average can bear that.
  const int64_t before = Estimate(now).count();
  const int64_t step = delay.count() - before;
  // Rounded away from zero, so that the average arrives.
  const int64_t move = step >= 0 ? (step + kWeight - 1) / kWeight : (step - kWeight + 1) / kWeight;
  average_us_.store(before + move, std::memory_order_relaxed);
  observed_ns_.store(std::chrono::nanoseconds(now.time_since_epoch()).count(),
                     std::memory_order_relaxed);
}

std::chrono::microseconds QueueDelayMeter::Estimate(Clock::time_point now) const {
  const int64_t average = average_us_.load(std::memory_order_relaxed);
  const std::chrono::nanoseconds quiet =
      now.time_since_epoch() -
      std::chrono::nanoseconds(observed_ns_.load(std::memory_order_relaxed));
  const int64_t halvings = std::clamp<int64_t>(quiet / kHalfLife, 0, 62);
  return std::chrono::microseconds(average >> halvings);
}

}  // namespace verdict
