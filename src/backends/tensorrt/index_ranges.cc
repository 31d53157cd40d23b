#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"
#include "ops/recurrent.h"

namespace verdict::tensorrt {
namespace {

/// Where integers come from that a value holds.
struct Source {
  ValueId value = kNoValue;  // a graph input or a constant
  int axis = -1;             // of which [begin, end) arrives; -1: all
  int64_t begin = 0, end = 0;
  int64_t offset = 0;    // what has been added to it
  bool is_whole = true;  // the value has the source's shape

  auto key() const { return std::tuple(value, axis, begin, end, offset, is_whole); }
};

/// A part of one axis that a node takes out of its input.
struct Selection {
  int axis = 0;
  int64_t begin = 0, end = 0;
};

/// Sums of two such numbers are far from overflowing 32 bits.
constexpr int64_t kMostOffset = 1 << 29;
constexpr size_t kMostColumns = 4096;

bool IsInt(DataType dtype) { return dtype == DataType::kInt32 || dtype == DataType::kInt64; }

/// The inputs whose elements the node passes on, as they are; none: it computes.
std::vector<size_t> PassedInputs(const Graph& graph, const Node& node) {
  static constexpr std::string_view kFirst[] = {"ArrayFeatureExtractor",
                                                "Expand",
                                                "Flatten",
                                                "Gather",
                                                "GatherElements",
                                                "GatherND",
                                                "Identity",
                                                "Reshape",
                                                "Slice",
                                                "Split",
                                                "Squeeze",
                                                "Tile",
                                                "Transpose",
                                                "Unsqueeze"};
  if (std::ranges::find(kFirst, node.op) != std::end(kFirst)) return {0};
  if (node.op == "Cast") {
    const bool keeps =
        IsInt(InputType(graph, node, 0)) && IsInt(graph.value(node.outputs[0]).dtype);
    return keeps ? std::vector<size_t>{0} : std::vector<size_t>{};
  }
  if (node.op == "Where") return {1, 2};
  std::vector<size_t> all;
  for (size_t i = 0; node.op == "Concat" && i < node.inputs.size(); ++i) all.push_back(i);
  return all;
}

/// What of one axis of input 0 arrives in output `output`, where that is one range.
std::optional<Selection> SelectionOf(const Graph& graph, const Node& node, size_t output) {
  const Shape& shape = InputShape(graph, node, 0);
  if (node.op == "Gather") {
    const auto index = IntConstant(graph, node, 1);
    const int axis = AxisOf(node, 0, shape.rank());
    if (!index.ok() || index->size() != 1 || IsSymbol(shape[axis])) return std::nullopt;
    const int64_t begin = (*index)[0] < 0 ? (*index)[0] + shape[axis] : (*index)[0];
    return Selection{axis, begin, begin + 1};
  }
  if (node.op == "Split") {
    const int axis = AxisOf(node, 0, shape.rank());
    Selection selection{axis, 0, 0};
    for (size_t i = 0; i <= output; ++i) {
      if (node.outputs[i] == kNoValue) return std::nullopt;
      const Dim part = graph.value(node.outputs[i]).shape[axis];
      if (IsSymbol(part)) return std::nullopt;
      selection.begin = selection.end;
      selection.end += part;
    }
    return selection;
  }
  if (node.op == "Slice") {
    const auto start = IntConstant(graph, node, 1);
    const auto axes = IntConstant(graph, node, 3);
    const auto steps = IntConstant(graph, node, 4);
    if (!start.ok() || start->size() != 1 || (HasInput(node, 3) && !axes.ok())) return std::nullopt;
    if (HasInput(node, 4) && (!steps.ok() || (*steps)[0] != 1)) return std::nullopt;
    const int64_t named = HasInput(node, 3) ? (*axes)[0] : 0;
    const auto axis = static_cast<int>(named < 0 ? named + shape.rank() : named);
    const Dim extent = shape[axis];
    const Dim count = graph.value(node.outputs[0]).shape[axis];
    if (IsSymbol(extent) || IsSymbol(count)) return std::nullopt;
    const int64_t begin =
        std::clamp<int64_t>((*start)[0] < 0 ? (*start)[0] + extent : (*start)[0], 0, extent);
    return Selection{axis, begin, begin + count};
  }
  return std::nullopt;
}

/// The sources of every value; nothing for what is computed.
class SourceWalk {
 public:
  explicit SourceWalk(const Graph& graph)
      : graph_(graph), sources_(static_cast<size_t>(graph.num_values())) {
    for (const ValueId id : graph.inputs) {
      if (IsInt(graph.value(id).dtype)) At(id) = std::vector<Source>{{.value = id}};
    }
    for (const Node& node : graph.nodes) Visit(node);
  }

