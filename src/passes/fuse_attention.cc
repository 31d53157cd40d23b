#include <algorithm>
#include <array>
#include <cmath>

#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// A fill of Where that hides a key: what is at least this low leaves no weight beside a key that
/// is seen, for scores of any model that works.
constexpr double kHidingFill = -1e4;
/// In its place as a term to add: low enough that scores vanish beside it, as they do behind a
/// fill, so that a row of which everything is hidden still gives equal weights.
constexpr double kHidingTerm = -1e30;

bool IsTranspose(const Node* node, std::initializer_list<int64_t> perm) {
  return node != nullptr && node->op == "Transpose" &&
         std::ranges::equal(AttributeReader(*node).Ints("perm"), perm);
}

/// Q, K or V in the forms in which the graph has it; kNoValue where it has not.
struct Heads {
  ValueId four = kNoValue;    // [batch, heads, length, size]
  ValueId inside = kNoValue;  // [batch, length, heads, size]
  ValueId three = kNoValue;   // [batch, length, heads * size]
  Dim batch = 0, heads = 0, length = 0, size = 0;
};

class Matcher {
 public:
  Matcher(Graph& graph, Uses& uses) : graph_(graph), uses_(uses) {}

  /// Rewrites weights(q, k, mask) * v at `index` if that is what it is.
  bool Rewrite(size_t index);

 private:
  /// What reads nothing but the pattern and is read by nothing else.
  const Node* Link(ValueId id) {
    const Node* node = uses_.HasSingleUse(id) ? uses_.Producer(id) : nullptr;
    if (node != nullptr) chain_.push_back(node);
    return node;
  }

  const Shape& ShapeOf(ValueId id) const { return graph_.value(id).shape; }

  bool MatchSoftmax(ValueId weights);
  bool MatchMask(const Node& node);
  bool MatchScores(ValueId id);
  ValueId StripScale(ValueId id, bool in_chain);
  bool MatchKeys(ValueId turned);
  bool FitsScores(const Shape& mask) const;
  ValueId BehindReshapes(ValueId id) const;
  void FindForms(Heads& heads) const;
  void ReplaceWhere();
  bool TurnKeys();
  void Write(Node& node, bool inside);

  Graph& graph_;
  Uses& uses_;

  // Of the match at hand.
  std::vector<const Node*> chain_;  // dropped if it is one
  Heads q_, k_, v_;
  ValueId turned_ = kNoValue;  // K as the product reads it
  double scale_ = 1;
  ValueId mask_ = kNoValue;
  const Node* where_ = nullptr;  // replaced by the mask's term
};

/// The operand of Mul or Div by a number, whose factor goes into the scale; else `id` itself.
ValueId Matcher::StripScale(ValueId id, bool in_chain) {
  const Node* node = uses_.Producer(id);
  if (node == nullptr || (node->op != "Mul" && node->op != "Div")) return id;
  if (in_chain && !uses_.HasSingleUse(id)) return id;
  for (size_t side = 0; side < (node->op == "Mul" ? 2U : 1U); ++side) {
    const auto number = ScalarConstant(graph_, node->inputs[1 - side]);
    const ValueId operand = node->inputs[side];
    if (!number || *number == 0 || !(ShapeOf(operand) == ShapeOf(id))) continue;
    scale_ *= node->op == "Mul" ? *number : 1 / *number;
    if (in_chain) chain_.push_back(node);
    return operand;
  }
  return id;
}

/// Finds q_ and k_ in scale * Q K^T.
bool Matcher::MatchScores(ValueId id) {
  const Node* product = Link(StripScale(id, true));
  if (product == nullptr || product->op != "MatMul") return false;
  q_ = {.four = StripScale(product->inputs[0], false)};
  turned_ = StripScale(product->inputs[1], true);
  return MatchKeys(turned_);
}

/// K from K^T [batch, heads, size, length].
bool Matcher::MatchKeys(ValueId turned) {
  const Node* node = uses_.Producer(turned);
  if (IsTranspose(node, {0, 1, 3, 2})) {
    k_ = {.four = node->inputs[0]};
    return true;
  }
  if (IsTranspose(node, {0, 2, 3, 1})) {
    k_ = {.inside = node->inputs[0]};
    return true;
  }
  // PyTorch joins the first two axes, swaps the last two and takes the first apart again.
  if (node == nullptr || node->op != "Reshape") return false;
  const Node* swap = uses_.Producer(node->inputs[0]);
  if (!IsTranspose(swap, {0, 2, 1})) return false;
  const Node* join = uses_.Producer(swap->inputs[0]);
  if (join == nullptr || join->op != "Reshape") return false;
  const Shape& four = ShapeOf(join->inputs[0]);
  const Shape& three = ShapeOf(swap->inputs[0]);
  if (four.rank() != 4 || three[1] != four[2] || three[2] != four[3] ||
      !(ShapeOf(turned) == Shape{four[0], four[1], four[3], four[2]})) {
    return false;
  }
  k_ = {.four = join->inputs[0]};
  return true;
}

