#include <algorithm>
#include <array>
#include <limits>

#include "backends/cpu/softmax.h"
#include "backends/cpu/tactics.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  const Value& x = graph.value(node.inputs[0]);
  if (x.dtype != DataType::kFloat32) return Unimplemented("not of float32");
  const int64_t axis = AttributeReader(node).Int("axis", -1);
  if (axis != -1 && axis != x.shape.rank() - 1) return Unimplemented("not over the last axis");
  return OkStatus();
}

Status Run(KernelContext& context) {
  constexpr int64_t kTogether = 16;
  const auto x = context.in<float>(0);
  if (x.empty()) return OkStatus();
  const Shape& shape = context.inputs[0].shape;
  const int64_t count = shape[shape.rank() - 1];
  const int64_t rows = std::ssize(x) / count;
  float* y = context.out<float>(0).data();
  for (int64_t first = 0; first < rows; first += kTogether) {
    const int64_t together = std::min(kTogether, rows - first);
    float* to = y + first * count;
    std::copy_n(x.data() + first * count, together * count, to);
    std::array<float, kTogether> factors{};
    SoftmaxNumerators(
        {.rows = together, .count = count, .stride = count, .scores = to, .seen_by_first = count},
        factors.data());
    // Of nothing but -inf, as 0 / 0.
    for (float& factor : factors) {
      factor = factor == 0.0F ? std::numeric_limits<float>::quiet_NaN() : 1.0F / factor;
    }
    ScaleRows(to, together, count, count, factors.data());
  }
  return OkStatus();
}

}  // namespace

const Tactic kSoftmax = {.id = "cpu/softmax", .op = "Softmax", .accepts = Accepts, .run = Run};

}  // namespace verdict::cpu
