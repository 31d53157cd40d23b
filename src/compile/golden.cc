#include "compile/golden.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "ops/evaluate.h"

namespace verdict {
namespace {

/// Golden vectors travel in the file and are run at every load: a batch of more rows than this adds
/// nothing.
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
/// what one unit in the last place of the inputs does to the outputs, times this, is allowed to
/// rounding inside.
constexpr float kRoundings = 8;

/// The inputs with every float moved to its neighbour, up or down at random.
std::vector<Constant> Nudged(std::span<const Constant> inputs, std::mt19937_64& random) {
  std::vector<Constant> nudged(inputs.begin(), inputs.end());
  for (Constant& input : nudged) {
    if (input.dtype != DataType::kFloat32) continue;
    auto [copy, data] = Constant::Allocate(input.dtype, input.shape);
    const auto from = input.view().as<const float>();
    for (size_t i = 0; i < from.size(); ++i) {
      const float toward = (random() & 1) != 0 ? INFINITY : -INFINITY;
      static_cast<float*>(data)[i] = std::nextafter(from[i], toward);
    }
    input = std::move(copy);
  }
  return nudged;
}

Result<std::vector<Constant>> EvaluateOn(const Graph& graph, std::span<const Constant> inputs) {
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  return Evaluate(graph, views);
}

/// Largest difference of float32 outputs, relative plus absolute.
float LargestDifference(std::span<const Constant> a, std::span<const Constant> b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].dtype != DataType::kFloat32) continue;
    const auto left = a[i].view().as<const float>();
    const auto right = b[i].view().as<const float>();
    for (size_t k = 0; k < left.size(); ++k) {
      const float difference = std::fabs(left[k] - right[k]) / (1 + std::fabs(left[k]));
      if (std::isfinite(difference)) largest = std::max(largest, difference);
    }
  }
  return largest;
}

}  // namespace

Result<std::vector<GoldenVector>> MakeGoldenVectors(const Graph& graph, const Profile& profile,
                                                    uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<GoldenVector> vectors;
  for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt}) {
    GoldenVector golden;
    bool small = true;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      const Shape& shape = profile.inputs[i].*corner;
      VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
      small = small && count <= kMaxElements;
      if (!small) break;
      VERDICT_ASSIGN_OR_RETURN(Constant input,
                               RandomTensor(graph.value(graph.inputs[i]).dtype, shape, random));
      golden.inputs.push_back(std::move(input));
    }
    if (!small) continue;
    auto outputs = EvaluateOn(graph, golden.inputs);
    if (!outputs.ok()) return outputs.status().WithContext("golden vectors");
    golden.outputs = *std::move(outputs);
    VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> nudged,
                             EvaluateOn(graph, Nudged(golden.inputs, random)));
    golden.tolerance = std::clamp(kRoundings * LargestDifference(golden.outputs, nudged),
                                  kMinGoldenTolerance, kMaxGoldenTolerance);
    vectors.push_back(std::move(golden));
  }
  return vectors;
}

}  // namespace verdict
