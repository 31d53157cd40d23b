// Which operators have layers in TensorRT, without a device.
#include "backends/tensorrt/builders.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "backends/tensorrt/network_cases_test.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

/// Operators that deliberately have no layers, with the reason: a new operator is a decision.
const std::map<std::string_view, std::string_view> kWithoutLayers = {
    {"CumSum", "TensorRT has no cumulative sums below 10"},
    {"EyeLike", "constant folding leaves none where the shape is known"},
    {"HalfGemm", "plan/lower.h makes it, and a device sees the graph before"},
    {"Hardmax", "no model has needed it"},
    {"LabelEncoder", "a look-up by key"},
    {"NonZero", "the shape of its output depends on the data"},
    {"QuantizedGRU", "plan/lower.h makes it, and a device sees the graph before"},
    {"QuantizedGemm", "plan/lower.h makes it, and a device sees the graph before"},
    {"QuantizedLSTM", "plan/lower.h makes it, and a device sees the graph before"},
    {"ReverseSequence", "TensorRT has no layer for it below 8.6"},
    {"ScatterElements", "indices out of range would write elsewhere"},
    {"ScatterND", "indices out of range would write elsewhere"},
    {"TreeEnsemble", "our kernels walk trees, leaf-exact"},
};

std::vector<NetworkCase> AllCases() {
  std::vector<NetworkCase> all;
  for (const auto& cases : {ElementwiseCases(), MovementCases(), FeatureCases(), LayerCases(),
                            RecurrentCases(), QuantizedCases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

TEST(TensorRtBuilders, EveryOperatorHasLayersOrAReason) {
  for (const OpDef* op : AllOps()) {
    const bool has_layers = FindBuilder(op->name) != nullptr;
    const bool has_reason = kWithoutLayers.contains(op->name);
    EXPECT_NE(has_layers, has_reason)
        << op->name
        << (has_layers ? " has layers and a reason to have none"
                       : " has no layers: write a builder, or say here why not");
  }
  for (const auto& [op, reason] : kWithoutLayers) {
    EXPECT_NE(FindOp(op), nullptr) << op << " is no operator any more";
  }
}

TEST(TensorRtBuilders, EveryBuilderHasACaseForTheDevice) {
  std::set<std::string> ops;
  for (const NetworkCase& each : AllCases()) {
    for (const CaseNode& node : each.nodes) ops.insert(node.op);
  }
  for (const OpDef* op : AllOps()) {
    if (FindBuilder(op->name) == nullptr) continue;
    EXPECT_TRUE(ops.contains(std::string(op->name))) << op->name;
  }
}

/// Cases that this TensorRT declines, by name.
const std::set<std::string> kDeclined = {};

TEST(TensorRtBuilders, SupportTheCasesOfTheDevice) {
  for (const NetworkCase& each : AllCases()) {
    Graph graph;
    AddCase(each, "", graph);
    const Status inferred = InferShapes(graph);
    ASSERT_TRUE(inferred.ok()) << each.name << ": " << inferred.ToString();
    std::vector<TensorView> inputs;
    for (const CaseInput& input : each.inputs) {
      if (input.kind == CaseInput::kFree) inputs.push_back(input.value.view());
    }
    const auto outputs = Evaluate(graph, inputs);
    EXPECT_TRUE(outputs.ok()) << each.name << ": " << outputs.status().ToString();
    std::string declined;
    for (const Node& node : graph.nodes) {
      const Status status = SupportsNode(graph, node);
      if (!status.ok()) declined += node.op + ": " + status.message() + " ";
    }
    if (kDeclined.contains(each.name)) {
      EXPECT_NE(declined, "") << each.name << " is supported now";
    } else {
      EXPECT_EQ(declined, "") << each.name;
    }
  }
}

}  // namespace
}  // namespace verdict::tensorrt
