#include "quant/insert_half.h"

#include <gmock/gmock.h>

#include <cmath>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/half.h"
#include "ops/infer.h"
#include "ops/verify.h"
#include "passes/pass.h"
#include "quant/three_layers_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16};

TEST(InsertHalf, PutsCastsOnceBeforeEachTensorAndKeepsTheValues) {
  for (DataType type : kTypes) {
    Graph graph = ThreeLayers();
    const std::vector<float> want = Evaluated(graph);
    ASSERT_TRUE(InsertHalf(graph, FindQuantizableLayers(graph), type).ok());
    ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
    EXPECT_THAT(Ops(graph), ElementsAre("Cast", "Cast", "Cast", "FusedGemm", "Cast", "FusedGemm",
                                        "Cast", "Cast", "Cast", "FusedGemm", "Add"));
    const std::string name(DataTypeName(type));
    EXPECT_EQ(graph.value(graph.FindValue("x." + name)).dtype, type);
    EXPECT_EQ(graph.constant(graph.FindValue("w0." + name))->dtype, type);
    const std::vector<float> got = Evaluated(graph);
    const float tolerance = type == DataType::kFloat16 ? 2e-3F : 2e-2F;
    EXPECT_NE(got, want) << "nothing was rounded";
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
    // What was declared is what is inferred.
    const std::string before = PrintGraph(graph);
    ASSERT_TRUE(InferShapes(graph).ok());
    EXPECT_EQ(PrintGraph(graph), before);
  }
}

TEST(InsertHalf, LeavesOtherLayersAlone) {
  Graph graph = ThreeLayers();
  const std::vector<QuantizableLayer> layers = {FindQuantizableLayers(graph)[2]};
  ASSERT_TRUE(InsertHalf(graph, layers, DataType::kBFloat16).ok());
  EXPECT_THAT(Ops(graph),
              ElementsAre("FusedGemm", "FusedGemm", "Cast", "Cast", "Cast", "FusedGemm", "Add"));
}

TEST(InsertHalf, WeightsAreNotFoldedBackToFloat32) {
  Graph graph = ThreeLayers();
  ASSERT_TRUE(InsertHalf(graph, FindQuantizableLayers(graph), DataType::kFloat16).ok());
  const auto changed = kFoldConstants.run(graph);
  ASSERT_TRUE(changed.ok());
  EXPECT_FALSE(*changed);
}

TEST(InsertHalf, RefusesWeightsThatOverflow) {
  Graph graph = ThreeLayers("1, 70000, 0, 0, 0, 0");
  const auto layers = FindQuantizableLayers(graph);
  const Status status = InsertHalf(graph, layers, DataType::kFloat16);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("weights 'w0' hold 70000.000000, which f16 cannot"));
  graph = ThreeLayers("1, 70000, 0, 0, 0, 0");
  EXPECT_TRUE(InsertHalf(graph, layers, DataType::kBFloat16).ok());
  graph = ThreeLayers("1, inf, 0, 0, 0, 0");
  EXPECT_THAT(InsertHalf(graph, layers, DataType::kBFloat16).message(), HasSubstr("hold inf"));
  graph = ThreeLayers("1, nan, 0, 0, 0, 0");
  EXPECT_THAT(InsertHalf(graph, layers, DataType::kBFloat16).message(), HasSubstr("hold nan"));
  graph = ThreeLayers();
  EXPECT_THAT(InsertHalf(graph, layers, DataType::kInt8).message(), HasSubstr("i8"));
}

