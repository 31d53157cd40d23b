#include "runtime/device_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "runtime/allocation_count_test.h"
#include "runtime/device_fixture_test.h"

namespace verdict {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

std::shared_ptr<Device> Fake(const FakeDeviceOptions& options = {}) {
  return MakeFakeDevice(options);
}

/// Memory for an engine's outputs.
struct Outputs {
  explicit Outputs(const DeviceEngine& engine) {
    for (const size_t bytes : engine.output_bytes()) {
      memory.emplace_back(bytes);
      capacities.push_back(bytes);
      views.push_back({DataType::kUndefined, Shape{}, memory.back().data()});
    }
  }
  std::vector<std::vector<std::byte>> memory;
  std::vector<size_t> capacities;
  std::vector<TensorView> views;
};

std::shared_ptr<DeviceEngine> LoadOn(const std::shared_ptr<Device>& device, const Engine& engine,
                                     int streams = 2) {
  DeviceEngineOptions options;
  options.streams = streams;
  return DeviceEngine::Load(device, engine, engine.contents().device_plans.at(0), options).value();
}

Status RunRows(DeviceEngine& engine, Outputs& outputs, std::vector<float>& rows) {
  const TensorView view = RowsView(rows);
  return engine.Run(std::span(&view, 1), outputs.views, outputs.capacities);
}

/// A device whose runners have their output ready, and which remembers what it was asked for.
class StillDevice : public Device {
 public:
  struct Runner : DeviceRunner {
    Status Start(std::span<const TensorView> inputs) override {
      view.shape = Shape{inputs[0].shape[0], 3};
      return OkStatus();
    }
    bool Wait(std::chrono::steady_clock::time_point) override { return true; }
    Result<std::span<const TensorView>> Finish() override {
      return std::span<const TensorView>(&view, 1);
    }
    Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView>) override {
      return std::vector<LayerTime>{};
    }
    std::vector<float> memory = std::vector<float>(32 * 3, 0.25F);
    TensorView view{DataType::kFloat32, Shape{1, 3}, memory.data()};
  };
  struct Program : DeviceProgram {
    explicit Program(std::vector<DeviceRunnerOptions>& a) : asked(a) {}
    Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) override {
      asked.push_back(options);
      return std::unique_ptr<DeviceRunner>(std::make_unique<Runner>());
    }
    uint64_t device_bytes() const override { return 1; }
    Result<std::string> LayerInformation() const override { return std::string("{}"); }
    std::vector<DeviceRunnerOptions>& asked;
  };
  const DeviceInfo& info() const override { return info_; }
  Status Supports(const Graph&, const Node&) const override { return OkStatus(); }
  Result<DeviceBlob> Build(const Graph&, std::span<const Profile>,
                           const DeviceBuildOptions&) override {
    return DeviceBlob{};
  }
  Result<std::shared_ptr<DeviceProgram>> Load(std::span<const std::byte>, const Graph&,
                                              std::span<const Profile>) override {
    return std::shared_ptr<DeviceProgram>(std::make_shared<Program>(asked));
  }
  Result<std::vector<std::byte>> Refit(std::span<const std::byte>, const Graph&) override {
    return Unimplemented("not here");
  }
  Result<DeviceMemory> memory() const override { return DeviceMemory{}; }
  bool lost() const override { return false; }
  Status Recover() override { return OkStatus(); }
  Status InjectFault(const std::string&) override { return OkStatus(); }
  std::vector<DeviceRunnerOptions> asked;

 private:
  DeviceInfo info_{"still", "Still device", "still 1.0", "", "", 0, 0};
};

TEST(DeviceEngine, GivesTheReferencesOutputsOnEveryBatchSize) {
  const auto device = Fake();
  for (const char* text : {kDeviceMlp, kDeviceTrees}) {
    const auto engine = EngineFor(*device, text);
    ASSERT_EQ(engine->contents().device_plans[0].parts.size(), text == kDeviceMlp ? 1U : 3U);
    const auto on_device = LoadOn(device, *engine);
    Outputs outputs(*on_device);
    for (const int64_t rows : {1, 4, 3, 32, 1, 17}) {
      auto x = SomeRows(rows, static_cast<float>(rows));
      const Status status = RunRows(*on_device, outputs, x);
      ASSERT_TRUE(status.ok()) << status.ToString();
      EXPECT_LE(Error(*engine, RowsView(x), outputs.views), 1e-6) << rows;
    }
    EXPECT_TRUE(on_device->CheckGolden(*engine).ok());
    EXPECT_GT(on_device->device_bytes(), 0U);
  }
}

