#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/infer.h"

namespace verdict {

/// Two layers that read x, and one that reads the first's output.
inline Graph ThreeLayers(const std::string& first_weights = "0.3, -1, 2, 0.25, 1.1, -0.125") {
  auto graph = ParseGraph(R"(graph "g" {
  input %x: f32[N,3]
  const %w0: f32[3,2] = [)" +
                          first_weights + R"(]
  const %b0: f32[2] = [0.5, -0.5]
  const %w1: f32[3,2] = [1, 0, 0, 1, 0.5, 0.5]
  const %w2: f32[2,1] = [1, -2]
  %a = FusedGemm(%x, %w0, %b0) {activation="Relu"}
  %c = FusedGemm(%x, %w1)
  %y = FusedGemm(%a, %w2)
  %z = Add(%y, %c)
  output %z
})");
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  EXPECT_TRUE(InferShapes(*graph).ok());
  return std::move(*graph);
}

inline std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes) ops.push_back(node.op);
  return ops;
}

inline std::vector<float> Evaluated(const Graph& graph) {
  const std::vector<float> values = {0.3F, -0.7F, 1.1F, -1.5F, 0.2F, 0.9F};
  const Constant x = Constant::Of<float>(Shape{2, 3}, values);
  const auto result = Evaluate(graph, std::vector{x.view()});
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  const auto z = (*result)[0].view().as<const float>();
  return {z.begin(), z.end()};
}

}  // namespace verdict
