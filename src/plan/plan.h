#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// The range of shapes an engine accepts, as TensorRT's optimization profile: per graph input, in
/// the graph's order. All three have the input's rank and are static.
struct InputRange {
  std::string name;
  Shape min, opt, max;
};
struct Profile {
  std::vector<InputRange> inputs;
};

/// One node and how it is computed.
struct Step {
  int32_t node = 0;            // index into Graph::nodes
  std::string tactic;          // for example "cpu:avx512/fused_gemm" or "reference"
  uint64_t packed_offset = 0;  // this tactic's weights within the packed section, 64-byte aligned
  uint64_t packed_bytes = 0;
};

/// Where each value of the graph lives during a run, for one profile. Offsets are into one arena
/// per session.
struct Layout {
  static constexpr uint64_t kNotInArena = ~uint64_t{0};
  std::vector<uint64_t>
      offset;  // per value; kNotInArena for inputs, constants, views and dead values
  std::vector<uint64_t> capacity;  // per value, bytes
  uint64_t scratch_offset = 0;     // one scratch area, shared by all steps
  uint64_t scratch_bytes = 0;
  uint64_t arena_bytes = 0;
};

/// How to run a graph on one kind of machine. Plain data; disposable: it can always be made again
/// from the graph.
struct Plan {
  std::string target;  // fingerprint of what it was made for, for example "cpu:avx512"
  std::vector<Step> steps;
  /// Per value: the value whose memory it shares (outputs of Reshape and the like), else its own
  /// id.
  std::vector<ValueId> storage;
  std::vector<Layout> layouts;  // one per profile
};

}  // namespace verdict