TEST(DeviceEngine, NamesItsLayers) {
  const auto device = Fake();
  const auto engine = EngineFor(*device, kDeviceTrees);
  const auto on_device = LoadOn(device, *engine);
  EXPECT_EQ(on_device->LayerInformation().value(),
            R"([{"Layers": ["MatMul"]},{"Layers": ["Concat", "MatMul", "Softmax"]}])");
  auto x = SomeRows(4, 1);
  const TensorView view = RowsView(x);
  const auto times = on_device->ProfileLayers(std::span(&view, 1)).value();
  ASSERT_EQ(times.size(), 5U);
  EXPECT_EQ(times[1].layer, "part 1 (host)");
}

TEST(DeviceEngine, RefusesAPlanOfAnotherDevice) {
  const auto device = Fake();
  const auto engine = EngineFor(*device);
  FakeDeviceOptions options;
  options.fingerprint = "fake 2.0";
  const auto loaded =
      DeviceEngine::Load(Fake(options), *engine, engine->contents().device_plans[0], {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(loaded.status().message(), HasSubstr("'fake 1.0'"));
  EXPECT_THAT(loaded.status().message(), HasSubstr("'fake 2.0'"));
}

TEST(DeviceEngine, RefusesHostilePlans) {
  const auto device = Fake();
  const auto engine = EngineFor(*device, kDeviceTrees);
  const auto load = [&](const std::function<void(DevicePlan&)>& change) {
    DevicePlan plan = engine->contents().device_plans[0];
    change(plan);
    return DeviceEngine::Load(device, *engine, plan, {}).status();
  };
  EXPECT_TRUE(load([](DevicePlan&) {}).ok());
  EXPECT_FALSE(load([](DevicePlan& plan) { plan.parts.pop_back(); }).ok());
  EXPECT_FALSE(load([](DevicePlan& plan) { std::swap(plan.parts[0], plan.parts[1]); }).ok());
  EXPECT_FALSE(load([](DevicePlan& plan) { plan.parts[0].part.nodes[0] = 99; }).ok());
  const Status status =
      load([](DevicePlan& plan) { plan.parts[2].program = plan.parts[2].program.first(5); });
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("part 2"));
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);  // nothing is left there
}

// The same graph, trained again: whatever the device itself would say of the program.
TEST(DeviceEngine, GivesNoDeviceAProgramOfOtherWeights) {
  const auto device = std::make_shared<StillDevice>();
  std::string other = kDeviceMlp;
  other.replace(other.find("seed(3)"), 7, "seed(4)");
  const auto trained = EngineFor(*device), retrained = EngineFor(*device, other.c_str());
  const DevicePlan& plan = trained->contents().device_plans[0];
  EXPECT_TRUE(DeviceEngine::Load(device, *trained, plan, {}).ok());
  const size_t asked = device->asked.size();
  const Status status = DeviceEngine::Load(device, *retrained, plan, {}).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("part 0: its program was not built from this engine's"));
  EXPECT_EQ(device->asked.size(), asked);
}

TEST(DeviceEngine, RefusesInputsOutsideTheProfiles) {
  const auto device = Fake();
  const auto engine = EngineFor(*device);
  const auto on_device = LoadOn(device, *engine);
  Outputs outputs(*on_device);
  auto x = SomeRows(33, 0);
  EXPECT_EQ(RunRows(*on_device, outputs, x).code(), StatusCode::kInvalidArgument);
}

TEST(DeviceEngine, DoesNotWriteBeyondTheCallersMemory) {
  const auto device = Fake();
  const auto engine = EngineFor(*device);
  const auto on_device = LoadOn(device, *engine);
  Outputs outputs(*on_device);
  outputs.capacities[0] = 4 * 3 * sizeof(float);
  auto x = SomeRows(4, 0), more = SomeRows(5, 0);
  EXPECT_TRUE(RunRows(*on_device, outputs, x).ok());
  EXPECT_EQ(RunRows(*on_device, outputs, more).code(), StatusCode::kInvalidArgument);
}

TEST(DeviceEngine, FailsTheGoldenVectorsBeyondItsTolerance) {
  FakeDeviceOptions options;
  options.float32_error = 0.02F;
  const auto device = Fake(options);
  EngineContents contents = CompileForDevice();
  DevicePlan plan = PlanFor(contents, *device);
  const auto engine = Engine::FromContents(std::move(contents)).value();
  for (const float tolerance : {1e-3F, 0.05F}) {
    plan.tolerance = tolerance;
    const auto on_device = DeviceEngine::Load(device, *engine, plan, {}).value();
    EXPECT_EQ(on_device->CheckGolden(*engine).ok(), tolerance > 0.02F);
  }
}

