#include <map>

#include "engine/sections.h"
#include "plan/memory.h"

namespace verdict {
namespace {

constexpr uint64_t kMaxArenaBytes = uint64_t{16} << 30;

/// True if [offset, offset + bytes) lies within `limit` and begins aligned.
bool IsBlobWithin(uint64_t offset, uint64_t bytes, uint64_t limit) {
  return offset % kBlobAlignment == 0 && offset <= limit && bytes <= limit - offset;
}

/// Per value: the last step that reads its memory, also through views; the number of steps for
/// graph outputs.
std::vector<size_t> LastReads(const Graph& graph, const Plan& plan) {
  std::vector<size_t> last(static_cast<size_t>(graph.num_values()), 0);
  const auto touch = [&](ValueId id, size_t step) {
    if (id != kNoValue) last[static_cast<size_t>(plan.storage[static_cast<size_t>(id)])] = step;
  };
  for (size_t step = 0; step < graph.nodes.size(); ++step) {
    for (ValueId id : graph.nodes[step].outputs) touch(id, step);
    for (ValueId id : graph.nodes[step].inputs) touch(id, step);
  }
  for (ValueId id : graph.outputs) touch(id, graph.nodes.size());
  return last;
}

/// The values in the arena that are live at the step at hand, by offset.
class LiveRanges {
 public:
  explicit LiveRanges(const Layout& layout) : layout_(layout) {}

  /// False if the value's memory overlaps that of a live one.
  bool Add(ValueId id) {
    const uint64_t begin = layout_.offset[static_cast<size_t>(id)];
    const uint64_t end = begin + layout_.capacity[static_cast<size_t>(id)];
    if (begin == end) return true;
    const auto next = ends_.lower_bound(begin);
    if (next != ends_.end() && next->first < end) return false;
    if (next != ends_.begin() && std::prev(next)->second > begin) return false;
    ends_.emplace_hint(next, begin, end);
    return true;
  }

  void Remove(ValueId id) {
    if (layout_.capacity[static_cast<size_t>(id)] > 0) {
      ends_.erase(layout_.offset[static_cast<size_t>(id)]);
    }
  }

 private:
  const Layout& layout_;
  std::map<uint64_t, uint64_t> ends_;  // begin -> end
};

bool IsBuffer(const Plan& plan, ValueId id) {
  return id != kNoValue && plan.storage[static_cast<size_t>(id)] == id;
}

/// Every value that a step makes has memory, and no two that are live at once share any: kernels
/// trust what they checked to stay as it was, and a string's bytes to be a string's.
Status CheckLifetimes(const Graph& graph, const Plan& plan, const Layout& layout) {
  const std::vector<size_t> last = LastReads(graph, plan);
  std::vector<std::vector<ValueId>> ending(graph.nodes.size() + 1);
  LiveRanges live(layout);
  size_t num_buffers = 0;
  for (size_t step = 0; step < graph.nodes.size(); ++step) {
    for (ValueId id : graph.nodes[step].outputs) {
      if (!IsBuffer(plan, id)) continue;
      ++num_buffers;
      if (layout.offset[static_cast<size_t>(id)] == Layout::kNotInArena) {
        return Malformed("value '" + graph.value(id).name + "' has no memory");
      }
      if (!live.Add(id)) {
        return Malformed("the memory of value '" + graph.value(id).name +
                         "' overlaps that of another");
      }
      ending[last[static_cast<size_t>(id)]].push_back(id);
    }
    for (ValueId id : ending[step]) live.Remove(id);
  }
  size_t num_placed = 0;
  for (uint64_t offset : layout.offset) num_placed += offset != Layout::kNotInArena ? 1 : 0;
  if (num_placed != num_buffers) return Malformed("a value has memory that no step makes");
  return OkStatus();
}

Result<Layout> ReadLayout(const proto::Layout& message, const Graph& graph, const Plan& plan) {
  const auto count = static_cast<size_t>(graph.num_values());
  Layout layout;
  layout.arena_bytes = message.arena_bytes();
  layout.scratch_offset = message.scratch_offset();
  layout.scratch_bytes = message.scratch_bytes();
  if (layout.arena_bytes > kMaxArenaBytes) {
    return Malformed("its arena of " + std::to_string(layout.arena_bytes) +
                     " bytes is over the limit of 16 GiB");
  }
  if (!IsBlobWithin(layout.scratch_offset, layout.scratch_bytes, layout.arena_bytes)) {
    return Malformed("its scratch is not within the arena");
  }
  layout.offset.assign(count, Layout::kNotInArena);
  layout.capacity.assign(count, 0);
  for (const proto::Placement& placement : message.placements()) {
    if (placement.value() < 0 || placement.value() >= graph.num_values()) {
      return Malformed("value " + std::to_string(placement.value()) + " does not exist");
    }
    const auto id = static_cast<size_t>(placement.value());
    const auto malformed = [&](const char* what) {
      return Malformed("value '" + graph.value(placement.value()).name + "' (offset " +
                       std::to_string(placement.offset()) + ", " +
                       std::to_string(placement.capacity()) + " bytes) " + what);
    };
    if (layout.offset[id] != Layout::kNotInArena) return malformed("is placed twice");
    if (!IsBlobWithin(placement.offset(), placement.capacity(), layout.arena_bytes)) {
      return malformed("is not within the arena, or not aligned");
    }
    if (placement.capacity() > 0 && layout.scratch_bytes > 0 &&
        placement.offset() < layout.scratch_offset + layout.scratch_bytes &&
        layout.scratch_offset < placement.offset() + placement.capacity()) {
      return malformed("overlaps the scratch");
    }
    layout.offset[id] = placement.offset();
    layout.capacity[id] = placement.capacity();
  }
  VERDICT_RETURN_IF_ERROR(CheckLifetimes(graph, plan, layout));
  for (size_t id = 0; id < count; ++id) {
    layout.capacity[id] = layout.capacity[static_cast<size_t>(plan.storage[id])];
  }
  return layout;
}

}  // namespace

Result<Plan> ReadPlan(const proto::Plan& message, const Graph& graph, size_t num_profiles,
                      uint64_t packed_bytes) {
  Plan plan;
  plan.target = message.target();
  if (static_cast<size_t>(message.steps_size()) != graph.nodes.size() ||
      static_cast<size_t>(message.layouts_size()) != num_profiles) {
    return Malformed("it has " + std::to_string(message.steps_size()) + " steps and " +
                     std::to_string(message.layouts_size()) + " layouts for " +
                     std::to_string(graph.nodes.size()) + " nodes and " +
                     std::to_string(num_profiles) + " profiles");
  }
  for (const proto::Step& step : message.steps()) {
    const auto index = static_cast<int32_t>(plan.steps.size());
    if (step.tactic().empty() ||
        !IsBlobWithin(step.packed_offset(), step.packed_bytes(), packed_bytes)) {
      return Malformed(
          "step " + std::to_string(index) + " has no tactic, or its weights (offset " +
          std::to_string(step.packed_offset()) + ", " + std::to_string(step.packed_bytes()) +
          " bytes) are not within section 'packed' (" + std::to_string(packed_bytes) + " bytes)");
    }
    plan.steps.push_back({index, step.tactic(), step.packed_offset(), step.packed_bytes()});
  }
  PlanStorage(graph, plan);
  for (const proto::Layout& layout_message : message.layouts()) {
    auto layout = ReadLayout(layout_message, graph, plan);
    if (!layout.ok()) {
      return layout.status().WithContext("layout " + std::to_string(plan.layouts.size()));
    }
    plan.layouts.push_back(*std::move(layout));
  }
  return plan;
}

}  // namespace verdict
