#include "compile/golden.h"

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
    std::vector<TensorView> views;
    for (const Constant& input : golden.inputs) views.push_back(input.view());
    auto outputs = Evaluate(graph, views);
    if (!outputs.ok()) return outputs.status().WithContext("golden vectors");
    golden.outputs = *std::move(outputs);
    vectors.push_back(std::move(golden));
  }
  return vectors;
}

}  // namespace verdict
