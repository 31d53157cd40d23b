#include "onnx/export_table.h"
#include "onnx/proto.h"

// Scores and labels of classifiers, by standard operators (ops/README.md has the rules).

namespace verdict {
namespace {

/// The transformed scores [N, columns] to output `output`.
Status EmitPostTransform(NodeExport& node, const std::string& scores, Dim columns,
                         const std::string& output) {
  const std::string kind(node.reader().String("post_transform", "NONE"));
  if (kind == "NONE" || (columns == 1 && kind != "PROBIT")) {
    node.Emit("Identity", {scores}, {output});
    return OkStatus();
  }
  if (IsSymbol(columns)) return node.Unsupported("the number of its scores is not known");
  if (kind == "SOFTMAX") {
    node.Emit("Softmax", {scores}, {output}, {{"axis", int64_t{-1}}});
    return OkStatus();
  }
  if (kind == "LOGISTIC") {
    node.Emit("Sigmoid", {scores}, {output});
    return OkStatus();
  }
  return node.Unsupported("the post_transform " + kind + " has no form in ai.onnx");
}

/// The second class where the one score is above the threshold: its index [N].
std::string EmitBinaryIndex(NodeExport& node) {
  const std::string threshold =
      node.AddNumber("threshold", node.reader().Float("label_threshold", 0));
  const std::string is_second = node.EmitValue("Greater", {node.Input(0), threshold});
  const std::string index =
      node.EmitValue("Cast", {is_second}, {{"to", int64_t{onnx::TensorProto::INT64}}});
  return node.EmitValue("Squeeze", {index, node.AddInts("column", {1})});
}

/// Both scores [N, 2] of the one, to output 1.
void EmitBinaryScores(NodeExport& node) {
  std::string second = node.Input(0);
  std::string first;
  if (node.reader().String("post_transform", "NONE") == "LOGISTIC") {
    first = node.EmitValue("Sigmoid", {node.EmitValue("Neg", {second})});
    second = node.EmitValue("Sigmoid", {second});
  } else if (node.reader().Int("complement", 0) != 0) {
    first = node.EmitValue("Sub", {node.AddNumber("one", 1), second});
  } else {
    first = node.EmitValue("Neg", {second});
  }
  node.Emit("Concat", {first, second}, {node.Output(1)}, {{"axis", int64_t{1}}});
}

}  // namespace

Status ExportClassifierOutput(NodeExport& node) {
  const Dim columns = node.input(0).shape[1];
  const Dim classes = node.input(1).shape[0];
  if (IsSymbol(columns) || IsSymbol(classes)) {
    return node.Unsupported("the number of its scores is not known");
  }
  const bool one_of_two = columns == 1 && classes == 2;
  if (node.has_output(0)) {
    const std::string index =
        one_of_two ? EmitBinaryIndex(node)
                   : node.EmitValue("ArgMax", {node.Input(0)},
                                    {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
    node.EmitOutput("Gather", {node.Input(1), index});
  }
  if (!node.has_output(1)) return OkStatus();
  if (!one_of_two) return EmitPostTransform(node, node.Input(0), columns, node.Output(1));
  EmitBinaryScores(node);
  return OkStatus();
}

Status ExportPostTransform(NodeExport& node) {
  return EmitPostTransform(node, node.Input(0), node.input(0).shape[1], node.Output(0));
}

}  // namespace verdict
