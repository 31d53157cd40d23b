#pragma once

// Runs one node on every tactic and on the reference kernel, for the suites of this folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "backends/planner.h"
#include "backends/registry.h"
#include "ops/evaluate.h"
#include "ops/infer.h"

namespace verdict {

inline constexpr double kTolerance = 1e-5;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline Constant Random(const Shape& shape, uint32_t seed, float scale = 1.0F) {
  std::mt19937 random(seed);
  auto [constant, data] = Constant::Allocate(DataType::kFloat32, shape);
  for (int64_t i = 0; i < constant.view().size(); ++i) {
    static_cast<float*>(data)[i] = scale * (static_cast<float>(random() % 20001) / 10000.0F - 1.0F);
  }
  return constant;
}

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

/// Equal to the tolerance; infinities and NaN in the same places.
inline void ExpectClose(const Constant& want, const Constant& got, float tolerance = kTolerance) {
  ASSERT_EQ(want.shape, got.shape);
  const auto a = want.view().as<const float>();
  const auto b = got.view().as<const float>();
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) {
      ASSERT_EQ(std::isnan(a[i]), std::isnan(b[i])) << "element " << i;
      if (std::isinf(a[i])) {
        ASSERT_EQ(a[i], b[i]) << "element " << i;
      }
      continue;
    }
    ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::fabs(a[i]))) << "element " << i;
  }
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

/// Every candidate of every backend against the reference kernel. Returns how many accepted.
inline int CheckAllTactics(const Graph& graph, std::span<const TensorView> inputs,
                           float tolerance = kTolerance) {
  const Node& node = graph.nodes[0];
  const auto want = EvaluateNode(node, inputs);
  EXPECT_TRUE(want.ok()) << want.status().ToString();
  int accepted = 0;
  for (const Tactic* tactic : CandidatesOf(graph)) {
    SCOPED_TRACE(std::string(tactic->id) + " on " + TargetFingerprint());
    const auto got = RunTactic(*tactic, graph, inputs);
    for (size_t i = 0; i < got.size(); ++i) {
      if (node.outputs[i] != kNoValue) ExpectClose((*want)[i], got[i], tolerance);
    }
    ++accepted;
  }
  return accepted;
}

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
