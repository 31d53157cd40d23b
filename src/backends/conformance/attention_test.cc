// Attention's tactics against the reference kernel: shapes that touch the edges of blocks and
// vectors, masks of every form, rows of which everything is hidden.
#include "backends/conformance/one_node_test.h"

namespace verdict {
namespace {

struct Problem {
  int64_t batch = 2, heads = 2, kv_heads = 2, queries = 3, keys = 3, size = 4, value_size = 4;
  bool heads_inside = true;
};

std::string Text(const Problem& p) {
  std::string text = p.heads_inside ? "3-D" : "4-D";
  for (int64_t n : {p.batch, p.heads, p.kv_heads, p.queries, p.keys, p.size, p.value_size}) {
    text += " " + std::to_string(n);
  }
  return text;
}

Constant RandomHeads(const Problem& p, int64_t heads, int64_t length, int64_t size, uint32_t seed) {
  return p.heads_inside ? Random({p.batch, length, heads * size}, seed, 2.0F)
                        : Random({p.batch, heads, length, size}, seed, 2.0F);
}

/// The node's inputs that are tensors.
std::vector<Constant> Inputs(const Problem& p, const Constant* mask = nullptr) {
  std::vector<Constant> inputs = {RandomHeads(p, p.heads, p.queries, p.size, 1),
                                  RandomHeads(p, p.kv_heads, p.keys, p.size, 2),
                                  RandomHeads(p, p.kv_heads, p.keys, p.value_size, 3)};
  if (mask != nullptr) inputs.push_back(*mask);
  return inputs;
}

Graph AttentionGraph(const Problem& p, std::span<const Constant> inputs, Attributes attributes) {
  Graph graph;
  Node node{.name = "attention", .op = "Attention", .attributes = std::move(attributes)};
  for (const Constant& input : inputs) {
    const std::string name = "x" + std::to_string(node.inputs.size());
    node.inputs.push_back(graph.AddInput(name, input.dtype, input.shape));
  }
  if (p.heads_inside) {
    node.attributes["q_num_heads"] = p.heads;
    node.attributes["kv_num_heads"] = p.kv_heads;
  }
  node.outputs = {graph.AddValue("y", DataType::kFloat32, Shape{})};
  graph.outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  return graph;
}

void Check(const Problem& p, const Constant* mask = nullptr, const Attributes& attributes = {}) {
  SCOPED_TRACE(Text(p));
  const std::vector<Constant> inputs = Inputs(p, mask);
  const Graph graph = AttentionGraph(p, inputs, attributes);
  ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, inputs)), 2);
}

/// Of every sample the last keys are hidden, of the last sample all.
Constant KeyPadding(int64_t batch, int64_t keys, float hidden) {
  std::vector<float> mask(static_cast<size_t>(batch * keys));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t shown = b + 1 == batch ? 0 : std::max<int64_t>(keys - 3 * b, 1);
    for (int64_t key = shown; key < keys; ++key) mask[static_cast<size_t>(b * keys + key)] = hidden;
  }
  return Constant::Of<float>(Shape{batch, 1, 1, keys}, mask);
}

Constant RandomBools(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  auto [mask, data] = Constant::Allocate(DataType::kBool, shape);
  for (int64_t i = 0; i < mask.view().size(); ++i) static_cast<bool*>(data)[i] = random() % 3 != 0;
  return mask;
}

TEST(AttentionConformance, Shapes) {
  for (int64_t queries : {1, 2, 6, 23, 24, 25, 64}) {
    for (int64_t keys : {1, 2, 15, 16, 17, 64, 65, 130, 300}) {
      for (int64_t size : {1, 7, 16, 32}) {
        const int64_t value_size = size == 7 ? 33 : size;
        Check({2, 3, 3, queries, keys, size, value_size, (queries + keys) % 2 == 0});
      }
    }
  }
}

TEST(AttentionConformance, QueryHeadsShareKeyHeads) {
  for (bool heads_inside : {false, true}) {
    Check({2, 6, 2, 5, 9, 8, 8, heads_inside});
    Check({1, 4, 1, 30, 20, 16, 16, heads_inside});
  }
}

TEST(AttentionConformance, KeyPaddingAndRowsThatItHidesAltogether) {
  for (float hidden : {-kInfinity, -1e9F, -1e30F, -5.0F}) {
    for (int64_t keys : {1, 8, 40, 128}) {
      for (int64_t mask_as_add : {0, 1}) {
        SCOPED_TRACE(hidden);
        const Constant mask = KeyPadding(4, keys, hidden);
        Check({4, 2, 2, 27, keys, 8, 8, keys != 8}, &mask, {{"mask_as_add", mask_as_add}});
      }
    }
  }
}

