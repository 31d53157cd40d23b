#include "plan/memory.h"

#include <algorithm>
#include <numeric>

#include "base/checked_math.h"
#include "ops/infer.h"
#include "ops/op.h"
#include "plan/profile.h"

namespace verdict {
namespace {

constexpr size_t kAlignment = 64;
constexpr uint64_t kMaxArenaBytes = uint64_t{16} << 30;

/// The steps during which a buffer's contents matter, both ends included.
struct Lifetime {
  int64_t first = -1;
  int64_t last = -1;
};

/// Lifetimes of the buffers (values that are their own storage and are made by a step).
std::vector<Lifetime> Lifetimes(const Graph& graph, const Plan& plan) {
  std::vector<Lifetime> lifetimes(static_cast<size_t>(graph.num_values()));
  const auto touch = [&](ValueId id, int64_t step, bool made) {
    if (id == kNoValue) return;
    Lifetime& lifetime = lifetimes[static_cast<size_t>(plan.storage[static_cast<size_t>(id)])];
    // A view makes nothing: its memory is its root's, which may be a graph input or a constant.
    const bool is_root = plan.storage[static_cast<size_t>(id)] == id;
    if (made && is_root) lifetime.first = step;
    lifetime.last = std::max(lifetime.last, step);
  };
  for (size_t step = 0; step < plan.steps.size(); ++step) {
    const Node& node = graph.nodes[static_cast<size_t>(plan.steps[step].node)];
    for (ValueId id : node.outputs) touch(id, static_cast<int64_t>(step), true);
    for (ValueId id : node.inputs) touch(id, static_cast<int64_t>(step), false);
  }
  for (ValueId id : graph.outputs) touch(id, static_cast<int64_t>(plan.steps.size()), false);
  return lifetimes;
}

/// Largest of the sizes at the profile's measured shapes. What is larger in between is refused when
/// it comes.
Status Measure(const Graph& graph, const Plan& plan, const Profile& profile,
               const ScratchRule& scratch, Layout& layout) {
  const std::vector<std::vector<Shape>> sets = MeasuredShapes(graph, profile);
  for (size_t set = 0; set < sets.size(); ++set) {
    const auto resolved = ResolveShapes(graph, sets[set]);
    if (!resolved.ok() && set >= 3) continue;  // a mix
    if (!resolved.ok()) return resolved.status();
    const std::vector<TensorView>& views = *resolved;
    std::vector<TensorView> inputs, outputs;
    for (size_t step = 0; step < plan.steps.size(); ++step) {
      const Node& node = graph.nodes[static_cast<size_t>(plan.steps[step].node)];
      inputs.clear();
      outputs.clear();
      for (ValueId id : node.inputs) {
        inputs.push_back(id == kNoValue ? TensorView{} : views[static_cast<size_t>(id)]);
      }
      for (ValueId id : node.outputs) {
        outputs.push_back(id == kNoValue ? TensorView{} : views[static_cast<size_t>(id)]);
        if (id == kNoValue) continue;
        VERDICT_ASSIGN_OR_RETURN(const size_t bytes,
                                 ByteSize(outputs.back().dtype, outputs.back().shape));
        uint64_t& capacity = layout.capacity[static_cast<size_t>(id)];
        capacity = std::max<uint64_t>(capacity, bytes);
      }
      layout.scratch_bytes =
          std::max<uint64_t>(layout.scratch_bytes, scratch(step, inputs, outputs));
    }
  }
  return OkStatus();
}

}  // namespace

void PlanStorage(const Graph& graph, Plan& plan) {
  plan.storage.resize(static_cast<size_t>(graph.num_values()));
  std::iota(plan.storage.begin(), plan.storage.end(), 0);
  for (const Node& node : graph.nodes) {
    if (!FindOp(node.op)->is_view || node.inputs[0] == kNoValue) continue;
    plan.storage[static_cast<size_t>(node.outputs[0])] =
        plan.storage[static_cast<size_t>(node.inputs[0])];
  }
}

Result<Layout> PlanLayout(const Graph& graph, const Plan& plan, const Profile& profile,
                          const ScratchRule& scratch) {
  const auto count = static_cast<size_t>(graph.num_values());
  Layout layout;
  layout.offset.assign(count, Layout::kNotInArena);
  layout.capacity.assign(count, 0);
  VERDICT_RETURN_IF_ERROR(Measure(graph, plan, profile, scratch, layout));

  const std::vector<Lifetime> lifetimes = Lifetimes(graph, plan);
  std::vector<size_t> buffers;
  for (size_t id = 0; id < count; ++id) {
    if (static_cast<size_t>(plan.storage[id]) == id && lifetimes[id].first >= 0) {
      buffers.push_back(id);
    }
  }
  // Largest first; each at the lowest offset that is free throughout its lifetime.
  std::ranges::stable_sort(buffers, std::ranges::greater(),
                           [&](size_t id) { return layout.capacity[id]; });
  std::vector<size_t> placed;  // by offset
  for (size_t id : buffers) {
    const uint64_t size = AlignUp(std::max<uint64_t>(layout.capacity[id], 1), kAlignment);
    uint64_t offset = 0;
    for (size_t other : placed) {
      const bool overlap = lifetimes[id].first <= lifetimes[other].last &&
                           lifetimes[other].first <= lifetimes[id].last;
      if (!overlap) continue;
      if (layout.offset[other] >= offset + size) break;
      const uint64_t end =
          layout.offset[other] + AlignUp(std::max<uint64_t>(layout.capacity[other], 1), kAlignment);
      offset = std::max(offset, end);
    }
    layout.offset[id] = offset;
    layout.arena_bytes = std::max(layout.arena_bytes, offset + size);
    if (layout.arena_bytes > kMaxArenaBytes) {
      return ResourceExhausted(
          "the profile's largest shapes need more than 16 GiB of working memory; give smaller "
          "--maxShapes");
    }
    const auto position = std::ranges::upper_bound(
        placed, offset, {}, [&](size_t other) { return layout.offset[other]; });
    placed.insert(position, id);
  }
  // Each is bounded before they are added.
  if (layout.scratch_bytes > kMaxArenaBytes ||
      layout.arena_bytes + layout.scratch_bytes > kMaxArenaBytes) {
    return ResourceExhausted(
        "an operator needs more than 16 GiB of scratch; give smaller --maxShapes");
  }
  layout.scratch_offset = layout.arena_bytes;
  layout.scratch_bytes = AlignUp(layout.scratch_bytes, kAlignment);
  layout.arena_bytes += layout.scratch_bytes;
  return layout;
}

}  // namespace verdict
