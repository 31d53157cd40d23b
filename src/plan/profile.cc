#include "plan/profile.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "ops/infer.h"

namespace verdict {
namespace {

constexpr int64_t kMaxFlagExtent = int64_t{1} << 31;
constexpr int64_t kDefaultMin = 1;
constexpr int64_t kDefaultOpt = 8;
constexpr int64_t kDefaultMax = 128;

Result<Shape> ParseExtents(std::string_view text, std::string_view whole) {
  Shape shape;
  if (text.empty()) return shape;
  while (true) {
    const size_t end = std::min(text.find('x'), text.size());
    int64_t extent = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + end, extent);
    if (error != std::errc() || stop != text.data() + end || extent < 0 ||
        extent > kMaxFlagExtent) {
      return InvalidArgument("shape '" + std::string(whole) + "': '" +
                             std::string(text.substr(0, end)) +
                             "' is not an extent; write a shape as name:1x30");
    }
    if (shape.rank() == Shape::kMaxRank) {
      return InvalidArgument("shape '" + std::string(whole) + "' has more than 8 extents");
    }
    shape.push_back(extent);
    if (end == text.size()) return shape;
    text.remove_prefix(end + 1);
  }
}

const Shape* FindShape(const NamedShapes& shapes, std::string_view name) {
  for (const auto& [candidate, shape] : shapes) {
    if (candidate == name) return &shape;
  }
  return nullptr;
}

/// The names of the flags, for messages: all three the same are what --shapes stands for.
struct FlagNames {
  const char* min = "--minShapes";
  const char* opt = "--optShapes";
  const char* max = "--maxShapes";

  FlagNames(const NamedShapes& low, const NamedShapes& mid, const NamedShapes& high) {
    if (low == mid && mid == high) min = opt = max = "--shapes";
  }
  /// The flag that a shape came from.
  const char* Of(const Shape* given, const Shape* low, const Shape* mid) const {
    return given == low ? min : given == mid ? opt : max;
  }
};

/// One of min, opt and max for one input: from its flag, or by filling in the symbols.
Result<Shape> OneShape(const Graph& graph, const Value& input, const Shape* given, const char* flag,
                       int64_t fallback, std::map<Dim, int64_t>& symbols) {
  Shape shape = input.shape;
  if (given == nullptr) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (IsSymbol(shape[axis]))
        shape[axis] = symbols.try_emplace(shape[axis], fallback).first->second;
    }
    return shape;
  }
  const std::string place =
      std::string(flag) + " of input '" + input.name + "': " + ToString(*given);
  if (given->rank() != shape.rank()) {
    return InvalidArgument(place + " has " + std::to_string(given->rank()) +
                           " extents, the model's input is " + graph.ShapeText(shape));
  }
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t extent = (*given)[axis];
    if (!IsSymbol(shape[axis])) {
      if (shape[axis] != extent) {
        return InvalidArgument(place + " does not fit the model's input " + graph.ShapeText(shape));
      }
      continue;
    }
    const auto [it, added] = symbols.try_emplace(shape[axis], extent);
    if (it->second != extent) {
      return InvalidArgument(place + ": extent '" + graph.SymbolName(shape[axis]) + "' is " +
                             std::to_string(extent) + " here and " + std::to_string(it->second) +
                             " elsewhere");
    }
  }
  return *given;
}

Status CheckNames(const Graph& graph, const NamedShapes& shapes, const char* flag) {
  for (size_t i = 0; i < shapes.size(); ++i) {
    const std::string& name = shapes[i].first;
    const auto matches = [&](ValueId id) { return graph.value(id).name == name; };
    if (std::ranges::none_of(graph.inputs, matches)) {
      std::string known;
      for (ValueId id : graph.inputs) known += (known.empty() ? "" : ", ") + graph.value(id).name;
      return InvalidArgument(std::string(flag) + ": the model has no input '" + name +
                             "'; its inputs are " + known);
    }
    for (size_t j = 0; j < i; ++j) {
      if (shapes[j].first == name) {
        return InvalidArgument(std::string(flag) + " names input '" + name + "' twice");
      }
    }
  }
  return OkStatus();
}

}  // namespace

Result<NamedShapes> ParseShapes(std::string_view text) {
  NamedShapes shapes;
  if (text.empty()) return shapes;
  while (true) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, end);
    // The last colon splits, since names such as "serving_default_x:0" hold colons.
    const size_t colon = part.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
      return InvalidArgument("shape '" + std::string(part) +
                             "' has no input name; write a shape as name:1x30");
    }
    VERDICT_ASSIGN_OR_RETURN(Shape shape, ParseExtents(part.substr(colon + 1), part));
    shapes.emplace_back(part.substr(0, colon), shape);
    if (end == text.size()) return shapes;
    text.remove_prefix(end + 1);
  }
}

