#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "compile/compile.h"
#include "runtime/engine.h"

namespace verdict {

/// An engine for tests: y = x + {step, 2 step, 3 step} over "x" and "y", f32 [N, 3] with N up to
/// 128, and "text", str [N], passed through as "echo".
inline std::shared_ptr<const Engine> SmallEngine(float step) {
  Graph graph;
  const Dim rows = graph.Symbol("N");
  const ValueId x = graph.AddInput("x", DataType::kFloat32, {rows, 3});
  const ValueId text = graph.AddInput("text", DataType::kString, {rows});
  const std::vector<float> steps = {step, 2 * step, 3 * step};
  const ValueId bias =
      graph.AddConstant("bias", Constant::Of<float>({3}, std::span<const float>(steps)));
  const ValueId y = graph.AddValue("y", DataType::kFloat32, {rows, 3});
  const ValueId echo = graph.AddValue("echo", DataType::kString, {rows});
  graph.nodes.push_back({"add", "Add", {x, bias}, {y}, {}});
  graph.nodes.push_back({"echo", "Identity", {text}, {echo}, {}});
  graph.outputs = {y, echo};
  auto compiled = Compile(std::move(graph), {});
  VERDICT_CHECK(compiled.ok());
  auto engine = Engine::FromContents(std::move(compiled->contents));
  VERDICT_CHECK(engine.ok());
  return *engine;
}

}  // namespace verdict
