// What every backend must pass: each of its tactics computes what the reference kernel computes, on
// shapes that touch its edges (one row, full tiles and remainders, one column, columns that end
// inside a vector).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>

#include "backends/conformance/one_node_test.h"
#include "backends/cpu/isa.h"
#include "ops/half.h"

namespace verdict {
namespace {

Graph GemmGraph(int64_t k, int64_t n, bool bias, const std::string& activation) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("M"), k});
  Node node{.name = "gemm", .op = "FusedGemm", .inputs = {x}};
  node.inputs.push_back(graph.AddConstant("w", Random({k, n}, 2, 0.3F)));
  if (bias) node.inputs.push_back(graph.AddConstant("b", Random({n}, 3)));
  node.outputs = {graph.AddValue("y", DataType::kFloat32, Shape{})};
  node.attributes["activation"] = activation;
  if (activation == "LeakyRelu" || activation == "Elu") node.attributes["alpha"] = 0.2F;
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

TEST(Conformance, FusedGemmShapes) {
  for (int64_t m : {1, 2, 3, 5, 6, 7, 13, 32}) {
    for (int64_t k : {1, 3, 16, 30, 67, 191, 192, 300}) {  // from 192 on, sums are in blocks
      for (int64_t n : {1, 2, 15, 16, 17, 31, 48, 63, 64, 65, 130}) {
        const Graph graph = GemmGraph(k, n, (m + n) % 2 == 0, "");
        const std::vector<Constant> free = {Random({m, k}, 7)};
        SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n));
        ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
      }
    }
  }
}

TEST(Conformance, FusedGemmActivations) {
  for (const char* activation :
       {"", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "GeluTanh", "Silu", "Elu"}) {
    for (int64_t n : {1, 19, 64}) {
      SCOPED_TRACE(activation);
      const Graph graph = GemmGraph(24, n, true, activation);
      const std::vector<Constant> free = {Random({4, 24}, 7, 3.0F)};
      ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
    }
  }
}

/// Where activations saturate, overflow or must pass a value on.
constexpr float kLimits[] = {0.0F,
                             -0.0F,
                             1e-30F,
                             -1e-30F,
                             8.9F,
                             -8.9F,
                             50.0F,
                             -50.0F,
                             88.8F,
                             -88.8F,
                             104.5F,
                             -104.5F,
                             1000.0F,
                             -1000.0F,
                             3e38F,
                             -3e38F,
                             kInfinity,
                             -kInfinity,
                             std::numeric_limits<float>::quiet_NaN()};
constexpr auto kCount = static_cast<int64_t>(std::size(kLimits));

TEST(Conformance, FusedGemmActivationsAtTheirLimits) {
  for (const char* activation : {"", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "Silu"}) {
    SCOPED_TRACE(activation);
    for (int64_t n : {1, 16}) {
      Graph graph = GemmGraph(1, n, false, activation);
      const std::vector<float> ones(static_cast<size_t>(n), 1.0F);
      graph.nodes[0].inputs[1] = graph.AddConstant("ones", Constant::Of<float>({1, n}, ones));
      const std::vector<Constant> free = {Constant::Of<float>({kCount, 1}, std::span(kLimits))};
      ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
    }
  }
}

TEST(Conformance, FusedGemmOnMoreAxesAndNoRows) {
  const Graph graph = GemmGraph(8, 20, true, "Relu");
  const std::vector<Constant> deep = {Random({2, 3, 5, 8}, 7)};
  EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, deep)), 2);
  const std::vector<Constant> empty = {Random({0, 8}, 7)};
  EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, empty)), 2);
}

TEST(Conformance, RowsDoNotDependOnTheirBatch) {
  for (const auto& [k, n] : {std::pair{77, 1}, {77, 20}, {77, 200}, {300, 1}, {300, 70}}) {
    const Graph graph = GemmGraph(k, n, true, "Sigmoid");
    const Constant batch = Random({13, k}, 7);
    for (const Backend* backend : AllBackends()) {
      for (const Tactic* tactic : backend->candidates("FusedGemm")) {
        const auto whole = RunTactic(*tactic, graph, NodeInputs(graph, std::span(&batch, 1)));
        for (int64_t row = 0; row < 13; ++row) {
          std::vector<Constant> single = {batch};
          single[0].shape = Shape{1, k};
          single[0].data = static_cast<const float*>(batch.data) + row * k;
          const auto alone = RunTactic(*tactic, graph, NodeInputs(graph, single));
          EXPECT_EQ(std::memcmp(alone[0].data, static_cast<const float*>(whole[0].data) + row * n,
                                static_cast<size_t>(n) * sizeof(float)),
                    0)
              << tactic->id << " row " << row;
        }
      }
    }
  }
}