/// Add of a mask, or Where with a fill that hides. Which of Add's operands the scores are shows in
/// what makes them.
bool Matcher::MatchMask(const Node& node) {
  const size_t links = chain_.size();
  const auto attempt = [&](size_t scores, ValueId mask) {
    chain_.resize(links);
    scale_ = 1;
    mask_ = mask;
    return MatchScores(node.inputs[scores]);
  };
  if (node.op == "Add") {
    return attempt(0, node.inputs[1]) || attempt(1, node.inputs[0]);
  }
  if (node.op != "Where") return false;
  where_ = &node;
  for (size_t fill : {size_t{1}, size_t{2}}) {
    const auto number = ScalarConstant(graph_, node.inputs[fill]);
    if (number && *number <= kHidingFill) return attempt(3 - fill, node.inputs[0]);
  }
  return false;
}

bool Matcher::MatchSoftmax(ValueId weights) {
  const Node* softmax = Link(weights);
  if (softmax == nullptr || softmax->op != "Softmax") return false;
  const int64_t axis = AttributeReader(*softmax).Int("axis", -1);
  if (axis != -1 && axis != 3) return false;
  const ValueId logits = softmax->inputs[0];
  const Node* last = uses_.HasSingleUse(logits) ? uses_.Producer(logits) : nullptr;
  if (last == nullptr) return false;
  if (last->op != "Add" && last->op != "Where") return MatchScores(logits);
  chain_.push_back(last);
  return MatchMask(*last);
}

/// Completes the forms, and the extents; the batch is 0 where there are none.
void Matcher::FindForms(Heads& heads) const {
  if (heads.four != kNoValue && heads.inside == kNoValue) {
    const Node* turn = uses_.Producer(heads.four);
    if (IsTranspose(turn, {0, 2, 1, 3})) heads.inside = turn->inputs[0];
  }
  const ValueId known = heads.four != kNoValue ? heads.four : heads.inside;
  const Shape& shape = ShapeOf(known);
  if (shape.rank() != 4 || graph_.value(known).dtype != DataType::kFloat32) return;
  const bool is_four = heads.four != kNoValue;
  heads.batch = shape[0];
  heads.heads = shape[is_four ? 1 : 2];
  heads.length = shape[is_four ? 2 : 1];
  heads.size = shape[3];
  if (heads.inside == kNoValue || IsSymbol(heads.heads) || IsSymbol(heads.size)) return;
  const Node* split = uses_.Producer(heads.inside);
  if (split == nullptr || split->op != "Reshape") return;
  if (ShapeOf(split->inputs[0]) == Shape{heads.batch, heads.length, heads.heads * heads.size}) {
    heads.three = split->inputs[0];
  }
}

/// True if the mask leaves the scores' shape as it is. Its keys need no look: what is neither 1 nor
/// K's length is an error with or without the rewrite.
bool Matcher::FitsScores(const Shape& mask) const {
  if (mask.rank() < 1 || mask.rank() > 4) return false;
  const Dim want[] = {q_.batch, q_.heads, q_.length};
  for (int i = 2; i <= mask.rank(); ++i) {
    const Dim have = mask[mask.rank() - i];
    if (have != 1 && have != want[4 - i]) return false;
  }
  return true;
}

/// What Reshapes there and back made `id` of, or `id`: all extents but one are the same, and so is
/// that one, which was lost on the way (PyTorch joins the mask's batch and heads and takes them
/// apart again).
ValueId Matcher::BehindReshapes(ValueId id) const {
  const Shape& shape = ShapeOf(id);
  ValueId found = id;
  const Node* node = uses_.Producer(id);
  while (node != nullptr && node->op == "Reshape") {
    const ValueId source = node->inputs[0];
    const Shape& other = ShapeOf(source);
    int same = 0;
    for (int i = 0; i < shape.rank() && shape.rank() == other.rank(); ++i) {
      same += other[i] == shape[i] && other[i] != 0 ? 1 : 0;
    }
    if (same >= shape.rank() - 1 && other.rank() == shape.rank()) found = source;
    node = uses_.Producer(source);
  }
  return found;
}

