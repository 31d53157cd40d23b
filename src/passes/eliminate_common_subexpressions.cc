#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>

#include "base/crc32c.h"
#include "passes/pass.h"

namespace verdict {
namespace {

std::span<const std::byte> Bytes(const Constant& constant) {
  return {static_cast<const std::byte*>(constant.data),
          ByteSize(constant.dtype, constant.shape).value()};
}

/// Equal constants become one value, so that nodes that differ in nothing else are seen to be
/// equal: writes the one that stays over the others in `replacement`.
void MergeConstants(const Graph& graph, std::vector<ValueId>& replacement) {
  std::multimap<uint32_t, ValueId> seen;
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr || constant->dtype == DataType::kString) continue;
    const auto bytes = Bytes(*constant);
    const uint32_t hash = Crc32c(bytes);
    const auto [begin, end] = seen.equal_range(hash);
    const auto same = std::find_if(begin, end, [&](const auto& entry) {
      const Constant& other = *graph.constant(entry.second);
      return other.dtype == constant->dtype && other.shape == constant->shape &&
             std::ranges::equal(Bytes(other), bytes);
    });
    if (same == end) {
      seen.emplace(hash, id);
    } else if (std::ranges::count(graph.outputs, id) == 0) {
      replacement[static_cast<size_t>(id)] = same->second;
    }
  }
}

/// Floats by their bits: 0.0 and -0.0 differ, a NaN equals itself.
Attributes WithFloatBits(const Attributes& attributes) {
  Attributes copy;
  const auto bits = [](float value) {
    int32_t integer = 0;
    std::memcpy(&integer, &value, sizeof(integer));
    return int64_t{integer};
  };
  for (const auto& [name, attribute] : attributes) {
    if (const auto* value = std::get_if<float>(&attribute)) {
      copy.emplace(name + ":bits", bits(*value));
    } else if (const auto* values = std::get_if<std::vector<float>>(&attribute)) {
      std::vector<int64_t> list;
      for (float item : *values) list.push_back(bits(item));
      copy.emplace(name + ":bits", std::move(list));
    } else {
      copy.emplace(name, attribute);
    }
  }
  return copy;
}

bool IsGraphOutput(const Graph& graph, const Node& node) {
  return std::ranges::any_of(node.outputs,
                             [&](ValueId id) { return std::ranges::count(graph.outputs, id) > 0; });
}

Result<bool> Run(Graph& graph) {
  // Merging what was merged before changes no use.
  const std::vector<int32_t> before = graph.UseCounts();
  std::vector<ValueId> replacement(static_cast<size_t>(graph.num_values()));
  std::iota(replacement.begin(), replacement.end(), ValueId{0});
  MergeConstants(graph, replacement);
  std::map<std::tuple<std::string, std::vector<ValueId>, Attributes, size_t>, size_t> seen;
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    Node& node = graph.nodes[index];
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = replacement[static_cast<size_t>(id)];
    }
    const auto [it, added] = seen.try_emplace(
        std::tuple(node.op, node.inputs, WithFloatBits(node.attributes), node.outputs.size()),
        index);
    if (added || IsGraphOutput(graph, node)) continue;
    const Node& first = graph.nodes[it->second];
    bool all_there = true;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      all_there = all_there && (node.outputs[i] == kNoValue || first.outputs[i] != kNoValue);
    }
    if (!all_there) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) {
        replacement[static_cast<size_t>(node.outputs[i])] = first.outputs[i];
      }
    }
  }
  return graph.UseCounts() != before;
}

}  // namespace

const Pass kEliminateCommonSubexpressions = {
    .name = "eliminate_common_subexpressions",
    .summary = "compute equal nodes once; keep equal constants once",
    .run = Run};

}  // namespace verdict