struct RecurrentCase {
  std::string op;
  std::string direction;
  int64_t steps, batch, input, hidden;
  bool bias, initial;
};

Graph RecurrentGraph(const RecurrentCase& test) {
  const int64_t gates = test.op == "LSTM" ? 4 : 3;
  const int64_t directions = test.direction == "bidirectional" ? 2 : 1;
  Graph graph;
  Node node{.name = "rnn", .op = test.op};
  node.inputs.push_back(
      graph.AddInput("x", DataType::kFloat32, Shape{test.steps, test.batch, test.input}));
  node.inputs.push_back(
      graph.AddConstant("w", Random({directions, gates * test.hidden, test.input}, 2, 0.4F)));
  node.inputs.push_back(
      graph.AddConstant("r", Random({directions, gates * test.hidden, test.hidden}, 3, 0.4F)));
  node.inputs.push_back(
      test.bias ? graph.AddConstant("b", Random({directions, 2 * gates * test.hidden}, 4))
                : kNoValue);
  node.inputs.push_back(kNoValue);
  if (test.initial) {
    for (int64_t i = 0; i < (gates == 4 ? 2 : 1); ++i) {
      node.inputs.push_back(graph.AddConstant("s" + std::to_string(i),
                                              Random({directions, test.batch, test.hidden}, 5)));
    }
  }
  for (int64_t i = 0; i < (gates == 4 ? 3 : 2); ++i) {
    node.outputs.push_back(graph.AddValue("y" + std::to_string(i), DataType::kFloat32, Shape{}));
  }
  node.attributes["hidden_size"] = test.hidden;
  node.attributes["direction"] = test.direction;
  if (test.op == "GRU") node.attributes["linear_before_reset"] = int64_t{1};
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

TEST(Conformance, RecurrentLayers) {
  for (const char* op : {"LSTM", "GRU"}) {
    for (const char* direction : {"forward", "reverse", "bidirectional"}) {
      for (int64_t batch : {1, 5}) {
        for (int64_t hidden : {1, 7, 16, 40, 200}) {  // from 192 on, sums are in blocks
          const RecurrentCase test{op, direction, 4, batch, 9, hidden, hidden != 7, batch == 5};
          SCOPED_TRACE(std::string(op) + " " + direction + " B" + std::to_string(batch) + " H" +
                       std::to_string(hidden));
          const Graph graph = RecurrentGraph(test);
          const std::vector<Constant> free = {Random({4, batch, 9}, 7)};
          ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
        }
      }
    }
  }
}

/// A quarter of them: the layers of large weights amplify what is rounded off.
template <typename Half>
Constant Halves(const Constant& floats) {
  std::vector<Half> halves;
  for (float value : floats.view().as<const float>()) halves.push_back(Half::Of(value / 4));
  return Constant::Of<Half>(floats.shape, halves);
}

/// The layer with W and R of int8, float16 or bfloat16.
Graph Narrow(Graph graph, DataType type) {
  Node& node = graph.nodes[0];
  node.op = "Quantized" + node.op;
  node.inputs.resize(10, kNoValue);
  std::mt19937 random(7);
  if (type != DataType::kInt8) {
    for (size_t input : {size_t{1}, size_t{2}}) {
      const Constant& floats = *graph.constant(node.inputs[input]);
      node.inputs[input] = graph.AddConstant(
          "h", type == DataType::kFloat16 ? Halves<Float16>(floats) : Halves<BFloat16>(floats));
    }
    return graph;
  }
  for (size_t input : {size_t{1}, size_t{2}}) {
    const Shape shape = graph.value(node.inputs[input]).shape;
    std::vector<int8_t> weights(graph.constant(node.inputs[input])->view().size());
    for (int8_t& weight : weights) weight = static_cast<int8_t>(random() % 255 - 127);
    std::vector<float> scales(static_cast<size_t>(shape[1]));
    for (float& scale : scales) scale = 0.0002F * static_cast<float>(random() % 8 + 1);
    node.inputs[input] = graph.AddConstant("q", Constant::Of<int8_t>(shape, weights));
    node.inputs[input + 7] = graph.AddConstant("s", Constant::Of<float>({shape[1]}, scales));
  }
  return graph;
}

// The state's rounding turns what the last bits of tanh differ by into a quantum, here and there.
TEST(Conformance, QuantizedRecurrentLayers) {
  for (const char* op : {"LSTM", "GRU"}) {
    for (DataType type : {DataType::kInt8, DataType::kFloat16, DataType::kBFloat16}) {
      for (const char* direction : {"forward", "reverse", "bidirectional"}) {
        for (int64_t batch : {1, 5, 33}) {
          for (int64_t hidden : {1, 7, 16, 40, 200}) {
            if (batch == 33 && hidden == 200) continue;  // half of the time, and no edge of its own
            const RecurrentCase test{op, direction, 4, batch, 9, hidden, hidden != 7, batch == 5};
            SCOPED_TRACE(std::string(op) + " " + std::string(DataTypeName(type)) + " " + direction +
                         " B" + std::to_string(batch) + " H" + std::to_string(hidden));
            const Graph graph = Narrow(RecurrentGraph(test), type);
            const std::vector<Constant> free = {Random({4, batch, 9}, 7)};
            ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free), 1e-3F), 2);
          }
        }
      }
    }
  }
}

