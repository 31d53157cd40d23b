#include "tools/load/infer_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace verdict::load {
namespace {

using ::testing::HasSubstr;

std::vector<InputSpec> Specs() {
  return {{"x", DataType::kFloat32, {-1, 3}}, {"id", DataType::kInt64, {-1}}};
}

Constant Floats(const Shape& shape, float first) {
  std::vector<float> values(static_cast<size_t>(NumElements(shape).value()));
  std::iota(values.begin(), values.end(), first);
  return Constant::Of<float>(shape, values);
}

Constant Ids(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 100);
  return Constant::Of<int64_t>(Shape{count}, values);
}

TEST(ModelMetadata, IsReadWithTypesAndOpenExtents) {
  const auto specs = ParseModelMetadata(
      R"({"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]},
          {"name":"s","datatype":"BYTES","shape":[]}],"outputs":[]})");
  ASSERT_TRUE(specs.ok()) << specs.status().ToString();
  ASSERT_EQ(specs->size(), 2u);
  EXPECT_EQ((*specs)[0].name, "x");
  EXPECT_EQ((*specs)[0].dtype, DataType::kFloat32);
  EXPECT_EQ((*specs)[0].shape, (std::vector<int64_t>{-1, 3}));
  EXPECT_EQ((*specs)[1].dtype, DataType::kString);
}

