#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "backends/registry.h"
#include "ops/infer.h"

namespace verdict {

/// Runs a tactic on one node whose first `num_free` inputs are given at run time; the rest are
/// constants.
inline std::vector<Constant> RunTactic(const Tactic& tactic, const Graph& graph,
                                       std::span<const TensorView> inputs) {
  const Node& node = graph.nodes[0];
  std::vector<TensorView> outputs(node.outputs.size());
  VERDICT_CHECK(InferNode(node, inputs, outputs, nullptr).ok());
  std::vector<Constant> results(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    auto [constant, data] = Constant::Allocate(outputs[i].dtype, outputs[i].shape);
    std::memset(data, 0xFF, ByteSize(outputs[i].dtype, outputs[i].shape).value());  // NaNs
    outputs[i].data = data;
    results[i] = std::move(constant);
  }
  const size_t scratch_bytes =
      tactic.scratch_bytes == nullptr ? 0 : tactic.scratch_bytes(node, inputs, outputs);
  auto [scratch, scratch_data] =
      Constant::Allocate(DataType::kUInt8, Shape{static_cast<int64_t>(scratch_bytes)});
  Constant packed_owner;
  std::span<const std::byte> packed;
  if (tactic.pack != nullptr) {
    const auto bytes = tactic.pack(graph, node);
    EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
    EXPECT_EQ(bytes->size(), tactic.packed_bytes(graph, node));
    auto [owner, data] =
        Constant::Allocate(DataType::kUInt8, Shape{static_cast<int64_t>(bytes->size())});
    std::ranges::copy(*bytes, static_cast<std::byte*>(data));
    packed = {static_cast<std::byte*>(data), bytes->size()};
    packed_owner = std::move(owner);
  }
  KernelContext context{
      node, inputs, outputs, {static_cast<std::byte*>(scratch_data), scratch_bytes}, packed};
  const Status status = tactic.run(context);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return results;
}

/// All that accept the graph's one node.
inline std::vector<const Tactic*> CandidatesOf(const Graph& graph) {
  std::vector<const Tactic*> accepting;
  for (const Backend* backend : AllBackends()) {
    if (!backend->available().ok()) continue;
    for (const Tactic* tactic : backend->candidates(graph.nodes[0].op)) {
      if (tactic->accepts(graph, graph.nodes[0]).ok()) accepting.push_back(tactic);
    }
  }
  return accepting;
}

/// The node's inputs: its constants, and those of `free` in their order.
inline std::vector<TensorView> NodeInputs(const Graph& graph, std::span<const Constant> free) {
  std::vector<TensorView> inputs;
  size_t next = 0;
  for (ValueId id : graph.nodes[0].inputs) {
    if (id == kNoValue) {
      inputs.emplace_back();
    } else if (const Constant* constant = graph.constant(id)) {
      inputs.push_back(constant->view());
    } else {
      inputs.push_back(free[next++].view());
    }
  }
  return inputs;
}

}  // namespace verdict