TEST(Conformance, RecurrentCellsAtTheirLimits) {
  for (const char* op : {"LSTM", "GRU"}) {
    SCOPED_TRACE(op);
    const RecurrentCase test{op, "forward", 2, kCount, 1, 17, false, false};
    Graph graph = RecurrentGraph(test);
    const int64_t rows = (std::string(op) == "LSTM" ? 4 : 3) * test.hidden;
    const std::vector<float> ones(static_cast<size_t>(rows), 1.0F);
    graph.nodes[0].inputs[1] = graph.AddConstant("ones", Constant::Of<float>({1, rows, 1}, ones));
    std::vector<float> steps(std::begin(kLimits), std::end(kLimits));
    steps.insert(steps.end(), std::rbegin(kLimits), std::rend(kLimits));
    const std::vector<Constant> free = {Constant::Of<float>({2, kCount, 1}, steps)};
    ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
  }
}

// A large state times a gate that is nearly shut.
TEST(Conformance, RecurrentCellsOfLargeStates) {
  for (const char* op : {"LSTM", "GRU"}) {
    SCOPED_TRACE(op);
    const RecurrentCase test{op, "forward", 1, 3, 1, 17, false, true};
    Graph graph = RecurrentGraph(test);
    const int64_t gates = std::string(op) == "LSTM" ? 4 : 3;
    std::vector<float> w(static_cast<size_t>(gates * test.hidden), -1.0F);
    graph.nodes[0].inputs[1] =
        graph.AddConstant("pull", Constant::Of<float>({1, gates * test.hidden, 1}, w));
    // No product of the large state with R: only the gate it goes through.
    const std::vector<float> r(static_cast<size_t>(gates * test.hidden * test.hidden), 0.0F);
    graph.nodes[0].inputs[2] =
        graph.AddConstant("r0", Constant::Of<float>({1, gates * test.hidden, test.hidden}, r));
    for (float large : {100.0F, 1e4F, -1e6F}) {
      const std::vector<float> state(static_cast<size_t>(3 * test.hidden), large);
      const ValueId s = graph.AddConstant("s", Constant::Of<float>({1, 3, test.hidden}, state));
      for (size_t i = 5; i < graph.nodes[0].inputs.size(); ++i) graph.nodes[0].inputs[i] = s;
      const std::vector<float> x = {13.0F, 9.0F, 17.0F};
      const std::vector<Constant> free = {Constant::Of<float>({1, 3, 1}, x)};
      ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
    }
  }
}

// A gate that is nearly shut lets a little through at every step.
TEST(Conformance, RecurrentCellsOverManySteps) {
  const RecurrentCase test{"LSTM", "forward", 2000, 1, 1, 17, true, false};
  for (float input_gate : {-16.93F, -25.0F}) {
    SCOPED_TRACE(input_gate);
    Graph graph = RecurrentGraph(test);
    const int64_t rows = 4 * test.hidden;
    const std::vector<float> none(static_cast<size_t>(rows * test.hidden), 0.0F);
    graph.nodes[0].inputs[2] =
        graph.AddConstant("r0", Constant::Of<float>({1, rows, test.hidden}, none));
    std::vector<float> bias(static_cast<size_t>(2 * rows), 0.0F);
    for (int64_t i = 0; i < test.hidden; ++i) {
      bias[static_cast<size_t>(i)] = input_gate;
      bias[static_cast<size_t>(2 * test.hidden + i)] = 30.0F;  // forgets nothing
      bias[static_cast<size_t>(3 * test.hidden + i)] = 20.0F;
    }
    graph.nodes[0].inputs[3] = graph.AddConstant("gates", Constant::Of<float>({1, 2 * rows}, bias));
    const std::vector<float> x(static_cast<size_t>(test.steps), 0.0F);
    const std::vector<Constant> free = {Constant::Of<float>({test.steps, 1, 1}, x)};
    ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
  }
}

