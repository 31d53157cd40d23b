#include "compile/pipeline.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "ops/infer.h"
#include "ops/verify.h"

namespace verdict {

std::span<const Pass* const> Pipeline() {
  static constexpr std::array kPipeline = {
      // First shrink what the importer made: later passes match on fewer shapes of graph.
      &kRemoveNoOps,
      &kFoldConstants,
      &kEliminateCommonSubexpressions,
      // Patterns of exporters, before anything takes their Add and Mul apart. Attention needs what
      // is folded of shapes: which extents of its mask are those of its scores.
      &kFuseGelu,
      &kFuseLayerNorm,
      &kFuseAttention,
      &kEliminateDeadCode,
      // Linear layers: name them, then move the scaling around them into their weights. A
      // BatchNormalization between two layers goes backwards where it can, since that needs no
      // guard against cancellation.
      &kFuseGemmBias,
      &kFoldBatchNorm,
      &kFoldScaler,
      // Last, because nothing folds into a layer that has its activation.
      &kFuseGemmActivation,
      // Constants that are no longer read must not reach the engine file.
      &kEliminateDeadCode,
  };
  return kPipeline;
}

namespace {

Status CheckNames(std::span<const std::string> disabled, std::span<const Pass* const> passes) {
  for (const std::string& name : disabled) {
    if (std::ranges::any_of(passes, [&](const Pass* pass) { return pass->name == name; })) {
      continue;
    }
    std::string known;
    for (const Pass* pass : passes) {
      if (known.find(pass->name) != std::string::npos) continue;
      known += "\n  " + std::string(pass->name) + ": " + std::string(pass->summary);
    }
    return InvalidArgument("--disable-pass: there is no pass '" + name + "'; the passes are" +
                           known);
  }
  return OkStatus();
}

/// The graph's outputs as they are now.
std::vector<Value> Outputs(const Graph& graph) {
  std::vector<Value> outputs;
  for (ValueId id : graph.outputs) outputs.push_back(graph.value(id));
  return outputs;
}

/// What callers of the model rely on: its outputs' number, names, types, ranks and fixed extents.
/// Symbols may have been renumbered, and are not compared.
Status CheckOutputs(const Graph& graph, std::span<const Value> expected) {
  if (graph.outputs.size() != expected.size()) {
    return Internal("the model has " + std::to_string(graph.outputs.size()) +
                    " outputs instead of " + std::to_string(expected.size()));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const Value& have = graph.value(graph.outputs[i]);
    const Value& want = expected[i];
    bool same_shape = have.shape.rank() == want.shape.rank();
    for (int axis = 0; same_shape && axis < want.shape.rank(); ++axis) {
      same_shape = IsSymbol(have.shape[axis]) || IsSymbol(want.shape[axis]) ||
                   have.shape[axis] == want.shape[axis];
    }
    if (have.name == want.name && have.dtype == want.dtype && same_shape) continue;
    const auto text = [](const Value& value) {
      return "'" + value.name + "' " + std::string(DataTypeName(value.dtype)) +
             ToString(value.shape);
    };
    return Internal("output " + std::to_string(i) + " is " + text(have) + " instead of " +
                    text(want));
  }
  return OkStatus();
}

Status Recheck(Graph& graph, std::span<const Value> outputs, std::string_view pass) {
  Status status = VerifyGraph(graph);
  if (status.ok()) status = InferShapes(graph);
  if (status.ok()) status = CheckOutputs(graph, outputs);
  if (status.ok()) return status;
  return Internal("pass " + std::string(pass) + " broke the graph (build with --disable-pass " +
                  std::string(pass) + " and report this): " + status.message());
}

}  // namespace

Result<std::vector<PassTiming>> RunPasses(Graph& graph, std::span<const std::string> disabled,
                                          std::span<const Pass* const> passes) {
  VERDICT_RETURN_IF_ERROR(CheckNames(disabled, passes));
  const std::vector<Value> outputs = Outputs(graph);
  std::vector<PassTiming> timings;
  for (const Pass* pass : passes) {
    if (std::ranges::count(disabled, pass->name) > 0) continue;
    PassTiming timing{.name = std::string(pass->name),
                      .nodes_before = static_cast<int>(graph.nodes.size())};
    const auto start = std::chrono::steady_clock::now();
    const auto changed = pass->run(graph);
    if (!changed.ok()) return changed.status().WithContext("pass " + timing.name);
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    if (*changed) VERDICT_RETURN_IF_ERROR(Recheck(graph, outputs, pass->name));
    timing.microseconds = elapsed.count();
    timing.nodes_after = static_cast<int>(graph.nodes.size());
    timings.push_back(std::move(timing));
  }
  return timings;
}

}  // namespace verdict
