#pragma once

#include <limits>
#include <memory>
#include <set>
#include <string>

#include "backends/device/device.h"

namespace verdict {

/// What a fake device is like.
struct FakeDeviceOptions {
  std::string backend = "fake";
  std::string name = "Fake device";
  std::string fingerprint = "fake 1.0";
  int index = 0;
  uint64_t memory_bytes = uint64_t{1} << 30;
  /// Scratch that programs with at least `sharing_from_bytes` of weights share, while there is one.
  uint64_t shared_bytes = 0;
  uint64_t sharing_from_bytes = 0;
  int memory_answers = std::numeric_limits<int>::max();  // how often memory() succeeds
  bool needs_caller_memory = false;                      // runs refuse inputs that lie elsewhere
  /// Operators that Supports declines, beside those that read or make strings and tree ensembles.
  std::set<std::string, std::less<>> unsupported;
  uint32_t latency_us = 0;  // of every run, beside the computation
  uint32_t build_ms = 0;    // of every build; nothing ends it early
  uint32_t run_timeout_ms = 2000;
  /// How often Recover fails before it succeeds.
  int failing_recoveries = 0;
  bool recovers = true;  // false: never in this process
  /// How wrong float outputs are, relative plus absolute, by the precision of the build; the same
  /// value gets the same error always.
  float float32_error = 0;
  float half_error = 0;  // fp16 and bf16
  float int8_error = 0;
};

/// A device for tests that computes with the reference kernels and takes faults on demand. Its
/// programs are a few lines of text: the fingerprint, digests of the graph and of its weights, so
/// that a program of another graph, other weights, or another device is refused as hardware's would
/// be. Threads: any.
std::unique_ptr<Device> MakeFakeDevice(const FakeDeviceOptions& options);

}  // namespace verdict