TEST(ModelMetadata, OfAHostileServerIsRefused) {
  for (const char* text :
       {"", "[", "[]", "{}", R"({"inputs":1})", R"({"inputs":[1]})", R"({"inputs":[{"name":"x"}]})",
        R"({"inputs":[{"name":"x","datatype":"FP31","shape":[1]}]})",
        R"({"inputs":[{"name":"x","datatype":"FP32","shape":[-2]}]})",
        R"({"inputs":[{"name":"x","datatype":"FP32","shape":["1"]}]})",
        R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,1,1,1,1,1,1,1,1]}]})"}) {
    EXPECT_EQ(ParseModelMetadata(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(RandomInputs, HaveTheShapesAskedForAndOneWhereNoneWas) {
  const auto requests = RandomInputs(Specs(), {{"x", Shape{4, 3}}}, 5, 1);
  ASSERT_TRUE(requests.ok()) << requests.status().ToString();
  ASSERT_EQ(requests->size(), 5u);
  const RequestInputs& first = requests->front();
  EXPECT_EQ(first[0].first, "x");
  EXPECT_EQ(first[0].second.shape, (Shape{4, 3}));
  EXPECT_EQ(first[1].second.shape, (Shape{1}));
}

TEST(RandomInputs, AreNormalFloatsAndSmallIntegersAndRepeatable) {
  const std::vector<InputSpec> specs = {
      {"f", DataType::kFloat32, {-1}}, {"d", DataType::kFloat64, {-1}},
      {"b", DataType::kBool, {-1}},    {"i", DataType::kInt16, {-1}},
      {"s", DataType::kString, {-1}},  {"h", DataType::kFloat16, {-1}}};
  NamedShapes shapes;
  for (const InputSpec& spec : specs) shapes.emplace_back(spec.name, Shape{10'000});
  const auto requests = RandomInputs(specs, shapes, 1, 3);
  ASSERT_TRUE(requests.ok());
  const RequestInputs& inputs = requests->front();
  double sum = 0;
  double squares = 0;
  for (const float value : inputs[0].second.view().as<float>()) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 1e4, 0, 0.05);
  EXPECT_NEAR(squares / 1e4, 1, 0.1);
  int ones = 0;
  for (const int16_t value : inputs[3].second.view().as<int16_t>()) {
    ASSERT_TRUE(value == 0 || value == 1);
    ones += value;
  }
  EXPECT_NEAR(ones, 5000, 300);
  const auto* flags = static_cast<const uint8_t*>(inputs[2].second.data);
  EXPECT_TRUE(std::all_of(flags, flags + 10'000, [](uint8_t flag) { return flag <= 1; }));
  EXPECT_EQ(inputs[4].second.view().as<std::string_view>()[0].substr(0, 1), "v");
  const auto again = RandomInputs(specs, shapes, 1, 3);
  const auto other = RandomInputs(specs, shapes, 1, 4);
  const auto value = [](const auto& of) {
    return of->front()[0].second.view().template as<float>()[7];
  };
  EXPECT_EQ(value(again), value(requests));
  EXPECT_NE(value(other), value(requests));
}

TEST(RandomInputs, OfAWrongShapeAreRefusedByName) {
  EXPECT_THAT(RandomInputs(Specs(), {{"y", Shape{1, 3}}}, 1, 1).status().message(),
              HasSubstr("no input 'y'; its inputs are x (FP32 [-1,3]), id (INT64 [-1])"));
  EXPECT_THAT(RandomInputs(Specs(), {{"x", Shape{1, 4}}}, 1, 1).status().message(),
              HasSubstr("input 'x': [1,4] does not fit the model's [-1,3]"));
  EXPECT_THAT(RandomInputs(Specs(), {{"x", Shape{1 << 30, 3}}}, 1, 1).status().message(),
              HasSubstr("over 64 MiB"));
}

TEST(RandomInputs, OfBigTensorsAreFewer) {
  const auto requests = RandomInputs(Specs(), {{"x", Shape{1'000'000, 3}}}, 64, 1);
  ASSERT_TRUE(requests.ok());
  EXPECT_EQ(requests->size(), 5u);
}

TEST(CutInputs, GivesEachRequestItsRows) {
  NamedTensors tensors;
  tensors.emplace("x", Floats(Shape{7, 3}, 0));
  tensors.emplace("id", Ids(7));
  const auto requests = CutInputs(Specs(), tensors, "in.npz", 2);
  ASSERT_TRUE(requests.ok()) << requests.status().ToString();
  ASSERT_EQ(requests->size(), 3u) << "the seventh row is left out";
  const RequestInputs& last = requests->back();
  EXPECT_EQ(last[0].first, "x");
  EXPECT_EQ(last[0].second.shape, (Shape{2, 3}));
  EXPECT_EQ(last[0].second.view().as<float>()[0], 12);
  EXPECT_EQ(last[0].second.view().as<float>()[5], 17);
  EXPECT_EQ(last[1].second.shape, (Shape{2}));
  EXPECT_EQ(last[1].second.view().as<int64_t>()[1], 105);
}

TEST(CutInputs, SendsArraysWithoutOpenAxisWhole) {
  NamedTensors tensors;
  tensors.emplace("x", Floats(Shape{2, 3}, 0));
  const auto requests = CutInputs({{"x", DataType::kFloat32, {2, 3}}}, tensors, "in.npz", 1);
  ASSERT_TRUE(requests.ok());
  ASSERT_EQ(requests->size(), 1u);
  EXPECT_EQ(requests->front()[0].second.shape, (Shape{2, 3}));
}

TEST(CutInputs, RefusesWhatDoesNotFitByName) {
  const auto error = [](NamedTensors tensors, int64_t batch = 1) {
    return CutInputs(Specs(), tensors, "in.npz", batch).status().message();
  };
  EXPECT_THAT(error({{"x", Floats(Shape{2, 3}, 0)}}), HasSubstr("there is no array 'id'"));
  EXPECT_THAT(error({{"x", Floats(Shape{2, 3}, 0)}, {"id", Ids(2)}, {"z", Ids(2)}}),
              HasSubstr("in.npz: the model has no input 'z'"));
  EXPECT_THAT(error({{"x", Floats(Shape{2, 4}, 0)}, {"id", Ids(2)}}),
              HasSubstr("array 'x' is float32 [2,4], the model takes float32 [-1,3]"));
  EXPECT_THAT(error({{"x", Ids(2)}, {"id", Ids(2)}}), HasSubstr("array 'x' is int64 [2]"));
  EXPECT_THAT(error({{"x", Floats(Shape{2, 3}, 0)}, {"id", Ids(3)}}),
              HasSubstr("'x' has 2 rows, 'id' 3"));
  EXPECT_THAT(error({{"x", Floats(Shape{2, 3}, 0)}, {"id", Ids(2)}}, 3),
              HasSubstr("2 rows are fewer than --batch 3"));
  EXPECT_THAT(error({{"x", Floats(Shape{0, 3}, 0)}, {"id", Ids(0)}}), HasSubstr("0 rows"));
}

TEST(JsonInputs, AreReadWithTheirTypes) {
  const auto inputs = ParseJsonInputs(
      R"([{"name":"x","datatype":"FP32","shape":[1,2],"data":[[0.5,-1]]},
          {"name":"s","datatype":"BYTES","shape":[2],"data":["a","bé"]}])");
  ASSERT_TRUE(inputs.ok()) << inputs.status().ToString();
  EXPECT_EQ((*inputs)[0].second.view().as<float>()[1], -1);
  EXPECT_EQ((*inputs)[1].second.view().as<std::string_view>()[1], "bé");
}

TEST(JsonInputs, ThatAreWrongAreRefusedByName) {
  const auto error = [](const char* text) { return ParseJsonInputs(text).status().message(); };
  EXPECT_THAT(error("{}"), HasSubstr("no array"));
  EXPECT_THAT(error(R"([{"name":"x","datatype":"FP32","shape":[2],"data":[1]}])"),
              HasSubstr("input 'x': \"data\""));
  EXPECT_THAT(error(R"([{"name":"x","datatype":"FP32","shape":[-1],"data":[1]}])"),
              HasSubstr("a negative extent"));
  EXPECT_THAT(
      error(R"([{"name":"x","datatype":"FP32","shape":[4294967296,4294967296],"data":[]}])"),
      HasSubstr("over 64 MiB"));
  EXPECT_THAT(error(R"([{"name":"x","datatype":"FP32","shape":[1]}])"), HasSubstr("no \"data\""));
}

}  // namespace
}  // namespace verdict::load
