#include "runtime/device_worker/remote_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "runtime/device_worker/remote_device_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;

TEST(RemoteDevice, IsTheDeviceInTheWorker) {
  const auto device = OpenFake().value();
  EXPECT_EQ(device->info().backend, "fake");
  EXPECT_EQ(device->info().fingerprint, "fake 1.0");
  EXPECT_EQ(device->info().uuid, "FAKE-0");
  EXPECT_FALSE(device->lost());
  const DeviceMemory memory = device->memory().value();
  EXPECT_EQ(memory.total_bytes, device->info().memory_bytes);
  EXPECT_EQ(memory.free_bytes, memory.total_bytes);
}

TEST(RemoteDevice, SupportsWhatTheDeviceDoes) {
  const auto device = OpenFake().value();
  WorkerModel model;
  for (const Node& node : model.graph.nodes) {
    EXPECT_TRUE(device->Supports(model.graph, node).ok()) << node.op;
  }
  WorkerModel strings(R"(graph "strings" {
  input %x: f32[N,6]
  input %s: str[N]
  %y = Relu(%x)
  %t = Identity(%s)
  output %y
  output %t
}
)");
  EXPECT_TRUE(device->Supports(strings.graph, strings.graph.nodes[0]).ok());
  EXPECT_EQ(device->Supports(strings.graph, strings.graph.nodes[1]).code(),
            StatusCode::kUnimplemented);
  // The same graph, changed in place.
  model.graph.nodes[0].op = "TreeEnsemble";
  EXPECT_FALSE(device->Supports(model.graph, model.graph.nodes[0]).ok());
}

TEST(RemoteDevice, RunsGiveWhatTheyGiveInProcess) {
  const WorkerModel model;
  const auto local = OpenDevice("fake", VERDICT_TEST_PLUGINS_FOLDER, {}).value();
  const auto remote = OpenFake().value();
  const DeviceBlob blob = remote->Build(model.graph, model.profiles, {}).value();
  EXPECT_EQ(blob.bytes, local->Build(model.graph, model.profiles, {}).value().bytes);
  const auto local_program = local->Load(blob.bytes, model.graph, model.profiles).value();
  const auto remote_program = remote->Load(blob.bytes, model.graph, model.profiles).value();
  const auto local_runner = local_program->NewRunner({}).value();
  const auto remote_runner = remote_program->NewRunner({}).value();
  for (const Dim rows : {1, 32, 2, 7}) {
    const Constant input = WorkerInput(rows, 0.25F);
    EXPECT_EQ(RunOnce(*remote_runner, input), RunOnce(*local_runner, input)) << rows;
  }
  EXPECT_EQ(remote_program->LayerInformation().value(), local_program->LayerInformation().value());
  EXPECT_EQ(remote_program->device_bytes(), local_program->device_bytes());
}

TEST(RemoteDevice, ManyThreadsEachWithItsRunner) {
  const WorkerModel model;
  DeviceOptions options;
  options.run_timeout_ms = 20'000;
  const auto device = OpenFake(options).value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  constexpr int kThreads = 12;
  constexpr int kRuns = 300;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
      const auto runner = program->NewRunner({}).value();
      const Constant input = WorkerInput(1 + thread % 4, static_cast<float>(thread));
      const std::vector<float> expected = RunOnce(*runner, input);
      const Constant other = WorkerInput(3, static_cast<float>(-thread));
      const std::vector<float> expected_other = RunOnce(*runner, other);
      for (int run = 0; run < kRuns; ++run) {
        if (RunOnce(*runner, input) == expected) ++right;
        if (RunOnce(*runner, other) == expected_other) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads * kRuns * 2);
  EXPECT_EQ(device->memory().value().free_bytes, device->info().memory_bytes) << "all closed";
}

