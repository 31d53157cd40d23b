#include "compile/golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "base/checked_math.h"
#include "ops/evaluate.h"
#include "ops/half.h"

namespace verdict {
namespace {

/// Golden vectors travel in the file and are run at every load: more elements in the inputs add
/// little. The first vector has the least shapes, and may have up to kMaxElements.
constexpr int64_t kEnoughElements = int64_t{1} << 14;
constexpr int64_t kMaxElements = int64_t{1} << 20;

/// Standard normal by Box-Muller: std::normal_distribution differs between standard libraries.
double Normal(std::mt19937_64& random) {
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const double radius = std::sqrt(-2.0 * std::log(uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

template <typename T, typename Draw>
void Fill(void* data, int64_t count, Draw draw) {
  for (int64_t i = 0; i < count; ++i) static_cast<T*>(data)[i] = static_cast<T>(draw());
}

/// What hardly any model refuses: index 0, the string "0".
Result<Constant> ZeroTensor(DataType dtype, const Shape& shape) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  if (dtype == DataType::kString) {
    return Constant::OfStrings(shape, std::vector<std::string>(static_cast<size_t>(count), "0"));
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  std::memset(data, 0, ByteSize(dtype, shape).value());
  return std::move(constant);
}

Result<Constant> RandomTensor(DataType dtype, const Shape& shape, std::mt19937_64& random) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  if (dtype == DataType::kString) {
    return Constant::OfStrings(shape, std::vector<std::string>(static_cast<size_t>(count)));
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  const auto bit = [&] { return random() & 1; };
  switch (dtype) {
    case DataType::kFloat32:
      Fill<float>(data, count, [&] { return Normal(random); });
      break;
    case DataType::kFloat64:
      Fill<double>(data, count, [&] { return Normal(random); });
      break;
    case DataType::kInt32:
    case DataType::kUInt32:
      Fill<uint32_t>(data, count, bit);
      break;
    case DataType::kInt64:
    case DataType::kUInt64:
      Fill<uint64_t>(data, count, bit);
      break;
    case DataType::kInt8:
    case DataType::kUInt8:
    case DataType::kBool:
      Fill<uint8_t>(data, count, bit);
      break;
    case DataType::kInt16:
    case DataType::kUInt16:
      Fill<uint16_t>(data, count, bit);
      break;
    default:
      // Half types: 0 is the same in both.
      Fill<uint16_t>(data, count, [] { return 0; });
  }
  return constant;
}

/// A model that amplifies rounding (a deep recurrent net with large weights) does so in any kernel:
/// what a nudge does to the outputs, times this, is allowed to rounding inside.
constexpr float kRoundings = 8;
/// Of half precision at least: sums of halves are taken in any order.
constexpr float kMinHalfTolerance = 1e-3F;

/// What a node rounds its first input to: then the last bits of a sum, or of a tanh, decide here
/// and there between two neighbours that are far apart.
enum class Rounding { kNone, kInt8, kHalf };

Rounding RoundingOf(const Graph& graph, const Node& node) {
  if (!node.op.starts_with("Quantized") && node.op != "HalfGemm") return Rounding::kNone;
  return IsHalf(graph.value(node.inputs[1]).dtype) ? Rounding::kHalf : Rounding::kInt8;
}

/// The floats moved up or down at random, each as `move` has it.
template <typename Move>
Constant Nudged(const TensorView& tensor, std::mt19937_64& random, Move move) {
  auto [copy, data] = Constant::Allocate(tensor.dtype, tensor.shape);
  const auto from = tensor.as<const float>();
  for (size_t i = 0; i < from.size(); ++i) {
    static_cast<float*>(data)[i] = move(from[i], (random() & 1) != 0);
  }
  return std::move(copy);
}

/// The outputs where every float input is its neighbour, and where what is rounded on the way is
/// moved before, so far that some of it falls to the other side.
Result<std::vector<Constant>> EvaluateNudged(const Graph& graph, std::span<const Constant> inputs,
                                             std::mt19937_64& random) {
  std::vector<Constant> held;
  std::vector<TensorView> views;
  for (const Constant& input : inputs) {
    views.push_back(input.view());
    if (input.dtype != DataType::kFloat32) continue;
    held.push_back(Nudged(input.view(), random, [](float value, bool up) {
      return std::nextafter(value, up ? INFINITY : -INFINITY);
    }));
    views.back() = held.back().view();
  }
  const auto nudge = [&](const Node& node, std::span<TensorView> node_inputs) {
    if (RoundingOf(graph, node) == Rounding::kNone) return;
    held.push_back(Nudged(node_inputs[0], random, [](float value, bool up) {
      return value * (up ? 1 + 0x1p-12F : 1 - 0x1p-12F);
    }));
    node_inputs[0] = held.back().view();
  };
  VERDICT_ASSIGN_OR_RETURN(std::vector<Constant> outputs, Evaluate(graph, views, nudge));
  // A graph input that is passed through points into what is held here.
  for (Constant& output : outputs) {
    const auto source = std::ranges::find(held, output.data, &Constant::data);
    if (source != held.end()) output.owner = source->owner;
  }
  return outputs;
}

Result<std::vector<Constant>> EvaluateOn(const Graph& graph, std::span<const Constant> inputs) {
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  return Evaluate(graph, views);
}

template <typename T>
float LargestDifferenceOf(const TensorView& a, const TensorView& b) {
  const auto left = a.as<const T>();
  const auto right = b.as<const T>();
  T largest = 0;
  for (size_t k = 0; k < left.size(); ++k) {
    const T difference = std::fabs(left[k] - right[k]) / (1 + std::fabs(left[k]));
    if (std::isfinite(difference)) largest = std::max(largest, difference);
  }
  return static_cast<float>(largest);
}

/// Largest difference of float32 and float64 outputs, relative plus absolute.
float LargestDifference(std::span<const Constant> a, std::span<const Constant> b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    // Where the nudge changed a shape that depends on the data, there is nothing to compare.
    if (!(a[i].shape == b[i].shape)) continue;
    if (a[i].dtype == DataType::kFloat32) {
      largest = std::max(largest, LargestDifferenceOf<float>(a[i].view(), b[i].view()));
    } else if (a[i].dtype == DataType::kFloat64) {
      largest = std::max(largest, LargestDifferenceOf<double>(a[i].view(), b[i].view()));
    }
  }
  return largest;
}

/// The golden vector of these inputs. Errors: a reference kernel's.
Result<GoldenVector> MakeGoldenVector(const Graph& graph, std::vector<Constant> inputs,
                                      std::mt19937_64& random) {
  GoldenVector golden{.inputs = std::move(inputs)};
  VERDICT_ASSIGN_OR_RETURN(golden.outputs, EvaluateOn(graph, golden.inputs));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> nudged,
                           EvaluateNudged(graph, golden.inputs, random));
  const bool has_halves = std::ranges::any_of(
      graph.nodes, [&](const Node& node) { return RoundingOf(graph, node) == Rounding::kHalf; });
  golden.tolerance =
      std::clamp(kRoundings * LargestDifference(golden.outputs, nudged),
                 has_halves ? kMinHalfTolerance : kMinGoldenTolerance, kMaxGoldenTolerance);
  return golden;
}

/// Elements of all inputs together.
Result<int64_t> Elements(std::span<const Shape> shapes) {
  int64_t total = 0;
  for (const Shape& shape : shapes) {
    VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
    if (!CheckedAdd(total, count, &total)) return InvalidArgument("the inputs are too large");
  }
  return total;
}

/// The shapes on the way from min to opt, which is halved so many times.
std::vector<Shape> Between(const Profile& profile, int halvings) {
  std::vector<Shape> shapes;
  for (const InputRange& range : profile.inputs) {
    Shape shape = range.min;
    for (int i = 0; i < shape.rank(); ++i) shape[i] += (range.opt[i] - range.min[i]) >> halvings;
    shapes.push_back(shape);
  }
  return shapes;
}

}  // namespace

Result<std::vector<Constant>> MadeUpInputs(const Graph& graph, std::span<const Shape> shapes,
                                           bool zeros, std::mt19937_64& random) {
  std::vector<Constant> inputs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const DataType dtype = graph.value(graph.inputs[i]).dtype;
    VERDICT_ASSIGN_OR_RETURN(Constant input, zeros ? ZeroTensor(dtype, shapes[i])
                                                   : RandomTensor(dtype, shapes[i], random));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

Result<std::vector<GoldenVector>> MakeGoldenVectors(const Graph& graph, const Profile& profile,
                                                    uint64_t seed) {
  constexpr int kAll = 62;  // halvings: what is left of any way is nothing
  std::mt19937_64 random(seed);
  std::vector<GoldenVector> vectors;
  VERDICT_ASSIGN_OR_RETURN(const int64_t least, Elements(Between(profile, kAll)));
  VERDICT_RETURN_IF_ERROR(Elements(Between(profile, 0)).status());
  if (least > kMaxElements) return vectors;
  int halvings = 0;
  while (Elements(Between(profile, halvings)).value() > std::max(least, kEnoughElements)) {
    ++halvings;
  }
  std::vector<std::vector<Shape>> corners = {Between(profile, kAll)};
  if (least <= kEnoughElements) corners.push_back(Between(profile, halvings));
  for (const std::vector<Shape>& shapes : corners) {
    for (const bool zeros : {false, true}) {
      VERDICT_ASSIGN_OR_RETURN(std::vector<Constant> inputs,
                               MadeUpInputs(graph, shapes, zeros, random));
      auto golden = MakeGoldenVector(graph, std::move(inputs), random);
      if (!golden.ok()) continue;
      vectors.push_back(*std::move(golden));
      break;
    }
  }
  return vectors;
}

}  // namespace verdict
