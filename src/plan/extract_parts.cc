#include <algorithm>
#include <map>
#include <set>

#include "ops/infer.h"
#include "plan/partition.h"
#include "plan/profile.h"
#include "plan/shape_values.h"

namespace verdict {
namespace {

Status Nonsense(const std::string& what) { return DataLoss("parts of the graph: " + what); }

/// Per node, the part that lists it. Errors: as CheckParts, but for the order of the parts.
Result<std::vector<int32_t>> PartOfNodes(const Graph& graph, std::span<const Part> parts) {
  std::vector<int32_t> part_of(graph.nodes.size(), -1);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = "part " + std::to_string(i);
    if (parts[i].nodes.empty()) return Nonsense(name + " is empty");
    int32_t before = -1;
    for (const int32_t index : parts[i].nodes) {
      if (index <= before || static_cast<size_t>(index) >= graph.nodes.size()) {
        return Nonsense(name + " lists node " + std::to_string(index) + " after " +
                        std::to_string(before) + ", of " + std::to_string(graph.nodes.size()));
      }
      if (part_of[static_cast<size_t>(index)] >= 0) {
        return Nonsense("node " + std::to_string(index) + " is listed twice");
      }
      part_of[static_cast<size_t>(index)] = static_cast<int32_t>(i);
      before = index;
    }
  }
  const auto missing = std::ranges::find(part_of, -1);
  if (missing != part_of.end()) {
    return Nonsense("node " + std::to_string(missing - part_of.begin()) + " is not listed");
  }
  return part_of;
}

class Extractor {
 public:
  Extractor(const Graph& graph, std::span<const Part> parts, std::span<const int32_t> part_of)
      : graph_(graph),
        parts_(parts),
        part_of_(part_of),
        producers_(graph.Producers()),
        is_shape_(FindShapeValues(graph)),
        crosses_(static_cast<size_t>(graph.num_values()), false) {}

  Result<std::vector<PartGraph>> Extract() {
    std::vector<bool> is_read(crosses_.size(), false);
    for (const Node& node : graph_.nodes) Mark(node.inputs, is_read);
    for (const ValueId id : graph_.outputs) {
      is_read[static_cast<size_t>(id)] = true;
      crosses_[static_cast<size_t>(id)] = true;
    }
    const std::vector<bool> is_output = crosses_;
    size_t budget = 2 * graph_.nodes.size();
    std::vector<std::vector<int32_t>> nodes;
    for (size_t i = 0; i < parts_.size(); ++i) {
      std::vector<int32_t> roots;
      for (const int32_t index : parts_[i].nodes) {
        const auto is_root = [&](ValueId id) {
          if (id == kNoValue) return false;
          const auto at = static_cast<size_t>(id);
          return !is_shape_[at] || is_output[at] || !is_read[at];
        };
        if (std::ranges::any_of(graph_.nodes[static_cast<size_t>(index)].outputs, is_root)) {
          roots.push_back(index);
        }
      }
      if (roots.empty()) {
        return Nonsense("part " + std::to_string(i) + " computes nothing that is read");
      }
      nodes.push_back(WithShapes(std::move(roots)));
      if (nodes.back().size() > budget) return Nonsense("too many shapes are computed again");
      budget -= nodes.back().size();
      MarkCrossing(nodes.back());
    }
    std::vector<PartGraph> graphs;
    for (size_t i = 0; i < parts_.size(); ++i) graphs.push_back(Copy(i, nodes[i]));
    return graphs;
  }

 private:
  static void Mark(std::span<const ValueId> ids, std::vector<bool>& marks) {
    for (const ValueId id : ids) {
      if (id != kNoValue) marks[static_cast<size_t>(id)] = true;
    }
  }

  /// The nodes with all that make the shapes which they read, ascending.
  std::vector<int32_t> WithShapes(std::vector<int32_t> nodes) {
    included_.assign(graph_.nodes.size(), false);
    for (const int32_t index : nodes) included_[static_cast<size_t>(index)] = true;
    for (size_t i = 0; i < nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[static_cast<size_t>(nodes[i])].inputs) {
        if (id == kNoValue || !is_shape_[static_cast<size_t>(id)]) continue;
        const int32_t maker = producers_[static_cast<size_t>(id)];
        if (included_[static_cast<size_t>(maker)]) continue;
        included_[static_cast<size_t>(maker)] = true;
        nodes.push_back(maker);
      }
    }
    std::ranges::sort(nodes);
    return nodes;
  }

  /// Marks what a part (the one last given to WithShapes) reads and does not make.
  void MarkCrossing(std::span<const int32_t> nodes) {
    for (const int32_t index : nodes) {
      for (const ValueId id : graph_.nodes[static_cast<size_t>(index)].inputs) {
        if (id == kNoValue) continue;
        const int32_t maker = producers_[static_cast<size_t>(id)];
        if (maker >= 0 && !included_[static_cast<size_t>(maker)]) {
          crosses_[static_cast<size_t>(id)] = true;
        }
      }
    }
  }

