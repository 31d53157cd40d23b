#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "backends/device/fake_device.h"
#include "compile/compile.h"
#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "runtime/engine.h"
#include "runtime/rebuild_plan.h"
#include "runtime/session.h"

namespace verdict {

// For tests: small engines with plans for a fake device.

constexpr char kDeviceMlp[] = R"(graph "mlp" {
  input %x: f32[N,6]
  const %w1: f32[6,20] = seed(1)
  const %b1: f32[20] = seed(2)
  const %w2: f32[20,3] = seed(3)
  %h = MatMul(%x, %w1)
  %hb = Add(%h, %b1)
  %a = Relu(%hb)
  %y = MatMul(%a, %w2)
  %p = Softmax(%y)
  output %p
}
)";

// Layers, then trees on what they make, then a layer on both: the host's part in the middle.
constexpr char kDeviceTrees[] = R"(graph "trees" {
  input %x: f32[N,6]
  const %w1: f32[6,2] = seed(1)
  const %w2: f32[4,3] = seed(2)
  const %features: i32[1] = [1]
  const %splits: f32[1] = [0.1]
  const %modes: u8[1] = [0]
  const %true: i32[1] = [-1]
  const %false: i32[1] = [-2]
  const %missing: u8[1] = [0]
  const %roots: i32[1] = [0]
  const %offsets: i32[3] = [0, 1, 3]
  const %targets: i32[3] = [0, 0, 1]
  const %weights: f32[3] = [1, 2, 0.5]
  const %base: f32[2] = [0, 0]
  %h = MatMul(%x, %w1)
  %t = TreeEnsemble(%h, %features, %splits, %modes, %true, %false, %missing, %roots, %offsets, %targets, %weights, %base) {features=2, targets=2}
  %both = Concat(%h, %t) {axis=1}
  %z = MatMul(%both, %w2)
  %p = Softmax(%z)
  output %t
  output %p
  output %x
}
)";

inline EngineContents CompileForDevice(const char* text = kDeviceMlp, const char* most = "32") {
  Graph graph = ParseGraph(text).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  CompileOptions options;
  options.min_shapes = ParseShapes("x:1x6").value();
  options.opt_shapes = ParseShapes("x:4x6").value();
  options.max_shapes = ParseShapes("x:" + std::string(most) + "x6").value();
  // The graph keeps its nodes one by one, so that tests can say which go where.
  options.disabled_passes = {"fuse_gemm_bias", "fuse_gemm_activation"};
  return Compile(std::move(graph), options).value().contents;
}

/// Which run on the device: all that the device supports, in as few parts as the order gives.
inline std::vector<DevicePart> PlacesFor(const Graph& graph, const Device& device) {
  std::vector<DevicePart> places;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const bool on_device = device.Supports(graph, graph.nodes[i]).ok();
    if (places.empty() || places.back().part.on_device != on_device) {
      places.emplace_back().part.on_device = on_device;
    }
    places.back().part.nodes.push_back(static_cast<int32_t>(i));
  }
  return places;
}

inline DevicePlan PlanFor(const EngineContents& contents, Device& device) {
  DevicePlan plan;
  plan.backend = device.info().backend;
  plan.parts = PlacesFor(contents.graph, device);
  return RebuildDevicePlan(contents, plan, device).value();
}

/// An engine with a plan for the device.
inline std::shared_ptr<const Engine> EngineFor(Device& device, const char* text = kDeviceMlp) {
  EngineContents contents = CompileForDevice(text);
  contents.device_plans.push_back(PlanFor(contents, device));
  return Engine::FromContents(std::move(contents)).value();
}

inline std::vector<float> SomeRows(int64_t rows, float seed) {
  std::vector<float> values(static_cast<size_t>(rows * 6));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(seed + static_cast<float>(i));
  return values;
}

inline TensorView RowsView(std::vector<float>& values) {
  return {DataType::kFloat32, Shape{static_cast<int64_t>(values.size()) / 6, 6}, values.data()};
}

/// The largest difference of any output from the reference kernels'; infinite where types or shapes
/// are others.
inline double Error(const Engine& engine, const TensorView& input,
                    std::span<const TensorView> outputs) {
  const auto wanted = Evaluate(engine.contents().graph, std::span(&input, 1)).value();
  double error = wanted.size() == outputs.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(wanted.size(), outputs.size()); ++i) {
    const TensorView want = wanted[i].view();
    if (want.dtype != outputs[i].dtype || !(want.shape == outputs[i].shape)) return INFINITY;
    const auto a = want.as<const float>(), b = outputs[i].as<const float>();
    for (size_t k = 0; k < a.size(); ++k) {
      const double off = std::fabs(a[k] - b[k]);
      error = std::isnan(off) ? INFINITY : std::max(error, off);
    }
  }
  return error;
}

/// Runs once; the backend that has answered rightly, else what is wrong.
inline std::string RunBy(Session& session, int64_t rows = 3) {
  auto x = SomeRows(rows, static_cast<float>(rows));
  const TensorView view = RowsView(x);
  const auto outputs = session.Run(std::span(&view, 1));
  if (!outputs.ok()) return outputs.status().ToString();
  if (!(Error(session.engine(), view, *outputs) <= 1e-5)) return "a wrong answer";
  return std::string(session.last_backend());
}

inline std::string RunBy(const std::shared_ptr<const Engine>& engine) {
  return RunBy(*Session::Create(engine).value());
}

}  // namespace verdict
