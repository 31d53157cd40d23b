#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

namespace verdict::load {

enum class ArrivalKind : uint8_t {
  kClosed,    // the next request leaves when the last was answered
  kPoisson,   // independent clients: exponential gaps
  kConstant,  // equal gaps
  kReplay,    // the recorded times
};

/// When requests ought to be sent, in nanoseconds since the run began, whatever the server does
/// (an open loop). Deterministic: the same seed gives the same times. Threads: one at a time.
class Arrivals {
 public:
  /// `parts` such processes with parts 0 … parts - 1 together make one Poisson process of
  /// rate_per_s, since superposed Poisson processes are one. rate_per_s: finite, > 0.
  static Arrivals Poisson(double rate_per_s, uint64_t seed, int part, int parts);
  /// The parts take turns: together one request every 1 / rate_per_s.
  static Arrivals Constant(double rate_per_s, int part, int parts);
  /// Every parts-th of the recorded times, from the part-th on. times_ns must outlive this.
  static Arrivals Replay(std::span<const int64_t> times_ns, int part, int parts);

  /// The next arrival; kEnd after the last recorded one. Never goes back in time.
  int64_t Next();
  /// The position of the arrival that Next() returned last in an order common to all parts; in a
  /// recording, the number of the request.
  int64_t index() const { return index_; }

  static constexpr int64_t kEnd = INT64_MAX;

 private:
  Arrivals(ArrivalKind kind, double gap_ns, int part, int parts)
      : kind_(kind), gap_ns_(gap_ns), parts_(parts), index_(part - parts) {}

  ArrivalKind kind_;
  double gap_ns_;  // mean gap of this part alone
  int parts_;
  int64_t index_;
  double now_ns_ = 0;
  std::mt19937_64 random_;
  std::span<const int64_t> times_ns_;
};

}  // namespace verdict::load