TEST(AttentionConformance, MasksOfEveryForm) {
  const Problem p{3, 2, 2, 26, 37, 8, 8, true};
  for (const Shape& shape : {Shape{37}, Shape{26, 37}, Shape{1, 37}, Shape{2, 1, 37},
                             Shape{3, 2, 26, 37}, Shape{3, 1, 26, 37}, Shape{1, 2, 1, 37}}) {
    for (int64_t mask_as_add : {0, 1}) {
      const Constant floats = Random(shape, 5, 4.0F), bools = RandomBools(shape, 6);
      Check(p, &floats, {{"mask_as_add", mask_as_add}});
      Check(p, &bools, {{"mask_as_add", mask_as_add}});
    }
  }
  // Of fewer keys: the rest is hidden, or one stands for all.
  for (const Shape& shape : {Shape{20}, Shape{3, 1, 26, 1}}) {
    const Constant floats = Random(shape, 5, 4.0F), bools = RandomBools(shape, 6);
    Check(p, &floats);
    Check(p, &bools);
  }
  const Constant one = Random({3, 1, 26, 1}, 5, 4.0F);
  Check(p, &one, {{"mask_as_add", int64_t{1}}});
}

TEST(AttentionConformance, CausalAndScale) {
  for (int64_t keys : {1, 10, 30, 50}) {
    const Constant mask = KeyPadding(2, keys, -kInfinity);
    Check({2, 2, 2, 30, keys, 8, 8, true}, nullptr, {{"is_causal", int64_t{1}}});
    Check({2, 2, 2, 30, keys, 8, 8, true}, &mask, {{"is_causal", int64_t{1}}, {"scale", 0.3F}});
  }
}

TEST(AttentionConformance, LargeScoresInfinitiesAndNan) {
  const Problem p{1, 1, 1, 5, 20, 4, 4, true};
  for (float odd : {1e4F, -1e4F, 1e30F, kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    SCOPED_TRACE(odd);
    std::vector<Constant> inputs = Inputs(p);
    std::vector<float> q(20, 0.5F);
    q[5] = odd;
    inputs[0] = Constant::Of<float>(Shape{1, 5, 4}, q);
    const Graph graph = AttentionGraph(p, inputs, {});
    ASSERT_EQ(CheckAllTactics(graph, NodeInputs(graph, inputs)), 2);
  }
}

TEST(AttentionConformance, NothingToDo) {
  Check({0, 2, 2, 3, 3, 4, 4, true});
  Check({2, 2, 2, 0, 3, 4, 4, true});
  Check({2, 2, 2, 3, 0, 4, 4, true});
  Check({2, 2, 2, 3, 3, 4, 0, false});
}

TEST(AttentionConformance, RowsDoNotDependOnTheirBatch) {
  const Problem p{5, 4, 4, 50, 50, 8, 8, true};
  const Constant mask = KeyPadding(5, 50, -1e9F);
  const std::vector<Constant> inputs = Inputs(p, &mask);
  const Graph graph = AttentionGraph(p, inputs, {});
  for (const Tactic* tactic : CandidatesOf(graph)) {
    const auto whole = RunTactic(*tactic, graph, NodeInputs(graph, inputs));
    const int64_t floats = whole[0].view().size() / p.batch;
    for (int64_t sample = 0; sample < p.batch; ++sample) {
      std::vector<Constant> single = inputs;
      for (Constant& input : single) {
        input.shape[0] = 1;
        input.data = static_cast<const float*>(input.data) + sample * input.view().size();
      }
      const auto alone = RunTactic(*tactic, graph, NodeInputs(graph, single));
      EXPECT_EQ(
          std::memcmp(alone[0].data, static_cast<const float*>(whole[0].data) + sample * floats,
                      static_cast<size_t>(floats) * sizeof(float)),
          0)
          << tactic->id << " sample " << sample;
    }
  }
}

TEST(AttentionConformance, DeclinesWhatItDoesNotCompute) {
  const Problem p;
  const std::vector<Constant> inputs = Inputs(p);
  const Graph capped = AttentionGraph(p, inputs, {{"softcap", 2.0F}});
  EXPECT_EQ(CheckAllTactics(capped, NodeInputs(capped, inputs)), 1) << "the reference kernel only";
}

}  // namespace
}  // namespace verdict