TEST(InsertHalf, RecurrentLayersAreMarkedAndTablesAreCastAfterwards) {
  auto graph = ParseGraph(R"(graph "g" {
  input %x: f32[T,N,2]
  input %ids: i64[T,N]
  const %w: f32[1,3,2] = [0.3, -1, 0.25, 1, -0.125, 2]
  const %r: f32[1,3,1] = [1, -0.5, 0.3]
  %y = GRU(%x, %w, %r) {hidden_size=1, linear_before_reset=1}
  output %y
})");
  ASSERT_TRUE(graph.ok());
  std::vector<float> table(16'384);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i) / 3000.0F;
  const ValueId weights = graph->AddConstant("table", Constant::Of<float>(Shape{8192, 2}, table));
  graph->nodes.push_back({.name = "rows",
                          .op = "Gather",
                          .inputs = {weights, graph->FindValue("ids")},
                          .outputs = {graph->AddValue("e", DataType::kUndefined, Shape{})}});
  graph->outputs.push_back(graph->nodes.back().outputs[0]);
  ASSERT_TRUE(InferShapes(*graph).ok());
  const std::vector<float> values = {0.3F, -0.7F, 1.1F, -1.5F};
  const Constant x = Constant::Of<float>(Shape{2, 1, 2}, values);
  const Constant ids = Constant::Of<int64_t>(Shape{2, 1}, std::vector<int64_t>{8191, 17});
  const std::vector<TensorView> inputs = {x.view(), ids.view()};
  const auto want = Evaluate(*graph, inputs);
  for (DataType type : kTypes) {
    Graph half = *graph;
    ASSERT_TRUE(InsertHalf(half, FindQuantizableLayers(half), type).ok());
    ASSERT_TRUE(VerifyGraph(half).ok()) << VerifyGraph(half).ToString();
    EXPECT_THAT(Ops(half), ElementsAre("Cast", "Cast", "GRU", "Gather", "Cast"));
    EXPECT_EQ(std::get<std::string>(half.nodes[2].attributes.at("compute_type")),
              type == DataType::kFloat16 ? "float16" : "bfloat16");
    EXPECT_EQ(half.constant(half.nodes[3].inputs[0])->dtype, type);
    const auto got = Evaluate(half, inputs);
    ASSERT_TRUE(want.ok() && got.ok());
    for (size_t output : {0, 1}) {
      const auto wants = (*want)[output].view().as<const float>();
      const auto gots = (*got)[output].view().as<const float>();
      for (size_t i = 0; i < wants.size(); ++i) EXPECT_NEAR(gots[i], wants[i], 0.02);
    }
  }
}

TEST(WhyHalfOverflows, NamesWhatIsTooLarge) {
  const auto why = [](const std::string& weights, DataType type, float activation) {
    const Graph graph = ThreeLayers(weights);
    return WhyHalfOverflows(graph, FindQuantizableLayers(graph)[0], type, activation);
  };
  const std::string weights = "0.5, -65504, 0, 0, 0, 0";
  EXPECT_EQ(why(weights, DataType::kFloat16, 65504.0F), "");
  EXPECT_EQ(why(weights, DataType::kFloat16, 65505.0F),
            "'x' reaches 65505, more than the 65504 that f16 holds");
  EXPECT_EQ(why(weights, DataType::kBFloat16, 1e38F), "");
  EXPECT_THAT(why("0, 0, -70000, 0, 0, 0", DataType::kFloat16, 1),
              HasSubstr("weights 'w0' hold -70000"));
  EXPECT_THAT(why("0, inf, 0, 0, 0, 0", DataType::kBFloat16, 1), HasSubstr("hold inf"));
  EXPECT_THAT(why(weights, DataType::kBFloat16, NAN), HasSubstr("reaches nan"));
}

TEST(WhyHalfOverflows, TheTypesHoldWhatItSays) {
  for (DataType type : kTypes) {
    const float largest = LargestHalf(type);
    const auto round = [&](float value) {
      return type == DataType::kFloat16 ? Float16::Of(value).ToFloat()
                                        : BFloat16::Of(value).ToFloat();
    };
    EXPECT_EQ(round(largest), largest);
    EXPECT_TRUE(std::isinf(round(largest * 1.002F)));
  }
}

}  // namespace
}  // namespace verdict