TEST(RemoteDevice, RunsOfSeveralRunnersGoOnAtATime) {
  constexpr auto kLatency = std::chrono::milliseconds(300);
  ::setenv("VERDICT_FAKE_LATENCY_US", "300000", 1);
  const auto device = OpenFake().value();
  ::unsetenv("VERDICT_FAKE_LATENCY_US");
  const WorkerModel model;
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  std::vector<std::unique_ptr<DeviceRunner>> runners;
  for (int i = 0; i < 5; ++i) runners.push_back(program->NewRunner({}).value());
  const Constant input = WorkerInput(2, 0.5F);
  const TensorView view = input.view();
  const std::vector<float> expected = RunOnce(*runners[0], input);

  const auto begin = std::chrono::steady_clock::now();
  for (const auto& runner : runners) ASSERT_TRUE(runner->Start(std::span(&view, 1)).ok());
  EXPECT_FALSE(runners[0]->Wait({})) << "it takes longer";
  runners.pop_back();  // closed while it runs, as the others do
  for (const auto& runner : runners) {
    const auto outputs = runner->Finish().value();
    const auto values = outputs[0].as<const float>();
    EXPECT_EQ(std::vector<float>(values.begin(), values.end()), expected);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3 * kLatency) << "one after the other";
}

TEST(RemoteDevice, SleepingThreadsAreWoken) {
  const WorkerModel model;
  DeviceOptions options;
  options.spin_us = 0;
  WorkerOptions worker;
  worker.spin_us = 0;
  const auto device = OpenFake(options, worker).value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      const auto runner = program->NewRunner({}).value();
      const Constant input = WorkerInput(1, 1);
      const std::vector<float> expected = RunOnce(*runner, input);
      for (int run = 0; run < 500; ++run) EXPECT_EQ(RunOnce(*runner, input), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(RemoteDevice, BuildsWithEverythingThatABuildTakesAndGives) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  std::vector<std::byte> timing_cache = {std::byte{'a'}};
  const std::vector<std::vector<Constant>> samples = {{WorkerInput(4, 0)}, {WorkerInput(4, 2)}};
  LogLines lines;
  DeviceBuildOptions options;
  options.int8 = true;
  options.samples = samples;
  options.timing_cache = &timing_cache;
  options.memory_pools["workspace"] = 1 << 20;
  options.tactic_sources = {"+FAKE"};
  options.log = [&](const std::string& line) { lines.Add(line); };
  const DeviceBlob blob = device->Build(model.graph, model.profiles, options).value();
  EXPECT_THAT(blob.calibration_cache, HasSubstr("x: "));
  EXPECT_EQ(timing_cache.size(), 2u);
  EXPECT_THAT(lines.text(), HasSubstr("nodes in int8"));

  options.samples = {};
  options.calibration_cache = blob.calibration_cache;
  EXPECT_EQ(device->Build(model.graph, model.profiles, options).value().bytes, blob.bytes);

  options.memory_pools["DLA"] = 1;
  const auto refused = device->Build(model.graph, model.profiles, options);
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.status().message(), HasSubstr("'DLA'"));
}

TEST(RemoteDevice, RefitsAndRefusesToLoadOtherWeights) {
  const WorkerModel model;
  std::string changed_text = kDeviceMlp;
  changed_text.replace(changed_text.find("seed(3)"), 7, "seed(9)");
  const WorkerModel changed(changed_text.c_str());
  const auto device = OpenFake().value();
  DeviceBuildOptions options;
  options.refittable = true;
  const DeviceBlob blob = device->Build(model.graph, model.profiles, options).value();
  EXPECT_EQ(device->Load(blob.bytes, changed.graph, changed.profiles).status().code(),
            StatusCode::kDataLoss);
  const auto refitted = device->Refit(blob.bytes, changed.graph).value();
  const auto program = device->Load(refitted, changed.graph, changed.profiles).value();
  const auto runner = program->NewRunner({}).value();
  const auto old_program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const auto old_runner = old_program->NewRunner({}).value();
  EXPECT_NE(RunOnce(*runner, WorkerInput(1, 1)), RunOnce(*old_runner, WorkerInput(1, 1)));
}