TEST(DeviceEngine, ThreadsShareItsLanes) {
  FakeDeviceOptions options;
  options.latency_us = 100;
  const auto device = Fake(options);
  const auto engine = EngineFor(*device, kDeviceTrees);
  const auto on_device = LoadOn(device, *engine, 3);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        Outputs outputs(*on_device);
        for (int k = 0; k < 40; ++k) {
          auto x = SomeRows(1 + (i * 5 + k) % 8, static_cast<float>(i + 8 * k));
          if (!RunRows(*on_device, outputs, x).ok()) ++wrong;
          if (!(Error(*engine, RowsView(x), outputs.views) < 1e-6)) ++wrong;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST(DeviceEngine, CloseFreesTheDeviceAfterTheRunsUnderWay) {
  FakeDeviceOptions options;
  options.latency_us = 100'000;
  const auto device = Fake(options);
  const auto engine = EngineFor(*device);
  const auto on_device = LoadOn(device, *engine, 1);
  std::atomic<bool> started = false;
  std::jthread runner([&] {
    Outputs outputs(*on_device);
    auto x = SomeRows(4, 1);
    started = true;
    EXPECT_TRUE(RunRows(*on_device, outputs, x).ok());
    EXPECT_LE(Error(*engine, RowsView(x), outputs.views), 1e-6);
  });
  while (!started) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(20));
  on_device->Close();
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
  EXPECT_EQ(on_device->device_bytes(), 0U);
  Outputs outputs(*on_device);
  auto x = SomeRows(1, 0);
  EXPECT_EQ(RunRows(*on_device, outputs, x).code(), StatusCode::kCancelled);
}

TEST(DeviceEngine, AllocatesNothingInARun) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer brings its own malloc";
  const auto device = std::make_shared<StillDevice>();
  const auto engine = EngineFor(*device);
  const auto on_device = LoadOn(device, *engine);
  Outputs outputs(*on_device);
  auto one = SomeRows(1, 0), many = SomeRows(29, 0);
  ASSERT_TRUE(RunRows(*on_device, outputs, one).ok());
  const int64_t before = AllocationCount();
  for (auto* x : {&one, &many, &one}) ASSERT_TRUE(RunRows(*on_device, outputs, *x).ok());
  EXPECT_EQ(AllocationCount(), before);
}

TEST(DeviceEngine, AsksForGraphsOfTheShapesThatAreLikely) {
  const auto device = std::make_shared<StillDevice>();
  EngineContents contents = CompileForDevice(kDeviceMlp, "20");
  DevicePlan plan = PlanFor(contents, *device);
  plan.rows_independent = true;
  const auto engine = Engine::FromContents(std::move(contents)).value();
  DeviceEngineOptions options;
  options.streams = 3;
  options.graphs = false;
  const auto on_device = DeviceEngine::Load(device, *engine, plan, options).value();
  ASSERT_EQ(device->asked.size(), 3U);
  EXPECT_TRUE(device->asked[2].rows_independent);
  EXPECT_FALSE(device->asked[2].graphs);
  const std::vector<std::vector<Shape>> wanted = {{{1, 6}}, {{2, 6}},  {{4, 6}},
                                                  {{8, 6}}, {{16, 6}}, {{20, 6}}};
  EXPECT_EQ(device->asked[0].captured_shapes, wanted);
}

// A value between the parts whose rows are not the batch's: no more rows than there are may run.
TEST(DeviceEngine, TakesRowsForIndependentOnlyWhereTheyAreTheBatchs) {
  constexpr char kTransposed[] = R"(graph "t" {
    input %x: f32[N,6]
    %t = Transpose(%x) {perm=[1, 0]}
    %h = Tanh(%t)
    %u = Transpose(%h) {perm=[1, 0]}
    %p = Softmax(%u)
    output %p
  })";
  const auto device = std::make_shared<StillDevice>();
  EngineContents contents = CompileForDevice(kTransposed);
  ASSERT_EQ(contents.graph.nodes.size(), 4U);
  DevicePlan plan;
  plan.backend = "still";
  plan.rows_independent = true;
  for (const std::vector<int32_t>& nodes : {std::vector{0}, {1, 2}, {3}}) {
    plan.parts.emplace_back().part = {nodes != std::vector{0}, nodes};
  }
  plan = RebuildDevicePlan(contents, plan, *device).value();
  const auto engine = Engine::FromContents(std::move(contents)).value();
  DeviceEngineOptions options;
  options.streams = 1;
  ASSERT_TRUE(DeviceEngine::Load(device, *engine, plan, options).ok());
  ASSERT_EQ(device->asked.size(), 2U);
  EXPECT_FALSE(device->asked[0].rows_independent);
  EXPECT_TRUE(device->asked[1].rows_independent);
}

}  // namespace
}  // namespace verdict