  /// Constants are their own sources.
  std::optional<std::vector<Source>> Of(ValueId id) const {
    if (graph_.constant(id) != nullptr) {
      return IsInt(graph_.value(id).dtype) ? std::optional(std::vector<Source>{{.value = id}})
                                           : std::nullopt;
    }
    return sources_[static_cast<size_t>(id)];
  }

 private:
  std::optional<std::vector<Source>>& At(ValueId id) { return sources_[static_cast<size_t>(id)]; }

  /// A constant offset: the same for all, or one a column (tables that are joined into one).
  void VisitAdd(const Node& node) {
    const size_t data = graph_.constant(node.inputs[0]) == nullptr ? 0 : 1;
    if (!IsInt(InputType(graph_, node, data))) return;
    const auto offsets = IntConstant(graph_, node, 1 - data);
    auto sources = Of(node.inputs[data]);
    const Shape& shape = InputShape(graph_, node, data);
    if (!offsets.ok() || !sources.has_value()) return;
    if (!(graph_.value(node.outputs[0]).shape == shape)) return;
    const auto is_far = [](int64_t offset) { return std::abs(offset) > kMostOffset; };
    if (offsets->size() > kMostColumns || std::ranges::any_of(*offsets, is_far)) return;
    if (offsets->size() == 1) {
      for (Source& source : *sources) {
        source.offset += (*offsets)[0];
        if (is_far(source.offset)) return;
      }
      At(node.outputs[0]) = std::move(sources);
      return;
    }
    const Shape& columns = InputShape(graph_, node, 1 - data);
    const int last = shape.rank() - 1;
    const auto count = static_cast<int64_t>(offsets->size());
    if (sources->size() != 1 || !sources->front().is_whole || sources->front().offset != 0 ||
        shape[last] != count || columns[columns.rank() - 1] != count) {
      return;
    }
    std::vector<Source> split;
    for (int64_t i = 0; i < count; ++i) {
      split.push_back({.value = sources->front().value,
                       .axis = last,
                       .begin = i,
                       .end = i + 1,
                       .offset = (*offsets)[static_cast<size_t>(i)],
                       .is_whole = false});
    }
    At(node.outputs[0]) = std::move(split);
  }

  void Visit(const Node& node) {
    if (node.op == "Add") return VisitAdd(node);
    const std::vector<size_t> passed = PassedInputs(graph_, node);
    if (passed.empty() || node.inputs[passed[0]] == kNoValue) return;
    if (!IsInt(InputType(graph_, node, passed[0]))) return;
    std::map<decltype(Source().key()), Source> merged;
    for (const size_t input : passed) {
      const auto sources = Of(node.inputs[input]);
      if (!sources.has_value()) return;
      for (const Source& source : *sources) merged.emplace(source.key(), source);
    }
    std::vector<Source> all;
    for (const auto& [key, source] : merged) all.push_back(source);
    const bool keeps_shape = node.op == "Identity" || node.op == "Cast";
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      std::vector<Source> sources = all;
      if (sources.size() == 1 && sources[0].is_whole && !keeps_shape) {
        if (const auto selection = SelectionOf(graph_, node, i)) {
          sources[0].axis = selection->axis;
          sources[0].begin = selection->begin;
          sources[0].end = selection->end;
        }
      }
      for (Source& source : sources) source.is_whole = source.is_whole && keeps_shape;
      At(node.outputs[i]) = std::move(sources);
    }
  }