TEST(RemoteDevice, ProfilesLayers) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const auto runner = program->NewRunner({}).value();
  const Constant input = WorkerInput(2, 1);
  const TensorView view = input.view();
  const auto times = runner->ProfileLayers(std::span(&view, 1)).value();
  EXPECT_EQ(times.size(), model.graph.nodes.size());
  EXPECT_GT(times[0].milliseconds, 0);
}

TEST(RemoteDevice, RefusesInputsThatTheProgramCannotTake) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const auto runner = program->NewRunner({}).value();
  const auto code = [&](const Constant& input) {
    const TensorView view = input.view();
    return runner->Run(std::span(&view, 1)).status().code();
  };
  EXPECT_EQ(code(WorkerInput(33, 1)), StatusCode::kInvalidArgument) << "beyond the profile";
  EXPECT_EQ(code(WorkerInput(0, 1)), StatusCode::kInvalidArgument) << "below the profile";
  EXPECT_EQ(code(Constant::Allocate(DataType::kFloat32, {2, 5}).first),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Constant::Allocate(DataType::kFloat32, {6}).first), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Constant::Allocate(DataType::kInt64, {1, 6}).first), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Constant::OfStrings({1, 6}, {"", "", "", "", "", ""})),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(runner->Run({}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(device->lost());
  EXPECT_EQ(RunOnce(*runner, WorkerInput(2, 1)).size(), 6u);
}

TEST(RemoteDevice, MemoryIsFreeOnceAProgramIsGone) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const uint64_t all = device->memory().value().free_bytes;
  for (int round = 0; round < 20; ++round) {
    auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
    auto runner = program->NewRunner({}).value();
    RunOnce(*runner, WorkerInput(1, 1));
    EXPECT_EQ(device->memory().value().free_bytes, all - program->device_bytes());
    runner.reset();
    program.reset();
    ASSERT_EQ(device->memory().value().free_bytes, all) << round;
  }
}

TEST(RemoteDevice, TellsWhatItsProgramsShare) {
  const WorkerModel model;
  ::setenv("VERDICT_FAKE_SHARED_BYTES", "12345", 1);
  const auto device = OpenFake().value();
  ::unsetenv("VERDICT_FAKE_SHARED_BYTES");
  EXPECT_EQ(device->memory().value().shared_bytes, 0U);
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const DeviceMemory memory = device->memory().value();
  EXPECT_EQ(memory.shared_bytes, 12345U);
  EXPECT_EQ(memory.total_bytes - memory.free_bytes, 12345 + program->device_bytes());
}

TEST(RemoteDevice, RunnersAreToldWhereInputsLieUntilTheyEnd) {
  const WorkerModel model;
  ::setenv("VERDICT_FAKE_NEEDS_CALLER_MEMORY", "1", 1);
  const auto device = OpenFake().value();
  ::unsetenv("VERDICT_FAKE_NEEDS_CALLER_MEMORY");
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  auto runner = program->NewRunner({}).value();
  for (const Dim rows : {1, 32}) EXPECT_EQ(RunOnce(*runner, WorkerInput(rows, 1)).size(), rows * 3);
  runner.reset();
  EXPECT_TRUE(device->memory().ok()) << "the worker lives";
}

TEST(RemoteDevice, OutOfMemoryRefusesThatLoadAlone) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const auto runner = program->NewRunner({}).value();
  ASSERT_TRUE(device->InjectFault("oom").ok());
  EXPECT_EQ(device->Load(blob.bytes, model.graph, model.profiles).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_FALSE(device->lost());
  RunOnce(*runner, WorkerInput(1, 1));
  EXPECT_TRUE(device->Load(blob.bytes, model.graph, model.profiles).ok());
  EXPECT_EQ(device->InjectFault("flood").code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace verdict
