#pragma once

// A device and a small model, for the tests that need a card. Without one they are skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/device/device_plugin.h"
#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict::tensorrt {

inline constexpr int64_t kFeatures = 16;
inline constexpr uint32_t kRunTimeoutMs = 500;

/// One device for all tests of the program: the plugin is opened as the server opens it, from the
/// test program's own folder or VERDICT_PLUGIN_PATH.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static Result<std::unique_ptr<Device>>* opened = [] {
      DeviceOptions options;
      options.run_timeout_ms = kRunTimeoutMs;
      options.log = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
      return new Result(OpenDevice("tensorrt", "", options));
    }();
    if (!opened->ok()) GTEST_SKIP() << opened->status().ToString();
    device_ = (**opened).get();
  }

  Device* device_ = nullptr;
};

/// With the shapes that devices want to know.
inline Result<Graph> InferredGraph(const std::string& text) {
  VERDICT_ASSIGN_OR_RETURN(Graph graph, ParseGraph(text));
  VERDICT_RETURN_IF_ERROR(InferShapes(graph));
  return graph;
}

/// Two layers; seed: of the weights.
inline Graph Mlp(int seed = 1) {
  const auto weights = [&](int layer) {
    return " = seed(" + std::to_string(seed * 10 + layer) + ")";
  };
  auto graph =
      InferredGraph("graph \"mlp\" {\n  input %x: f32[N,16]\n  const %w1: f32[16,64]" + weights(1) +
                    "\n  const %b1: f32[64]" + weights(2) + "\n  const %w2: f32[64,2]" +
                    weights(3) + "\n  const %b2: f32[2]" + weights(4) +
                    "\n  %h = Gemm(%x, %w1, %b1)\n  %r = Relu(%h)\n"
                    "  %y = Gemm(%r, %w2, %b2)\n  %s = Sigmoid(%y)\n  output %s\n}\n");
  VERDICT_CHECK(graph.ok());
  return *std::move(graph);
}

inline Profile Rows(const Graph& graph, int64_t min, int64_t opt, int64_t max) {
  const auto shapes = [&](int64_t rows) {
    NamedShapes named;
    for (const ValueId id : graph.inputs) {
      Shape shape = graph.value(id).shape;
      shape[0] = rows;
      named.emplace_back(graph.value(id).name, shape);
    }
    return named;
  };
  auto profile = MakeProfile(graph, shapes(min), shapes(opt), shapes(max));
  VERDICT_CHECK(profile.ok());
  return *std::move(profile);
}

inline Constant RandomRows(int64_t rows, uint32_t seed) {
  std::mt19937 random(seed);
  auto [constant, data] = Constant::Allocate(DataType::kFloat32, {rows, kFeatures});
  for (int64_t i = 0; i < rows * kFeatures; ++i) {
    static_cast<float*>(data)[i] = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
  }
  return constant;
}

inline std::vector<std::vector<Shape>> Captured(std::initializer_list<int64_t> rows) {
  std::vector<std::vector<Shape>> shapes;
  for (const int64_t n : rows) shapes.push_back({Shape{n, kFeatures}});
  return shapes;
}

/// Runs `rows` random rows and compares with the reference kernels; "" or what is wrong.
inline std::string Compare(DeviceRunner& runner, const Graph& graph, int64_t rows, uint32_t seed,
                           double tolerance) {
  const Constant x = RandomRows(rows, seed);
  const std::vector<TensorView> inputs = {x.view()};
  const auto expected = Evaluate(graph, inputs);
  if (!expected.ok()) return "reference: " + expected.status().ToString();
  const auto outputs = runner.Run(inputs);
  if (!outputs.ok()) return outputs.status().ToString();
  if (outputs->size() != 1 || (*outputs)[0].shape != (*expected)[0].shape) return "another shape";
  const auto got = (*outputs)[0].as<float>();
  const auto want = (*expected)[0].view().as<float>();
  for (size_t i = 0; i < want.size(); ++i) {
    if (!(std::fabs(got[i] - want[i]) <= tolerance * (1 + std::fabs(want[i])))) {
      return "element " + std::to_string(i) + ": " + std::to_string(got[i]) + " instead of " +
             std::to_string(want[i]);
    }
  }
  return "";
}

inline double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// float32 without TF32, whose scores are the reference's to 1e-5.
inline DeviceBuildOptions Exact() {
  DeviceBuildOptions options;
  options.tf32 = false;
  return options;
}

/// Mlp() built once for 1 to 32 rows, exact and refittable or not.
inline const DeviceBlob& BuiltMlp(Device& device, bool refittable = false) {
  static DeviceBlob blobs[2];
  DeviceBlob& blob = blobs[refittable ? 1 : 0];
  if (blob.bytes.empty()) {
    const Graph graph = Mlp();
    const std::vector<Profile> profiles = {Rows(graph, 1, 8, 32)};
    DeviceBuildOptions options = Exact();
    options.refittable = refittable;
    auto built = device.Build(graph, profiles, options);
    EXPECT_TRUE(built.ok()) << built.status().ToString();
    if (built.ok()) blob = *std::move(built);
  }
  return blob;
}

inline Result<std::shared_ptr<DeviceProgram>> LoadMlp(Device& device,
                                                      std::span<const std::byte> bytes) {
  const Graph graph = Mlp();
  return device.Load(bytes, graph, std::vector<Profile>{Rows(graph, 1, 8, 32)});
}

}  // namespace verdict::tensorrt