  const Graph& graph_;
  std::vector<std::optional<std::vector<Source>>> sources_;
};

bool IsGather(const Node& node) {
  return node.op == "Gather" || node.op == "GatherElements" || node.op == "GatherND";
}

/// The extents that indices of a gathering node count along; by turns for each coordinate.
std::vector<Dim> IndexedExtents(const Graph& graph, const Node& node) {
  const Shape& data = InputShape(graph, node, 0);
  if (node.op != "GatherND") return {data[AxisOf(node, 0, data.rank())]};
  const Shape& indices = InputShape(graph, node, 1);
  const auto batch = static_cast<int>(AttributeReader(node).Int("batch_dims", 0));
  std::vector<Dim> extents;
  for (Dim i = 0; i < indices[indices.rank() - 1]; ++i) {
    extents.push_back(data[batch + static_cast<int>(i)]);
  }
  return extents;
}

/// OK if every index is within its extent. from_end: those below zero count from there. Of an axis
/// of no fixed extent the first and the last element are sure to exist.
Status RequireWithin(std::span<const int64_t> indices, std::span<const Dim> extents,
                     bool from_end) {
  for (size_t i = 0; i < indices.size(); ++i) {
    const Dim extent = IsSymbol(extents[i % extents.size()]) ? 1 : extents[i % extents.size()];
    if (indices[i] >= (from_end ? -extent : 0) && indices[i] < extent) continue;
    return Decline("index " + std::to_string(indices[i]) + " may be out of range");
  }
  return OkStatus();
}

/// The elements of a constant, as IntConstant of a node that has it.
std::vector<int64_t> Elements(const Graph& graph, ValueId id) {
  Node node;
  node.inputs = {id};
  return *IntConstant(graph, node, 0);
}

/// An input whose elements must lie in 0 to `greatest`.
struct Counting {
  size_t input = 0;
  int64_t greatest = 0;
};

/// Indices, and the lengths of a recurrent layer's samples.
std::optional<Counting> CountingInput(const Graph& graph, const Node& node) {
  if (IsGather(node) && graph.constant(node.inputs[1]) == nullptr) {
    return Counting{1, std::ranges::min(IndexedExtents(graph, node)) - 1};
  }
  if ((node.op != "LSTM" && node.op != "GRU" && node.op != "RNN") ||
      !HasInput(node, kRecurrentSequenceLens) ||
      graph.constant(node.inputs[kRecurrentSequenceLens]) != nullptr) {
    return std::nullopt;
  }
  const bool batch_first = AttributeReader(node).Int("layout", 0) != 0;
  const Dim steps = InputShape(graph, node, kRecurrentX)[batch_first ? 1 : 0];
  if (IsSymbol(steps)) return std::nullopt;  // the layer takes a longer one for all steps
  return Counting{kRecurrentSequenceLens, steps};
}

}  // namespace

Status RequireCheckedIndices(const Graph& graph, const Node& node) {
  const std::vector<Dim> extents = IndexedExtents(graph, node);
  if (graph.constant(node.inputs[1]) != nullptr) {
    const bool is_mixed = extents.size() > 1 && std::ranges::any_of(extents, IsSymbol);
    if (is_mixed) return Decline("coordinates along axes of no fixed extent");
    return RequireWithin(Elements(graph, node.inputs[1]), extents, true);
  }
  if (std::ranges::any_of(extents, [](Dim extent) { return IsSymbol(extent); })) {
    return Decline("indices along an axis of no fixed extent");
  }
  const auto sources = SourceWalk(graph).Of(node.inputs[1]);
  if (!sources.has_value()) return Decline("indices that are computed from data");
  const Dim least = *std::ranges::min_element(extents);
  for (const Source& source : *sources) {
    if (graph.constant(source.value) == nullptr) continue;
    std::vector<int64_t> elements = Elements(graph, source.value);
    for (int64_t& element : elements) {
      if (std::abs(element) > kMostOffset) return Decline("a large index");
      element += source.offset;
    }
    VERDICT_RETURN_IF_ERROR(RequireWithin(elements, std::span(&least, 1), false));
  }
  return OkStatus();
}

bool OnlyIndexes(const Graph& graph, const Node& node) {
  const ValueId sum = node.outputs[0];
  if (std::ranges::count(graph.outputs, sum) > 0) return false;
  for (const Node& reader : graph.nodes) {
    const auto reads = std::ranges::count(reader.inputs, sum);
    if (reads == 0) continue;
    if (reads > 1 || !IsGather(reader) || reader.inputs[1] != sum) return false;
    if (!RequireCheckedIndices(graph, reader).ok()) return false;
  }
  return SourceWalk(graph).Of(sum).has_value();
}

std::vector<IndexRange> IndexRanges(const Graph& graph) {
  std::vector<IndexRange> ranges;
  const auto counts = [&](const Node& node) { return CountingInput(graph, node).has_value(); };
  if (std::ranges::none_of(graph.nodes, counts)) return ranges;
  const SourceWalk walk(graph);
  for (const Node& node : graph.nodes) {
    const auto counting = CountingInput(graph, node);
    if (!counting.has_value()) continue;
    const auto sources = walk.Of(node.inputs[counting->input]);
    if (!sources.has_value()) continue;  // not supported
    for (const Source& source : *sources) {
      const auto input = std::ranges::find(graph.inputs, source.value);
      if (input == graph.inputs.end()) continue;
      const auto position = static_cast<size_t>(input - graph.inputs.begin());
      const auto same = std::ranges::find_if(ranges, [&](const IndexRange& range) {
        return range.input == position && range.axis == source.axis &&
               range.begin == source.begin && range.end == source.end;
      });
      const int64_t first = -source.offset;
      const int64_t last = counting->greatest - source.offset;
      if (same != ranges.end()) {
        same->least = std::max(same->least, first);
        same->greatest = std::min(same->greatest, last);
      } else {
        ranges.push_back({position, first, last, source.axis, source.begin, source.end});
      }
    }
  }
  return ranges;
}

}  // namespace verdict::tensorrt
