// Runs every *.irtest beside the passes. A file is named for its pass and holds cases:
//
//     === what the case shows
//     graph … { … }        before
//     ---
//     graph … { … }        after, or the one word: unchanged
//
// After the pass the graph must verify, print as expected, and compute the same as before.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/half.h"
#include "ops/infer.h"
#include "ops/verify.h"
#include "passes/pass.h"

namespace verdict {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(VERDICT_SOURCE_DIR) / "src/passes";

constexpr const Pass* kPasses[] = {
    &kEliminateDeadCode,  &kEliminateCommonSubexpressions,
    &kFoldConstants,      &kRemoveNoOps,
    &kFuseAttention,      &kFuseGelu,
    &kFuseLayerNorm,      &kFuseGemmBias,
    &kFoldBatchNorm,      &kFoldScaler,
    &kFuseGemmActivation,
};

struct Case {
  const Pass* pass;
  std::string title, before, after;

  friend void PrintTo(const Case& test, std::ostream* out) { *out << test.title; }
};

std::vector<Case> ReadCases(const Pass* pass) {
  std::ifstream file(kFolder / (std::string(pass->name) + ".irtest"));
  std::vector<Case> cases;
  std::string line;
  bool in_after = false;
  while (std::getline(file, line)) {
    if (line.starts_with("=== ")) {
      cases.push_back({pass, line.substr(4), "", ""});
      in_after = false;
    } else if (line == "---") {
      in_after = true;
    } else if (!cases.empty()) {
      (in_after ? cases.back().after : cases.back().before) += line + "\n";
    }
  }
  return cases;
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const Pass* pass : kPasses) {
    for (Case& test : ReadCases(pass)) cases.push_back(std::move(test));
  }
  return cases;
}

Graph Parse(const std::string& text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString() << "\n" << text;
  const Status status = VerifyGraph(*graph);
  EXPECT_TRUE(status.ok()) << status.ToString();
  const Status inferred = InferShapes(*graph);
  EXPECT_TRUE(inferred.ok()) << inferred.ToString();
  return *std::move(graph);
}

/// Random inputs with 3 for every symbol.
std::vector<Constant> RandomInputs(const Graph& graph) {
  std::mt19937 random(5);
  std::vector<Constant> inputs;
  for (ValueId id : graph.inputs) {
    Shape shape = graph.value(id).shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (IsSymbol(shape[axis])) shape[axis] = 3;
    }
    auto [constant, data] = Constant::Allocate(graph.value(id).dtype, shape);
    for (int64_t i = 0; i < constant.view().size(); ++i) {
      const float value = static_cast<float>(random() % 2000) / 500.0F - 2.0F;
      if (constant.dtype == DataType::kFloat32) static_cast<float*>(data)[i] = value;
      if (constant.dtype == DataType::kInt64) static_cast<int64_t*>(data)[i] = random() % 2;
    }
    inputs.push_back(constant);
  }
  return inputs;
}

std::vector<Constant> Compute(const Graph& graph, const std::vector<Constant>& inputs) {
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  auto outputs = Evaluate(graph, views);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? *std::move(outputs) : std::vector<Constant>();
}

void ExpectSame(const std::vector<Constant>& want, const std::vector<Constant>& got) {
  ASSERT_EQ(want.size(), got.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(want[i].dtype, got[i].dtype);
    ASSERT_EQ(want[i].shape, got[i].shape);
    if (want[i].dtype != DataType::kFloat32) {
      ASSERT_NE(want[i].dtype, DataType::kString) << "strings are not compared here";
      EXPECT_EQ(
          std::memcmp(want[i].data, got[i].data, ByteSize(want[i].dtype, want[i].shape).value()), 0)
          << "output " << i;
      continue;
    }
    const auto a = want[i].view().as<const float>();
    const auto b = got[i].view().as<const float>();
    for (size_t k = 0; k < a.size(); ++k) {
      EXPECT_NEAR(a[k], b[k], 1e-5 * (1 + std::fabs(a[k]))) << "output " << i << " element " << k;
    }
  }
}

// A file of few bytes must not keep the pass busy for hours, nor fill the memory.
TEST(FoldConstants, LeavesWhatTakesTooLongOrTooMuch) {
  Graph graph = Parse(R"(graph "g" {
    input %x: f32[]
    const %a: f32[100000] = seed(1)
    const %four_million: i64[1] = [4000000]
    %s = Einsum(%a, %a) {equation="a,b->"}
    %y = Add(%x, %s)
    output %y
  })");
  for (int i = 0; i < 20; ++i) {  // 16 MB each
    const std::string n = std::to_string(i);
    const ValueId wide = graph.AddValue("wide" + n, DataType::kUndefined, {});
    graph.nodes.push_back(
        {"wide" + n, "ConstantOfShape", {graph.FindValue("four_million")}, {wide}, {}});
    graph.outputs.push_back(wide);
  }
  ASSERT_TRUE(InferShapes(graph).ok());
  ASSERT_TRUE(kFoldConstants.run(graph).ok());
  const auto count = [&](const char* op) { return std::ranges::count(graph.nodes, op, &Node::op); };
  EXPECT_EQ(count("Einsum"), 1);
  EXPECT_GT(count("ConstantOfShape"), 5);
  EXPECT_LT(count("ConstantOfShape"), 20);
}

