#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "onnx/export.h"
#include "onnx/import.h"
#include "ops/cast.h"
#include "ops/op_test.h"

// The golden models, exported and imported again, compute what they did before.

namespace verdict {
namespace {

namespace fs = std::filesystem;

constexpr Dim kSymbolExtent = 4;
constexpr float kTolerance = 1e-5F;

/// Numbers that differ, small enough for indices; the same ones each time.
Constant MadeUpInput(const Value& value) {
  Shape shape;
  for (Dim dim : value.shape.dims()) shape.push_back(IsSymbol(dim) ? kSymbolExtent : dim);
  const auto count = static_cast<size_t>(NumElements(shape).value());
  if (value.dtype == DataType::kString) {
    return Constant::OfStrings(shape, std::vector<std::string>(count, "a"));
  }
  std::vector<float> numbers;
  for (size_t i = 0; i < count; ++i) {
    const bool is_real = IsFloating(value.dtype);
    numbers.push_back(is_real ? std::sin(static_cast<float>(i) * 1.7F) * 2
                              : static_cast<float>(i % 2));
  }
  const int64_t type = [&] {
    for (int64_t number = 1;; ++number) {
      if (DataTypeFromOnnx(number) == value.dtype) return number;
    }
  }();
  return Compute("Cast", {Tensor<float>(shape, numbers)}, {{"to", type}});
}

void ExpectEqual(const Constant& actual, const Constant& expected) {
  ASSERT_EQ(actual.dtype, expected.dtype);
  ASSERT_EQ(actual.shape, expected.shape);
  if (expected.dtype == DataType::kFloat32) {
    const auto want = Values<float>(expected);
    const auto have = Values<float>(actual);
    for (size_t i = 0; i < want.size(); ++i) {
      if (std::isnan(want[i]) && std::isnan(have[i])) continue;
      ASSERT_NEAR(have[i], want[i], kTolerance + kTolerance * std::fabs(want[i])) << "at " << i;
    }
  } else if (expected.dtype == DataType::kInt64) {
    EXPECT_EQ(Values<int64_t>(actual), Values<int64_t>(expected));
  } else if (expected.dtype == DataType::kString) {
    EXPECT_EQ(Values<std::string_view>(actual), Values<std::string_view>(expected));
  }
}

TEST(ExportedGoldenModels, ComputeTheSame) {
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(VERDICT_SOURCE_DIR) / "tests/golden")) {
    if (entry.path().extension() == ".onnx") files.insert(entry.path());
  }
  size_t compared = 0;
  std::string refused;
  for (const fs::path& file : files) {
    SCOPED_TRACE(file.filename().string());
    const auto model = ImportOnnx(file);
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    const auto bytes = ExportOnnx(model->graph);
    if (!bytes.ok()) {
      EXPECT_EQ(bytes.status().code(), StatusCode::kUnimplemented) << bytes.status().ToString();
      refused += file.stem().string() + ": " + bytes.status().message() + "\n";
      continue;
    }
    const auto again = ImportOnnxBytes(std::as_bytes(std::span(*bytes)), {}, "exported");
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    std::vector<Constant> inputs;
    std::vector<TensorView> views;
    for (ValueId id : model->graph.inputs) inputs.push_back(MadeUpInput(model->graph.value(id)));
    for (const Constant& input : inputs) views.push_back(input.view());
    const auto expected = Evaluate(model->graph, views);
    if (!expected.ok()) continue;  // made-up extents or indices that do not go together
    const auto actual = Evaluate(again->graph, views);
    ASSERT_TRUE(actual.ok()) << actual.status().ToString();
    ASSERT_EQ(actual->size(), expected->size());
    for (size_t i = 0; i < actual->size(); ++i) ExpectEqual((*actual)[i], (*expected)[i]);
    ++compared;
  }
  EXPECT_GT(compared, files.size() * 9 / 10) << refused << compared << " of " << files.size();
}

}  // namespace
}  // namespace verdict