/// Where(hidden, fill, scores) becomes Where(hidden, term, 0), which is added to the scores.
void Matcher::ReplaceWhere() {
  Node& node = graph_.nodes[static_cast<size_t>(where_ - graph_.nodes.data())];
  const auto fill = ScalarConstant(graph_, node.inputs[1]);
  const bool fills_where_true = fill && *fill <= kHidingFill;
  const double low = *ScalarConstant(graph_, node.inputs[fills_where_true ? 1 : 2]);
  const std::array<double, 1> term = {std::isinf(low) ? low : kHidingTerm};
  const std::array<double, 1> none = {0};
  const ValueId hide = AddFloats(graph_, "hidden", Shape{}, term);
  const ValueId show = AddFloats(graph_, "shown", Shape{}, none);
  node.inputs = {node.inputs[0], fills_where_true ? hide : show, fills_where_true ? show : hide};
  mask_ = graph_.AddValue(graph_.value(node.outputs[0]).name + "/mask", DataType::kFloat32,
                          ShapeOf(node.inputs[0]));
  node.outputs = {mask_};
}

/// Makes k_.four where the graph only has K^T of it: K^T's Transpose turns it less.
bool Matcher::TurnKeys() {
  if (k_.four != kNoValue) return true;
  if (!uses_.HasSingleUse(turned_)) return false;
  Node& node = graph_.nodes[static_cast<size_t>(uses_.ProducerIndex(turned_))];
  k_.four = graph_.AddValue(graph_.value(turned_).name + "/heads", DataType::kFloat32,
                            Shape{k_.batch, k_.heads, k_.length, k_.size});
  node.attributes["perm"] = std::vector<int64_t>{0, 2, 1, 3};
  node.outputs = {k_.four};
  return true;
}

void Matcher::Write(Node& node, bool inside) {
  node.op = "Attention";
  node.inputs =
      inside ? std::vector{q_.three, k_.three, v_.three} : std::vector{q_.four, k_.four, v_.four};
  node.attributes = {{"scale", static_cast<float>(scale_)}};
  if (inside) {
    node.attributes["q_num_heads"] = q_.heads;
    node.attributes["kv_num_heads"] = q_.heads;
  }
  if (mask_ == kNoValue) return;
  node.inputs.push_back(mask_);
  node.attributes["mask_as_add"] = int64_t{1};
}

bool Matcher::Rewrite(size_t index) {
  const Node& product = graph_.nodes[index];
  if (product.op != "MatMul") return false;
  chain_.clear();
  scale_ = 1;
  mask_ = kNoValue;
  where_ = nullptr;
  if (!MatchSoftmax(product.inputs[0])) return false;
  v_ = {.four = product.inputs[1]};
  for (Heads* heads : {&q_, &k_, &v_}) {
    FindForms(*heads);
    if (heads->batch == 0) return false;
  }
  // A fill of more axes gives the result more axes, too.
  const std::array<double, 1> scale = {scale_};
  if (ShapeOf(product.outputs[0]).rank() != 4 || !FitFloat(scale)) return false;
  if (k_.batch != q_.batch || v_.batch != q_.batch || k_.heads != q_.heads ||
      v_.heads != q_.heads || k_.size != q_.size || v_.length != k_.length) {
    return false;
  }
  if (mask_ != kNoValue) {
    if (where_ == nullptr) mask_ = BehindReshapes(mask_);
    const bool is_term = where_ == nullptr;
    if (is_term && graph_.value(mask_).dtype != DataType::kFloat32) return false;
    if (!FitsScores(ShapeOf(mask_))) return false;
  }
  // With the heads inside, nothing need be turned, if the result is turned back and joined, too.
  const ValueId result = product.outputs[0];
  const Node* turn = uses_.OnlyReader(result);
  const Node* join = IsTranspose(turn, {0, 2, 1, 3}) ? uses_.OnlyReader(turn->outputs[0]) : nullptr;
  const bool inside = q_.three != kNoValue && k_.three != kNoValue && v_.three != kNoValue &&
                      join != nullptr && join->op == "Reshape" &&
                      ShapeOf(join->outputs[0]) == Shape{q_.batch, q_.length, v_.heads * v_.size};
  if (!inside && !TurnKeys()) return false;
  if (where_ != nullptr) ReplaceWhere();
  const auto node_at = [&](const Node* node) -> Node& {
    return graph_.nodes[static_cast<size_t>(node - graph_.nodes.data())];
  };
  for (const Node* node : chain_) {
    if (node != where_) Drop(node_at(node));
  }
  Write(inside ? node_at(join) : graph_.nodes[index], inside);
  if (inside) {
    Drop(node_at(turn));
    Drop(graph_.nodes[index]);
  }
  return true;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  Matcher matcher(graph, uses);
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    changed = matcher.Rewrite(index) || changed;
  }
  Sweep(graph);
  return changed;
}

}  // namespace

const Pass kFuseAttention = {
    .name = "fuse_attention",
    .summary = "scores, scale, mask, Softmax and the product with the values become Attention",
    .run = Run};

}  // namespace verdict