class PassTest : public ::testing::TestWithParam<Case> {};

TEST_P(PassTest, RewritesAsWritten) {
  const Case& test = GetParam();
  SCOPED_TRACE(test.title);
  Graph graph = Parse(test.before);
  const std::vector<Constant> inputs = RandomInputs(graph);
  const std::vector<Constant> want = Compute(graph, inputs);
  const std::string before = PrintGraph(graph);

  const auto changed = test.pass->run(graph);
  ASSERT_TRUE(changed.ok()) << changed.status().ToString();
  ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
  const Status inferred = InferShapes(graph);
  ASSERT_TRUE(inferred.ok()) << inferred.ToString();
  if (test.after == "unchanged\n") {
    EXPECT_FALSE(*changed);
    EXPECT_EQ(PrintGraph(graph), before);
    return;
  }
  EXPECT_TRUE(*changed);
  ExpectSame(want, Compute(graph, inputs));
  // What a rewrite leaves behind is eliminate_dead_code's work, which has tests of its own.
  if (test.pass != &kEliminateDeadCode) {
    ASSERT_TRUE(kEliminateDeadCode.run(graph).ok());
  }
  Graph expected = Parse(test.after);
  EXPECT_EQ(PrintGraph(graph), PrintGraph(expected));

  const auto again = test.pass->run(graph);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(*again) << "a second run finds something more";
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  std::string name = std::string(info.param.pass->name) + "_" + info.param.title;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Irtest, PassTest, ::testing::ValuesIn(AllCases()), CaseName);

TEST(Passes, EveryPassHasCasesThatRewriteAndCasesThatDecline) {
  for (const Pass* pass : kPasses) {
    const std::vector<Case> cases = ReadCases(pass);
    const auto declines = [](const Case& test) { return test.after == "unchanged\n"; };
    EXPECT_TRUE(std::ranges::any_of(cases, declines)) << pass->name;
    EXPECT_FALSE(std::ranges::all_of(cases, declines)) << pass->name;
  }
}

TEST(Passes, LongModelsTakeTimeInProportionToTheirNodes) {
  constexpr int kNodes = 60000;
  Graph graph;
  ValueId last = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), 4});
  for (int i = 0; i < kNodes; ++i) {
    const ValueId next = graph.AddValue("", DataType::kFloat32, graph.value(last).shape);
    const char* op = i % 3 == 0 ? "Add" : i % 3 == 1 ? "Mul" : "Tanh";
    Node& node = graph.nodes.emplace_back();
    node.op = op;
    node.inputs = {last};
    if (i % 3 != 2) node.inputs.push_back(graph.inputs[0]);
    node.outputs = {next};
    last = next;
  }
  graph.outputs = {last};
  for (const Pass* pass : kPasses) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(pass->run(graph).ok()) << pass->name;
    // Ten times and more what it takes under the sanitizers; work for each pair of nodes takes
    // minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << pass->name;
  }
  EXPECT_EQ(graph.nodes.size(), size_t{kNodes});
}

// Layers of every kind that the fusing passes take apart and put together.
TEST(Passes, ManyFusionsTakeTimeInProportionToTheirNumber) {
  constexpr int kLayers = 10000;
  Graph graph;
  ValueId last = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), 1});
  const std::array<float, 1> half = {0.5F};
  const ValueId w = graph.AddConstant("w", Constant::Of<float>(Shape{1, 1}, half));
  const ValueId c = graph.AddConstant("c", Constant::Of<float>(Shape{1}, half));
  const auto add = [&](const char* op, std::vector<ValueId> inputs) {
    const ValueId next = graph.AddValue("", DataType::kFloat32, graph.value(last).shape);
    graph.nodes.push_back({"", op, std::move(inputs), {next}, {}});
    last = next;
  };
  for (int i = 0; i < kLayers; ++i) {
    add("Mul", {last, c});
    add("MatMul", {last, w});
    add("Add", {last, c});
    add("BatchNormalization", {last, c, c, c, c});
    add("Relu", {last});
  }
  graph.outputs = {last};
  for (const Pass* pass : {&kFuseGelu, &kFuseLayerNorm, &kFuseGemmBias, &kFoldBatchNorm,
                           &kFoldScaler, &kFuseGemmActivation}) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(pass->run(graph).ok()) << pass->name;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << pass->name;
  }
  EXPECT_EQ(graph.nodes.size(), size_t{kLayers});
  EXPECT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
}