// A state of zeros takes a shortcut, for a whole batch only.
TEST(Conformance, RecurrentRowsDoNotDependOnTheirBatch) {
  constexpr int64_t kHidden = 20;
  for (const char* op : {"LSTM", "GRU"}) {
    SCOPED_TRACE(op);
    Graph graph = RecurrentGraph({op, "forward", 1, 2, 9, kHidden, true, true});
    std::vector<float> state(2 * kHidden, 0.0F);
    std::fill(state.begin() + kHidden, state.end(), 0.5F);
    graph.nodes[0].inputs[5] = graph.AddConstant("h", Constant::Of<float>({1, 2, kHidden}, state));
    Graph first = RecurrentGraph({op, "forward", 1, 1, 9, kHidden, true, true});
    first.nodes[0].inputs[5] = first.AddConstant(
        "h", Constant::Of<float>({1, 1, kHidden}, std::span(state).first(kHidden)));
    const std::vector<Constant> both = {Random({1, 2, 9}, 7)};
    std::vector<Constant> alone = both;
    alone[0].shape = Shape{1, 1, 9};
    for (const Backend* backend : AllBackends()) {
      for (const Tactic* tactic : backend->candidates(op)) {
        const auto together = RunTactic(*tactic, graph, NodeInputs(graph, both));
        const auto single = RunTactic(*tactic, first, NodeInputs(first, alone));
        EXPECT_EQ(std::memcmp(together[0].data, single[0].data, kHidden * sizeof(float)), 0)
            << tactic->id;
      }
    }
  }
}

TEST(Conformance, RecurrentTacticsDeclineWhatTheyDoNotCompute) {
  Graph graph = RecurrentGraph({"LSTM", "forward", 4, 1, 9, 8, true, false});
  graph.nodes[0].attributes["clip"] = 3.0F;
  const std::vector<Constant> free = {Random({4, 1, 9}, 7)};
  EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 1) << "the reference kernel only";

  Graph infinite = RecurrentGraph({"LSTM", "forward", 1, 1, 9, 1, true, false});
  const std::vector<float> r = {0.5F, kInfinity, 0.5F, 0.5F};
  infinite.nodes[0].inputs[2] = infinite.AddConstant("inf", Constant::Of<float>({1, 4, 1}, r));
  const std::vector<Constant> step = {Random({1, 1, 9}, 7)};
  EXPECT_EQ(CheckAllTactics(infinite, NodeInputs(infinite, step)), 1) << "0 * inf is not 0";
}

Graph QuantizedGemmGraph(int64_t k, int64_t n, int64_t zero_point, bool bias,
                         const std::string& activation) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("M"), k});
  std::mt19937 random(7);
  std::vector<int8_t> weights(static_cast<size_t>(k * n));
  for (int8_t& weight : weights) weight = static_cast<int8_t>(random() % 256 - 128);
  Node node{.name = "gemm", .op = "QuantizedGemm", .inputs = {x}};
  node.inputs.push_back(graph.AddConstant("w", Constant::Of<int8_t>(Shape{k, n}, weights)));
  const float scale = 0.02F;
  node.inputs.push_back(
      graph.AddConstant("scale", Constant::Of<float>(Shape{}, std::span(&scale, 1))));
  node.inputs.push_back(graph.AddConstant("scales", Random({n}, 2, 0.01F)));
  if (bias) node.inputs.push_back(graph.AddConstant("b", Random({n}, 3)));
  node.outputs = {graph.AddValue("y", DataType::kFloat32, Shape{})};
  node.attributes["zero_point"] = zero_point;
  node.attributes["activation"] = activation;
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

/// Random rows with what is hard to round: the middle between two quanta, infinities, NaN.
Constant HardToQuantize(int64_t m, int64_t k) {
  Constant x = Random({m, k}, 5, 3.0F);
  float* const values = const_cast<float*>(x.view().as<const float>().data());
  for (int64_t i = 0; i < m * k; i += 3) values[i] = 0.02F * (static_cast<float>(i % 199) - 99.5F);
  const float odd[] = {kInfinity, -kInfinity, NAN, 1e30F, -1e-30F, 0.0F};
  for (int64_t i = 0; i < m * k; ++i) {
    if (i % 11 == 10) values[i] = odd[static_cast<size_t>(i) / 11 % std::size(odd)];
  }
  return x;
}