Result<Profile> MakeProfile(const Graph& graph, const NamedShapes& min, const NamedShapes& opt,
                            const NamedShapes& max) {
  const FlagNames flags(min, opt, max);
  VERDICT_RETURN_IF_ERROR(CheckNames(graph, min, flags.min));
  VERDICT_RETURN_IF_ERROR(CheckNames(graph, opt, flags.opt));
  VERDICT_RETURN_IF_ERROR(CheckNames(graph, max, flags.max));
  std::map<Dim, int64_t> min_symbols, opt_symbols, max_symbols;
  // Inputs that a flag names come first, so that a symbol shared with an unnamed input takes the
  // flag's size.
  std::vector<ValueId> order = graph.inputs;
  std::ranges::stable_partition(order, [&](ValueId id) {
    const std::string& name = graph.value(id).name;
    return FindShape(min, name) || FindShape(opt, name) || FindShape(max, name);
  });
  std::map<ValueId, InputRange> ranges;
  for (ValueId id : order) {
    const Value& input = graph.value(id);
    const Shape* low = FindShape(min, input.name);
    const Shape* mid = FindShape(opt, input.name);
    const Shape* high = FindShape(max, input.name);
    // As in trtexec: what is given stands for what is not.
    const Shape* given_low = low ? low : mid ? mid : high;
    const Shape* given_mid = mid ? mid : high ? high : low;
    const Shape* given_high = high ? high : mid ? mid : low;
    InputRange range;
    range.name = input.name;
    VERDICT_ASSIGN_OR_RETURN(
        range.min,
        OneShape(graph, input, given_low, flags.Of(given_low, low, mid), kDefaultMin, min_symbols));
    VERDICT_ASSIGN_OR_RETURN(
        range.opt,
        OneShape(graph, input, given_mid, flags.Of(given_mid, low, mid), kDefaultOpt, opt_symbols));
    VERDICT_ASSIGN_OR_RETURN(
        range.max, OneShape(graph, input, given_high, flags.Of(given_high, low, mid), kDefaultMax,
                            max_symbols));
    for (int axis = 0; axis < range.min.rank(); ++axis) {
      if (range.min[axis] > range.opt[axis] || range.opt[axis] > range.max[axis]) {
        return InvalidArgument("input '" + input.name + "': min " + ToString(range.min) + ", opt " +
                               ToString(range.opt) + ", max " + ToString(range.max) +
                               " are not in order");
      }
    }
    ranges.emplace(id, std::move(range));
  }
  Profile profile;
  for (ValueId id : graph.inputs) profile.inputs.push_back(ranges.at(id));
  return profile;
}

namespace {

bool Inside(const InputRange& range, const Shape& shape) {
  if (shape.rank() != range.min.rank()) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] < range.min[axis] || shape[axis] > range.max[axis]) return false;
  }
  return true;
}

}  // namespace

std::vector<Shape> CornerShapes(const Profile& profile, Shape InputRange::*corner) {
  std::vector<Shape> shapes;
  for (const InputRange& range : profile.inputs) shapes.push_back(range.*corner);
  return shapes;
}

std::vector<std::vector<Shape>> MeasuredShapes(const Graph& graph, const Profile& profile) {
  std::vector<std::vector<Shape>> sets;
  for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt, &InputRange::max}) {
    sets.push_back(CornerShapes(profile, corner));
  }
  constexpr size_t kMaxMixed = 6;
  std::vector<Dim> symbols;
  for (ValueId id : graph.inputs) {
    for (Dim extent : graph.value(id).shape.dims()) {
      if (!IsSymbol(extent) || std::ranges::find(symbols, extent) != symbols.end()) continue;
      symbols.push_back(extent);
      if (symbols.size() > kMaxMixed) return sets;
    }
  }
  for (size_t bits = 1; bits + 1 < (size_t{1} << symbols.size()); ++bits) {
    std::vector<Shape> shapes = sets[0];
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Shape& declared = graph.value(graph.inputs[i]).shape;
      for (int axis = 0; axis < shapes[i].rank(); ++axis) {
        const auto symbol = std::ranges::find(symbols, declared[axis]);
        if (symbol == symbols.end() || (bits >> (symbol - symbols.begin()) & 1) == 0) continue;
        shapes[i][axis] = profile.inputs[i].max[axis];
      }
    }
    sets.push_back(std::move(shapes));
  }
  return sets;
}

Status FixExtents(const Profile& profile, Graph& graph) {
  bool is_changed = false;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const InputRange& range = profile.inputs[i];
    Shape& shape = graph.value(graph.inputs[i]).shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (!IsSymbol(shape[axis]) || range.min[axis] != range.max[axis]) continue;
      shape[axis] = range.min[axis];  // of the symbol everywhere: a profile gives it one size
      is_changed = true;
    }
  }
  return is_changed ? InferShapes(graph) : OkStatus();
}

bool Covers(const Profile& profile, std::span<const Shape> shapes) {
  return std::ranges::equal(profile.inputs, shapes, Inside);
}

Status CheckShapes(const Profile& profile, std::span<const Shape> shapes) {
  VERDICT_CHECK(shapes.size() == profile.inputs.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    const InputRange& range = profile.inputs[i];
    if (Inside(range, shapes[i])) continue;
    return InvalidArgument("input '" + range.name + "' has shape " + ToString(shapes[i]) +
                           "; the engine takes " + ToString(range.min) + " to " +
                           ToString(range.max));
  }
  return OkStatus();
}

}  // namespace verdict