TEST(Passes, ManyRewritesTakeTimeInProportionToTheirNumber) {
  constexpr int kNodes = 60000;
  Graph graph;
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), 4});
  ValueId last = x;
  for (int i = 0; i < kNodes; ++i) {
    // Identities of the last sum, and equal nodes with equal constants.
    const ValueId next = graph.AddValue("", DataType::kFloat32, graph.value(x).shape);
    Node node{.op = "Identity", .inputs = {last}, .outputs = {next}};
    if (i % 2 != 0) {
      const std::array<float, 1> one = {1};
      node.op = "Add";
      node.inputs = {x, graph.AddConstant("", Constant::Of<float>(Shape{1}, one))};
    }
    graph.nodes.push_back(std::move(node));
    last = next;
  }
  graph.outputs = {last};
  for (const Pass* pass : {&kRemoveNoOps, &kEliminateCommonSubexpressions, &kEliminateDeadCode}) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(pass->run(graph).ok()) << pass->name;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10)) << pass->name;
  }
  EXPECT_EQ(graph.nodes.size(), 1U);  // the last Add, whose name is the output's
}

/// Text cannot write halves: the f32 constant w becomes one of bfloat16.
Graph WithHalfWeights(const std::string& text) {
  auto graph = ParseGraph(text);
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  Value& w = graph->value(graph->FindValue("w"));
  std::vector<BFloat16> halves;
  for (float value : w.constant->view().as<const float>()) halves.push_back(BFloat16::Of(value));
  w.dtype = DataType::kBFloat16;
  w.constant = std::make_shared<const Constant>(Constant::Of<BFloat16>(w.shape, halves));
  EXPECT_TRUE(InferShapes(*graph).ok());
  return std::move(*graph);
}

std::string HalfLayer(const std::string& weights, const std::string& product) {
  return R"(graph "g" {
  input %x: f32[N,3]
  const %w: f32)" +
         weights + R"(
  const %b: f32[2] = [1, -1]
  %h = Cast(%x) {to=16}
  %r = Cast(%h) {to=1}
  %f = Cast(%w) {to=1}
  %y = )" +
         product +
         R"(
  output %y
})";
}

TEST(HalfWeights, StaySmallInALayerOfHalfPrecision) {
  for (const std::string& text :
       {HalfLayer("[3,2] = [1, 2, 3, 4, 5, 6]", "MatMul(%r, %f)"),
        HalfLayer("[3,2] = [1, 2, 3, 4, 5, 6]", "FusedGemm(%r, %f, %b)"),
        HalfLayer("[2,3] = [1, 3, 5, 2, 4, 6]", "Gemm(%r, %f, %b) {transB=1}")}) {
    Graph graph = WithHalfWeights(text);
    for (const Pass* pass : {&kFoldConstants, &kFuseGemmBias}) ASSERT_TRUE(pass->run(graph).ok());
    ASSERT_TRUE(VerifyGraph(graph).ok()) << VerifyGraph(graph).ToString();
    ASSERT_TRUE(InferShapes(graph).ok());
    const Node& gemm = graph.nodes.back();
    ASSERT_EQ(gemm.op, "FusedGemm");
    EXPECT_EQ(graph.constant(gemm.inputs[1]), nullptr) << "folded";
    const Constant x = Constant::Of<float>({1, 3}, std::array{1.0F, 10.0F, 100.0F});
    const auto y = Evaluate(graph, std::vector{x.view()});
    ASSERT_TRUE(y.ok()) << y.status().ToString();
    const float bias = gemm.inputs.size() > 2 ? 1 : 0;
    EXPECT_EQ((*y)[0].view().as<const float>()[0], 531 + bias);
    EXPECT_EQ((*y)[0].view().as<const float>()[1], 642 - bias);
  }
}

TEST(HalfWeights, AreFoldedWhereTheLayerIsInFloat32) {
  for (const std::string& text :
       {HalfLayer("[3,2] = [1, 2, 3, 4, 5, 6]", "MatMul(%x, %f)"),
        HalfLayer("[3,2] = [1, 2, 3, 4, 5, 6]", "Gemm(%r, %f, %b) {alpha=2.0}")}) {
    Graph graph = WithHalfWeights(text);
    for (const Pass* pass : {&kFoldConstants, &kFuseGemmBias}) ASSERT_TRUE(pass->run(graph).ok());
    EXPECT_EQ(graph.nodes.back().op, "FusedGemm");
    EXPECT_NE(graph.constant(graph.nodes.back().inputs[1]), nullptr);
  }
}

}  // namespace
}  // namespace verdict
