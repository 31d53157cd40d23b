#pragma once

#include <memory>
#include <string>
#include <utility>

#include "compile/compile.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "runtime/engine.h"

namespace verdict {

/// An engine of a graph in the text form; extents from 1 to max_rows.
inline std::shared_ptr<const Engine> EngineOf(const std::string& text,
                                              CompileOptions options = {}) {
  Graph graph = ParseGraph(text).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), options);
  VERDICT_CHECK(compiled.ok());
  auto engine = Engine::FromContents(std::move(compiled->contents));
  VERDICT_CHECK(engine.ok());
  return *engine;
}

/// y[N,3] = 2 x: f32, N up to 128.
inline std::shared_ptr<const Engine> DoublingEngine() {
  return EngineOf(R"(graph "double" {
  input %x: f32[N,3]
  %y = Add(%x, %x)
  output %y
}
)");
}

/// Like a recurrent step: next = state + x, y = 2 next, all f32[N,2].
inline std::shared_ptr<const Engine> SummingEngine() {
  return EngineOf(R"(graph "sum" {
  input %x: f32[N,2]
  input %state: f32[N,2]
  %next = Add(%state, %x)
  %y = Add(%next, %next)
  output %y
  output %next
}
)");
}

/// Rows depend on each other: a softmax over the batch.
inline std::shared_ptr<const Engine> MixingEngine() {
  return EngineOf(R"(graph "mix" {
  input %x: f32[N,3]
  %y = Softmax(%x) {axis=0}
  output %y
}
)");
}

/// y[N,L] = 2 x: two extents that vary.
inline std::shared_ptr<const Engine> RaggedEngine() {
  return EngineOf(R"(graph "ragged" {
  input %x: f32[N,L]
  %y = Add(%x, %x)
  output %y
}
)");
}

/// y[N,2] = table[index]: an index that is not in [-3, 3) is refused while running.
inline std::shared_ptr<const Engine> LookupEngine() {
  return EngineOf(R"(graph "lookup" {
  input %index: i64[N]
  const %table: f32[3,2] = [0, 1, 10, 11, 20, 21]
  %y = Gather(%table, %index) {axis=0}
  output %y
}
)");
}

/// Takes its time: about a GFlop in a run of 128 rows, by plain loops.
inline std::shared_ptr<const Engine> SlowEngine() {
  CompileOptions options;
  options.backend = "reference";
  return EngineOf(R"(graph "slow" {
  input %x: f32[N,1024]
  const %w: f32[1024,1024] = seed(1)
  %a = MatMul(%x, %w)
  %b = MatMul(%a, %w)
  %c = MatMul(%b, %w)
  %d = MatMul(%c, %w)
  output %d
}
)",
                  options);
}

}  // namespace verdict