TEST(Conformance, QuantizedGemmIsTheReferenceToTheBit) {
  for (int64_t m : {1, 2, 3, 4, 5, 7, 16, 17, 33}) {
    for (int64_t k : {1, 3, 4, 63, 64, 65, 100, 257}) {
      for (int64_t n : {1, 7, 16, 17, 40, 64, 70, 130}) {
        const int64_t zero_point = k % 2 == 0 ? 128 : k == 1 ? 0 : 255;
        const Graph graph = QuantizedGemmGraph(k, n, zero_point, m != 2, n % 2 == 0 ? "" : "Relu");
        SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n));
        const std::vector<Constant> free = {HardToQuantize(m, k)};
        const auto inputs = NodeInputs(graph, free);
        const auto want = EvaluateNode(graph.nodes[0], inputs);
        ASSERT_TRUE(want.ok()) << want.status().ToString();
        for (const Tactic* tactic : CandidatesOf(graph)) {
          const auto got = RunTactic(*tactic, graph, inputs);
          ASSERT_EQ(0, std::memcmp((*want)[0].data, got[0].data,
                                   static_cast<size_t>(m * n) * sizeof(float)))
              << tactic->id;
        }
      }
    }
  }
}

TEST(Conformance, QuantizedGemmActivations) {
  for (const char* activation : {"LeakyRelu", "Sigmoid", "Tanh", "Gelu", "Silu", "Elu"}) {
    SCOPED_TRACE(activation);
    const Graph graph = QuantizedGemmGraph(30, 37, 128, true, activation);
    const std::vector<Constant> free = {Random({5, 30}, 9, 2.0F)};
    EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
  }
}

TEST(Conformance, QuantizedGemmDeclinesAScaleThatHasNoReciprocal) {
  Graph graph = QuantizedGemmGraph(4, 4, 128, true, "");
  const float tiny = 1e-40F;
  graph.nodes[0].inputs[2] =
      graph.AddConstant("tiny", Constant::Of<float>(Shape{}, std::span(&tiny, 1)));
  EXPECT_TRUE(CandidatesOf(graph).size() == 1 && CandidatesOf(graph)[0]->id == "reference");
}

/// Rows and weights are of one type; random numbers are rounded.
template <typename Half>
Graph HalfGemmGraph(int64_t k, int64_t n, bool bias, const std::string& activation) {
  Graph graph = GemmGraph(k, n, bias, activation);
  const Constant weights = Random({k, n}, 2, 0.3F);
  std::vector<Half> rounded;
  for (float value : weights.view().as<const float>()) rounded.push_back(Half::Of(value));
  graph.nodes[0].op = "HalfGemm";
  graph.nodes[0].inputs[1] = graph.AddConstant("half", Constant::Of<Half>({k, n}, rounded));
  return graph;
}

TEST(Conformance, HalfGemmShapes) {
  for (int64_t m : {1, 2, 5, 13, 33}) {
    for (int64_t k : {1, 3, 32, 67, 300}) {
      for (int64_t n : {1, 16, 17, 64, 130}) {
        SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n));
        const bool bias = (m + n) % 2 == 0;
        const std::vector<Constant> free = {Random({m, k}, 7)};
        for (const Graph& graph : {HalfGemmGraph<BFloat16>(k, n, bias, ""),
                                   HalfGemmGraph<Float16>(k, n, bias, "Relu")}) {
          ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
        }
      }
    }
  }
}

TEST(Conformance, HalfGemmActivations) {
  for (const char* activation : {"LeakyRelu", "Sigmoid", "Tanh", "Gelu", "Silu", "Elu"}) {
    SCOPED_TRACE(activation);
    const Graph graph = HalfGemmGraph<BFloat16>(30, 37, true, activation);
    const std::vector<Constant> free = {Random({2, 3, 30}, 9, 2.0F)};
    EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
    const std::vector<Constant> empty = {Random({0, 30}, 9)};
    EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, empty)), 2);
  }
}

TEST(Conformance, HalfGemmAtTheLimits) {
  const std::vector<Constant> free = {Constant::Of<float>({kCount, 1}, std::span(kLimits))};
  for (Graph graph : {HalfGemmGraph<BFloat16>(1, 17, false, "Relu"),
                      HalfGemmGraph<Float16>(1, 17, false, "Relu")}) {
    EXPECT_EQ(CheckAllTactics(graph, NodeInputs(graph, free)), 2);
  }
}