  PartGraph Copy(size_t part, std::span<const int32_t> nodes) const {
    PartGraph copy;
    copy.graph.name = graph_.name + "/part" + std::to_string(part);
    std::map<ValueId, ValueId> ids;  // of the whole graph -> of the part's
    for (const int32_t index : nodes) {
      for (const ValueId id : graph_.nodes[static_cast<size_t>(index)].outputs) {
        if (id != kNoValue) ids.emplace(id, kNoValue);
      }
    }
    std::set<ValueId> inputs;
    for (const int32_t index : nodes) {
      for (const ValueId id : graph_.nodes[static_cast<size_t>(index)].inputs) {
        if (id == kNoValue || graph_.constant(id) != nullptr || ids.contains(id)) continue;
        inputs.insert(id);
      }
    }
    copy.inputs.assign(inputs.begin(), inputs.end());
    for (const ValueId id : copy.inputs) {
      const Value& value = graph_.value(id);
      ids[id] = copy.graph.AddInput(value.name, value.dtype, CopyShape(value.shape, copy.graph));
    }
    const auto id_of = [&](ValueId id) {
      if (id == kNoValue) return id;
      const auto [at, added] = ids.emplace(id, kNoValue);
      if (at->second != kNoValue) return at->second;
      const Value& value = graph_.value(id);
      at->second =
          value.constant != nullptr
              ? copy.graph.AddConstant(value.name, *value.constant)
              : copy.graph.AddValue(value.name, value.dtype, CopyShape(value.shape, copy.graph));
      return at->second;
    };
    for (const int32_t index : nodes) {
      Node node = graph_.nodes[static_cast<size_t>(index)];
      for (ValueId& id : node.inputs) id = id_of(id);
      const bool is_listed = part_of_[static_cast<size_t>(index)] == static_cast<int32_t>(part);
      for (ValueId& id : node.outputs) {
        if (id == kNoValue) continue;
        if (is_listed && crosses_[static_cast<size_t>(id)]) copy.outputs.push_back(id);
        id = id_of(id);
      }
      copy.graph.nodes.push_back(std::move(node));
    }
    std::ranges::sort(copy.outputs);
    for (const ValueId id : copy.outputs) copy.graph.outputs.push_back(ids.at(id));
    return copy;
  }

  Shape CopyShape(Shape shape, Graph& to) const {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (IsSymbol(shape[axis])) shape[axis] = to.Symbol(graph_.SymbolName(shape[axis]));
    }
    return shape;
  }

  const Graph& graph_;
  const std::span<const Part> parts_;
  const std::span<const int32_t> part_of_;  // per node
  const std::vector<int32_t> producers_;
  const std::vector<bool> is_shape_;  // per value
  std::vector<bool> crosses_;         // per value: an output of the part that lists its node
  std::vector<bool> included_;        // per node, of the part at hand
};

}  // namespace

Status CheckParts(const Graph& graph, std::span<const Part> parts) {
  VERDICT_ASSIGN_OR_RETURN(const auto part_of, PartOfNodes(graph, parts));
  const std::vector<bool> is_shape = FindShapeValues(graph);
  // Per value, the first part that can read it: shapes are computed again where they are read.
  std::vector<int32_t> first_part(is_shape.size(), -1);
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    int32_t needed = -1;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) needed = std::max(needed, first_part[static_cast<size_t>(id)]);
    }
    if (needed > part_of[index]) {
      return Nonsense(Graph::Describe(node) + " is in part " + std::to_string(part_of[index]) +
                      " and reads what part " + std::to_string(needed) + " makes");
    }
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const auto at = static_cast<size_t>(id);
      first_part[at] = is_shape[at] ? needed : part_of[index];
    }
  }
  return OkStatus();
}

Result<std::vector<PartGraph>> ExtractParts(const Graph& graph, std::span<const Part> parts) {
  VERDICT_RETURN_IF_ERROR(CheckParts(graph, parts));
  VERDICT_ASSIGN_OR_RETURN(const auto part_of, PartOfNodes(graph, parts));
  return Extractor(graph, parts, part_of).Extract();
}

Result<std::vector<Profile>> PartProfiles(const Graph& graph, const PartGraph& part,
                                          std::span<const Profile> profiles) {
  std::vector<Profile> part_profiles;
  for (const Profile& profile : profiles) {
    const std::vector<std::vector<Shape>> sets = MeasuredShapes(graph, profile);
    constexpr size_t kCorners = 3;  // min, opt and max, which the model must take
    constexpr size_t kOpt = 1;
    Profile part_profile;
    for (size_t set = 0; set < sets.size(); ++set) {
      const auto values = ResolveShapes(graph, sets[set]);
      if (!values.ok() && set < kCorners) return values.status();
      if (!values.ok()) continue;
      for (size_t i = 0; i < part.inputs.size(); ++i) {
        const ValueId id = part.inputs[i];
        const Shape& shape = (*values)[static_cast<size_t>(id)].shape;
        if (set == 0) {
          part_profile.inputs.push_back({graph.value(id).name, shape, shape, shape});
          continue;
        }
        InputRange& range = part_profile.inputs[i];
        if (set == kOpt) range.opt = shape;
        for (int axis = 0; axis < shape.rank(); ++axis) {
          range.min[axis] = std::min(range.min[axis], shape[axis]);
          range.max[axis] = std::max(range.max[axis], shape[axis]);
        }
      }
    }
    part_profiles.push_back(std::move(part_profile));
  }
  return part_profiles;
}

}  // namespace verdict
