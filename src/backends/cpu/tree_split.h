#pragma once

#include <cstdint>

namespace verdict::cpu {

/// x <= key for a float32 x; NaN goes to `low` if nan_low. Children as in the node's constants, or
/// kNextTest for the node's second test.
struct TreeTest {
  float key;
  bool nan_low;
  int32_t low, high;
};
/// Never a child: children come after their parents.
inline constexpr int32_t kNextTest = 0;

struct TreeTests {
  TreeTest tests[2];
  int count = 1;
};

/// The one or two tests that take every float32 x where a node of TreeEnsemble takes it. Children
/// are as in its tables. Threads: pure.
TreeTests TestsOf(uint8_t mode, double split, bool missing_true, int32_t on_true, int32_t on_false);

}  // namespace verdict::cpu