TEST(Conformance, HalfGemmRowsDoNotDependOnTheirBatch) {
  for (const auto& [k, n] : {std::pair{77, 1}, {77, 200}, {300, 70}}) {
    const Constant batch = Random({37, k}, 7);
    for (const Graph& graph : {HalfGemmGraph<BFloat16>(k, n, true, "Silu"),
                               HalfGemmGraph<Float16>(k, n, true, "Silu")}) {
      for (const Tactic* tactic : CandidatesOf(graph)) {
        const auto whole = RunTactic(*tactic, graph, NodeInputs(graph, std::span(&batch, 1)));
        for (int64_t row = 0; row < 37; ++row) {
          std::vector<Constant> single = {batch};
          single[0].shape = Shape{1, k};
          single[0].data = static_cast<const float*>(batch.data) + row * k;
          const auto alone = RunTactic(*tactic, graph, NodeInputs(graph, single));
          EXPECT_EQ(std::memcmp(alone[0].data, static_cast<const float*>(whole[0].data) + row * n,
                                static_cast<size_t>(n) * sizeof(float)),
                    0)
              << tactic->id << " row " << row;
        }
      }
    }
  }
}

TEST(Conformance, HalfGemmDeclinesWeightsThatAreNoConstants) {
  Graph graph = HalfGemmGraph<BFloat16>(4, 4, true, "");
  graph.nodes[0].inputs[1] = graph.AddInput("w16", DataType::kBFloat16, {4, 4});
  ASSERT_EQ(CandidatesOf(graph).size(), 1u);
  EXPECT_EQ(CandidatesOf(graph)[0]->id, "reference");
}

// The runs of this suite on lower instruction sets must not be runs on the best one.
TEST(Isa, IsTheOneAskedForOrTheBest) {
  const cpu::Isa hardware = cpu::HardwareIsa();
  const char* asked = std::getenv("VERDICT_CPU_ISA");
  const std::string wanted(asked == nullptr ? cpu::IsaName(hardware) : asked);
  const auto level = cpu::ParseIsa(wanted);
  ASSERT_TRUE(level.has_value());
  if (*level > hardware) {
    GTEST_SKIP() << "this processor has no " << wanted << ", only " << cpu::IsaName(hardware);
  }
  EXPECT_EQ(cpu::IsaName(cpu::CurrentIsa()), wanted);
  // Plans are the same for all levels from AVX-512 on.
  EXPECT_EQ(TargetFingerprint(),
            "cpu:" + std::string(cpu::IsaName(std::min(*level, cpu::Isa::kAvx512))));
}

TEST(Isa, NamesAreParsed) {
  for (cpu::Isa level : {cpu::Isa::kBaseline, cpu::Isa::kAvx2, cpu::Isa::kAvx512,
                         cpu::Isa::kAvx512Vnni, cpu::Isa::kAvx512Bf16, cpu::Isa::kAmx}) {
    EXPECT_EQ(cpu::ParseIsa(cpu::IsaName(level)), level);
  }
  for (const char* other : {"", "AVX2", "avx", "avx22"}) {
    EXPECT_EQ(cpu::ParseIsa(other), std::nullopt) << other;
  }
}

TEST(IsaDeathTest, MisspeltValueIsSaidOnceAndTheBestIsTaken) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fresh process: nothing is decided yet
  EXPECT_EXIT(
      {
        ::setenv("VERDICT_CPU_ISA", "avx-2", 1);
        const bool best = cpu::CurrentIsa() == cpu::HardwareIsa();
        std::exit(best && cpu::CurrentIsa() == cpu::HardwareIsa() ? 0 : 1);
      },
      testing::ExitedWithCode(0),
      "^verdict: VERDICT_CPU_ISA=avx-2 is ignored: it is none of baseline, avx2, avx512, "
      "avx512_vnni, avx512_bf16, amx\n$");
}

TEST(Registry, ReferenceComesLastAndHasEveryOperator) {
  EXPECT_EQ(AllBackends().back()->name, "reference");
  for (const OpDef* op : AllOps()) {
    EXPECT_EQ(AllBackends().back()->candidates(op->name).size(), 1u) << op->name;
  }
  EXPECT_EQ(FindTactic("FusedGemm", "no/such"), nullptr);
}

}  // namespace
}  // namespace verdict
