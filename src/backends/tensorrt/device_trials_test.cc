// Runs with other numbers than those that are built in (trials.h): the same scores, and how fast.
// Devices are in a worker process, which reads them when it opens one, or in this one.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "backends/device/device_plugin.h"
#include "backends/tensorrt/device_fixture_test.h"
#include "runtime/device_worker/remote_device.h"

namespace verdict::tensorrt {
namespace {

class DeviceTrials : public DeviceTest {
 protected:
  std::unique_ptr<Device> OpenWith(const char* trials, bool in_worker = true) {
    ::setenv("VERDICT_TENSORRT_TRIALS", trials, 1);
    DeviceOptions options;
    options.run_timeout_ms = kRunTimeoutMs;
    options.log = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
    auto opened = in_worker ? OpenDeviceInWorker("tensorrt", "", options, {})
                            : OpenDevice("tensorrt", "", options);
    ::unsetenv("VERDICT_TENSORRT_TRIALS");
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  /// In this process, where inputs lie wherever the caller has them.
  void CompareHere(const char* trials) {
    const auto device = OpenWith(trials, false);
    ASSERT_NE(device, nullptr);
    const auto program = LoadMlp(*device, BuiltMlp(*device_).bytes);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    const auto runner = (*program)->NewRunner(options_);
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    EXPECT_EQ(Compare3(**runner, 30), "") << trials;
  }

  /// "" or what is wrong, of batches that are captured, padded and neither.
  std::string Compare3(DeviceRunner& runner, uint32_t seed) {
    for (const int64_t rows : {8, 3, 20}) {
      std::string wrong = Compare(runner, graph_, rows, seed, 1e-5);
      if (!wrong.empty()) return std::to_string(rows) + " rows: " + wrong;
    }
    return "";
  }

  const Graph graph_ = Mlp();
  const DeviceRunnerOptions options_{.captured_shapes = Captured({1, 8}), .rows_independent = true};
};

TEST_F(DeviceTrials, HowInputsAndOutputsTravelChangesNoScore) {
  // 0 and huge: never and always.
  for (const char* trials :
       {"zero_copy_bytes=0", "zero_copy_bytes=1000000000", "zero_copy_bytes=0,large_input_bytes=1",
        "zero_copy_bytes=64,large_input_bytes=1", ""}) {
    const auto device = OpenWith(trials);
    ASSERT_NE(device, nullptr);
    const auto program = LoadMlp(*device, BuiltMlp(*device_).bytes);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    const auto runner = (*program)->NewRunner(options_);
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    for (uint32_t seed = 0; seed < 20; ++seed) EXPECT_EQ(Compare3(**runner, seed), "") << trials;
    CompareHere(trials);
    for (const int64_t rows : {1, 8}) {
      const Constant x = RandomRows(rows, 7);
      const std::vector<TensorView> inputs = {x.view()};
      std::vector<double> micros;
      for (int i = 0; i < 2000; ++i) {
        const auto start = std::chrono::steady_clock::now();
        ASSERT_TRUE((*runner)->Run(inputs).ok());
        micros.push_back(1e6 * SecondsSince(start));
      }
      std::ranges::sort(micros);
      std::printf("'%s', %d rows: p50 %.1f us, p99 %.1f us\n", trials, static_cast<int>(rows),
                  micros[micros.size() / 2], micros[micros.size() * 99 / 100]);
    }
  }
}

TEST_F(DeviceTrials, InputsOfAllKindsTravelBesideEachOther) {
  const auto graph = InferredGraph(
      "graph \"g\" {\n  input %x: f32[N,64]\n  input %ids: i64[N]\n  input %m: bool[N,64]\n"
      "  input %y: f32[N,64]\n  const %t: f32[100,64] = seed(1)\n  const %w: f32[64,64] = seed(2)\n"
      "  %e = Gather(%t, %ids) {axis=0}\n  %p = Where(%m, %x, %y)\n  %s = Add(%p, %e)\n"
      "  %z = MatMul(%s, %w)\n  output %z\n}\n");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  const std::vector<Profile> profiles = {Rows(*graph, 1, 8, 32)};
  const auto device = OpenWith("zero_copy_bytes=0,large_input_bytes=1");
  ASSERT_NE(device, nullptr);
  const auto blob = device->Build(*graph, profiles, Exact());
  ASSERT_TRUE(blob.ok()) << blob.status().ToString();
  const auto program = device->Load(blob->bytes, *graph, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  const Shape rows64{8, 64};
  const auto runner = (*program)->NewRunner(
      {.captured_shapes = {{rows64, {8}, rows64, rows64}}, .rows_independent = true});
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  uint32_t seed = 0;
  for (const int64_t rows : {8, 3, 20, 1, 8}) {
    std::mt19937 random(++seed);
    const auto count = static_cast<size_t>(rows * 64);
    std::vector<float> x(count), y(count);
    std::vector<uint8_t> mask(count);
    std::vector<int64_t> ids(static_cast<size_t>(rows));
    for (size_t i = 0; i < count; ++i) {
      x[i] = static_cast<float>(random() % 1000) / 1000;
      y[i] = -static_cast<float>(random() % 1000) / 1000;
      mask[i] = random() % 2;
    }
    for (int64_t& id : ids) id = random() % 100;
    const Shape wide{rows, 64};
    const std::vector<TensorView> inputs = {{DataType::kFloat32, wide, x.data()},
                                            {DataType::kInt64, {rows}, ids.data()},
                                            {DataType::kBool, wide, mask.data()},
                                            {DataType::kFloat32, wide, y.data()}};
    const auto expected = Evaluate(*graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status().ToString();
    const auto outputs = (*runner)->Run(inputs);
    ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
    const auto got = (*outputs)[0].as<const float>();
    const auto want = (*expected)[0].view().as<const float>();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 1e-4 * (1 + std::fabs(want[i]))) << rows << " rows, " << i;
    }
    // Which leaves other rows in the inputs' places.
    if (rows == 20) {
      EXPECT_TRUE((*runner)->ProfileLayers(inputs).ok());
    }
  }
}

TEST_F(DeviceTrials, RunnersThatShareScratchDoNotDisturbEachOther) {
  const auto device = OpenWith("shared_scratch_bytes=1");
  ASSERT_NE(device, nullptr);
  const auto shared = [&](const char* when) {
    const auto memory = device->memory();
    EXPECT_TRUE(memory.ok()) << memory.status().ToString();
    const DeviceMemory told = memory.ok() ? *memory : DeviceMemory{};
    std::printf("%s: shared %.1f MiB, free %.1f MiB\n", when,
                static_cast<double>(told.shared_bytes) / 1048576,
                static_cast<double>(told.free_bytes) / 1048576);
    return told.shared_bytes;
  };
  // Another program, which needs more scratch: it comes and goes while the others run.
  const std::vector<Profile> wide = {Rows(graph_, 1, 8192, 32768)};
  const auto wide_blob = device_->Build(graph_, wide, Exact());
  ASSERT_TRUE(wide_blob.ok()) << wide_blob.status().ToString();
  std::vector<std::shared_ptr<DeviceProgram>> programs;
  std::vector<std::unique_ptr<DeviceRunner>> runners;
  uint64_t of_one = 0;
  for (int p = 0; p < 3; ++p) {
    auto program = LoadMlp(*device, BuiltMlp(*device_).bytes);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    programs.push_back(*std::move(program));
    for (int r = 0; r < 2; ++r) {
      auto runner = programs.back()->NewRunner(options_);
      ASSERT_TRUE(runner.ok()) << runner.status().ToString();
      runners.push_back(*std::move(runner));
    }
    if (p == 0) of_one = shared("one program, two runners");
  }
  EXPECT_EQ(shared("three programs, two runners each"), of_one);
  std::atomic<bool> stop = false;
  std::vector<std::string> wrong(runners.size());
  std::vector<int> runs(runners.size());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < runners.size(); ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t seed = 0; !stop && wrong[t].empty(); ++seed, ++runs[t]) {
        wrong[t] = Compare3(*runners[t], static_cast<uint32_t>(t) * 1000 + seed);
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    const auto program = device->Load(wide_blob->bytes, graph_, wide);
    EXPECT_TRUE(program.ok()) << program.status().ToString();
    if (!program.ok()) break;
    DeviceRunnerOptions options = options_;
    options.captured_shapes = Captured({32768});
    const auto runner = (*program)->NewRunner(options);
    EXPECT_TRUE(runner.ok()) << runner.status().ToString();
    if (!runner.ok()) break;
    EXPECT_EQ(Compare(**runner, graph_, 32768, 7, 1e-5), "");
    // Its first layer alone makes 8 MiB; a piece is 4.
    EXPECT_GT(shared("and one of 32,768 rows"), of_one);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < runners.size(); ++t) {
    EXPECT_EQ(wrong[t], "");
    EXPECT_GT(runs[t], 0);
  }
  EXPECT_EQ(shared("without it"), of_one);
}

TEST_F(DeviceTrials, SmallerStacksChangeNoScore) {
  for (const char* trials :
       {"stack_bytes=0", "stack_bytes=512", "stack_bytes=256", "stack_bytes=128"}) {
    const auto before = device_->memory();
    const auto device = OpenWith(trials);
    ASSERT_NE(device, nullptr);
    const auto opened = device_->memory();
    const auto program = LoadMlp(*device, BuiltMlp(*device_).bytes);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    const auto runner = (*program)->NewRunner(options_);
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    EXPECT_EQ(Compare3(**runner, 3), "");
    const auto loaded = device_->memory();
    ASSERT_TRUE(before.ok() && opened.ok() && loaded.ok());
    std::printf(
        "'%s': the process takes %.0f MiB, with a program and its runner %.0f MiB\n", trials,
        (static_cast<double>(before->free_bytes) - static_cast<double>(opened->free_bytes)) /
            1048576,
        (static_cast<double>(before->free_bytes) - static_cast<double>(loaded->free_bytes)) /
            1048576);
  }
}

}  // namespace
}  // namespace verdict::tensorrt
