// Running programs: batches, captured graphs, wrong inputs, threads.
#include <dlfcn.h>

#include <algorithm>
#include <thread>

#include "backends/tensorrt/device_fixture_test.h"

namespace verdict::tensorrt {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class DeviceRun : public DeviceTest {
 protected:
  std::unique_ptr<DeviceRunner> NewRunner(const DeviceRunnerOptions& options) {
    if (program_ == nullptr) {
      auto program = LoadMlp(*device_, BuiltMlp(*device_).bytes);
      EXPECT_TRUE(program.ok()) << program.status().ToString();
      if (!program.ok()) return nullptr;
      program_ = *std::move(program);
    }
    auto runner = program_->NewRunner(options);
    EXPECT_TRUE(runner.ok()) << runner.status().ToString();
    return runner.ok() ? *std::move(runner) : nullptr;
  }
  StatusCode RunCode(DeviceRunner& runner, const Constant& input) {
    const std::vector<TensorView> inputs = {input.view()};
    return runner.Run(inputs).status().code();
  }

  const Graph graph_ = Mlp();
  std::shared_ptr<DeviceProgram> program_;
};

TEST_F(DeviceRun, AnyBatchOfTheProfile) {
  const auto runner = NewRunner({});
  ASSERT_NE(runner, nullptr);
  for (const int64_t rows : {1, 2, 8, 8, 31, 32, 1}) {
    EXPECT_EQ(Compare(*runner, graph_, rows, 7, 1e-5), "") << rows;
  }
}

TEST_F(DeviceRun, CapturedPaddedAndUncapturedBatches) {
  DeviceRunnerOptions options;
  options.captured_shapes = Captured({1, 8, 16});
  options.rows_independent = true;
  const auto padded = NewRunner(options);
  options.rows_independent = false;
  const auto exact = NewRunner(options);
  options.graphs = false;
  const auto plain = NewRunner(options);
  ASSERT_TRUE(padded != nullptr && exact != nullptr && plain != nullptr);
  for (const int64_t rows : {16, 1, 3, 8, 9, 17, 32, 2, 1}) {
    EXPECT_EQ(Compare(*padded, graph_, rows, 7, 1e-5), "") << rows;
    EXPECT_EQ(Compare(*exact, graph_, rows, 7, 1e-5), "") << rows;
    EXPECT_EQ(Compare(*plain, graph_, rows, 7, 1e-5), "") << rows;
  }
}

TEST_F(DeviceRun, InputsThatTheProgramCannotTake) {
  const auto runner = NewRunner({});
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(RunCode(*runner, RandomRows(33, 1)), StatusCode::kInvalidArgument);
  const auto zeros = [](const Shape& shape) {
    return Constant::Of<float>(shape, std::vector<float>(NumElements(shape).value()));
  };
  EXPECT_EQ(RunCode(*runner, zeros({8, kFeatures - 1})), StatusCode::kInvalidArgument);
  EXPECT_EQ(RunCode(*runner, zeros({kFeatures})), StatusCode::kInvalidArgument);
  EXPECT_EQ(RunCode(*runner, zeros({0, kFeatures})), StatusCode::kInvalidArgument);
  const std::vector<int32_t> integers(kFeatures);
  EXPECT_EQ(RunCode(*runner, Constant::Of<int32_t>({1, kFeatures}, integers)),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(runner->Run({}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Compare(*runner, graph_, 8, 7, 1e-5), "");
}

TEST_F(DeviceRun, ACapturedShapeOutsideTheProfileIsAnError) {
  ASSERT_NE(NewRunner({}), nullptr);
  DeviceRunnerOptions options;
  options.captured_shapes = Captured({64});
  EXPECT_EQ(program_->NewRunner(options).status().code(), StatusCode::kInvalidArgument);
  options.captured_shapes = {{}};
  EXPECT_EQ(program_->NewRunner(options).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(DeviceRun, SeveralProfiles) {
  const std::vector<Profile> profiles = {Rows(graph_, 1, 1, 4), Rows(graph_, 64, 128, 128)};
  const auto blob = device_->Build(graph_, profiles, Exact());
  ASSERT_TRUE(blob.ok()) << blob.status().ToString();
  const auto program = device_->Load(blob->bytes, graph_, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  DeviceRunnerOptions options;
  options.captured_shapes = Captured({1, 128});
  const auto runner = (*program)->NewRunner(options);
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  for (const int64_t rows : {1, 128, 4, 64, 100, 2, 128, 1}) {
    EXPECT_EQ(Compare(**runner, graph_, rows, 7, 1e-5), "") << rows;
  }
  EXPECT_EQ(RunCode(**runner, RandomRows(5, 1)), StatusCode::kInvalidArgument);
  EXPECT_EQ(RunCode(**runner, RandomRows(129, 1)), StatusCode::kInvalidArgument);
}

TEST_F(DeviceRun, FixedShapesNeedNoProfile) {
  auto graph = InferredGraph(
      "graph \"g\" {\n  input %x: f32[4,16]\n  const %w: f32[16,3] = seed(1)\n"
      "  const %b: f32[3] = seed(2)\n  %y = Gemm(%x, %w, %b)\n  output %y\n}\n");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  const std::vector<Profile> profiles = {Rows(*graph, 4, 4, 4)};
  const auto blob = device_->Build(*graph, profiles, Exact());
  ASSERT_TRUE(blob.ok()) << blob.status().ToString();
  const auto program = device_->Load(blob->bytes, *graph, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  std::vector<std::unique_ptr<DeviceRunner>> runners;
  for (int i = 0; i < 6; ++i) {
    auto runner = (*program)->NewRunner({.captured_shapes = Captured({4})});
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    runners.push_back(*std::move(runner));
    EXPECT_EQ(Compare(*runners.back(), *graph, 4, 7, 1e-5), "");
  }
}

TEST_F(DeviceRun, IndicesOutsideTheTableAreRefused) {
  auto graph = InferredGraph(
      "graph \"g\" {\n  input %ids: i64[N]\n  const %t: f32[100,8] = seed(1)\n"
      "  %y = Gather(%t, %ids) {axis=0}\n  output %y\n}\n");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  if (const Status status = device_->Supports(*graph, graph->nodes[0]); !status.ok()) {
    GTEST_SKIP() << status.ToString();
  }
  const std::vector<Profile> profiles = {Rows(*graph, 1, 4, 8)};
  const auto blob = device_->Build(*graph, profiles, Exact());
  ASSERT_TRUE(blob.ok()) << blob.status().ToString();
  const auto program = device_->Load(blob->bytes, *graph, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  DeviceRunnerOptions options;
  options.captured_shapes = {{Shape{4}}};
  options.rows_independent = true;
  const auto runner = (*program)->NewRunner(options);
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  const auto run = [&](std::vector<int64_t> ids) {
    const Constant input =
        Constant::Of<int64_t>({static_cast<Dim>(ids.size())}, std::span<const int64_t>(ids));
    const std::vector<TensorView> inputs = {input.view()};
    const auto outputs = (*runner)->Run(inputs);
    if (!outputs.ok()) return outputs.status().code();
    const auto expected = Evaluate(*graph, inputs);
    EXPECT_TRUE(expected.ok());
    const auto got = (*outputs)[0].as<float>();
    EXPECT_THAT(std::vector<float>(got.begin(), got.end()),
                ::testing::ElementsAreArray((*expected)[0].view().as<float>()));
    return StatusCode::kOk;
  };
  EXPECT_EQ(run({0, 99, 5, 7}), StatusCode::kOk);
  EXPECT_EQ(run({3, 98}), StatusCode::kOk);
  EXPECT_EQ(run({1, 2, 3, 4, 5, 6}), StatusCode::kOk);
  EXPECT_EQ(run({0, 100}), StatusCode::kInvalidArgument);
  EXPECT_EQ(run({-101}), StatusCode::kInvalidArgument);
  EXPECT_EQ(run({int64_t{1} << 40}), StatusCode::kInvalidArgument);
  EXPECT_EQ(run({99}), StatusCode::kOk);
}

TEST_F(DeviceRun, ColumnsOfIndicesHaveTheirOwnTables) {
  auto graph = InferredGraph(
      "graph \"g\" {\n  input %ids: i64[N,2]\n  const %a: f32[100,4] = seed(1)\n"
      "  const %b: f32[5,4] = seed(2)\n  const %zero: i64[] = [0]\n  const %one: i64[] = [1]\n"
      "  %i = Gather(%ids, %zero) {axis=1}\n  %j = Gather(%ids, %one) {axis=1}\n"
      "  %x = Gather(%a, %i) {axis=0}\n  %y = Gather(%b, %j) {axis=0}\n  %z = Add(%x, %y)\n"
      "  output %z\n}\n");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  for (const Node& node : graph->nodes) {
    if (const Status status = device_->Supports(*graph, node); !status.ok()) {
      GTEST_SKIP() << status.ToString();
    }
  }
  const std::vector<Profile> profiles = {Rows(*graph, 1, 4, 8)};
  const auto blob = device_->Build(*graph, profiles, Exact());
  ASSERT_TRUE(blob.ok()) << blob.status().ToString();
  const auto program = device_->Load(blob->bytes, *graph, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  const auto runner = (*program)->NewRunner({});
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  const auto code = [&](std::vector<int64_t> ids) {
    const Constant input =
        Constant::Of<int64_t>({static_cast<Dim>(ids.size() / 2), 2}, std::span<const int64_t>(ids));
    const std::vector<TensorView> inputs = {input.view()};
    return (*runner)->Run(inputs).status().code();
  };
  EXPECT_EQ(code({99, 4, 0, 0}), StatusCode::kOk);
  EXPECT_EQ(code({99, 5, 0, 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({100, 4, 0, 0}), StatusCode::kInvalidArgument);
}

TEST_F(DeviceRun, RunnersOfFourThreadsDoNotDisturbEachOther) {
  std::vector<std::unique_ptr<DeviceRunner>> runners;
  for (int i = 0; i < 4; ++i) {
    DeviceRunnerOptions options;
    options.captured_shapes = Captured({1, 8});
    options.rows_independent = true;
    runners.push_back(NewRunner(options));
    ASSERT_NE(runners.back(), nullptr);
  }
  std::vector<std::string> wrong(runners.size());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < runners.size(); ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 500 && wrong[t].empty(); ++i) {
        const auto seed = static_cast<uint32_t>(t) * 1000 + i;
        wrong[t] =
            Compare(*runners[t], graph_, 1 + (i + static_cast<uint32_t>(t)) % 20, seed, 1e-5);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : wrong) EXPECT_EQ(text, "");
}

TEST_F(DeviceRun, LayersAreListedAndTimed) {
  const auto runner = NewRunner({.captured_shapes = Captured({8})});
  ASSERT_NE(runner, nullptr);
  const auto text = program_->LayerInformation();
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_THAT(*text, StartsWith("{"));
  EXPECT_THAT(*text, HasSubstr("\"Layers\""));
  const Constant x = RandomRows(8, 7);
  const std::vector<TensorView> inputs = {x.view()};
  const auto layers = runner->ProfileLayers(inputs);
  ASSERT_TRUE(layers.ok()) << layers.status().ToString();
  EXPECT_FALSE(layers->empty());
  double sum = 0;
  for (const auto& [layer, milliseconds] : *layers) {
    std::printf("%8.4f ms  %s\n", milliseconds, layer.c_str());
    EXPECT_GE(milliseconds, 0);
    sum += milliseconds;
  }
  EXPECT_GT(sum, 0);
  EXPECT_EQ(Compare(*runner, graph_, 8, 7, 1e-5), "");
  EXPECT_EQ(Compare(*runner, graph_, 5, 7, 1e-5), "");
}

TEST_F(DeviceRun, MemoryIsReported) {
  const auto first = NewRunner({.captured_shapes = Captured({1, 8, 32})});
  ASSERT_NE(first, nullptr);
  const uint64_t one = program_->device_bytes();
  const auto second = NewRunner({.captured_shapes = Captured({1, 8, 32})});
  const uint64_t two = program_->device_bytes();
  std::printf("with one runner %.2f MiB, with two %.2f MiB, shared %.2f MiB\n",
              static_cast<double>(one) / 1048576, static_cast<double>(two) / 1048576,
              static_cast<double>(device_->memory()->shared_bytes) / 1048576);
  EXPECT_GT(one, 0U);
  EXPECT_GE(two, one);
}

/// Whoever calls CUDA's runtime without our context would make another, of hundreds of MiB.
TEST_F(DeviceRun, NothingMakesThePrimaryContext) {
  ASSERT_NE(NewRunner({.captured_shapes = Captured({1})}), nullptr);
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr);
  auto* const state = reinterpret_cast<int (*)(int device, unsigned* flags, int* active)>(
      dlsym(library, "cuDevicePrimaryCtxGetState"));
  ASSERT_NE(state, nullptr);
  unsigned flags = 0;
  int active = -1;
  ASSERT_EQ(state(0, &flags, &active), 0);
  EXPECT_EQ(active, 0);
  dlclose(library);
}

TEST_F(DeviceRun, LatencyOfOneRow) {
  const auto captured = NewRunner({.captured_shapes = Captured({1})});
  const auto plain = NewRunner({.graphs = false});
  ASSERT_TRUE(captured != nullptr && plain != nullptr);
  const Constant x = RandomRows(1, 7);
  const std::vector<TensorView> inputs = {x.view()};
  for (DeviceRunner* runner : {captured.get(), plain.get()}) {
    std::vector<double> micros;
    for (int i = 0; i < 2000; ++i) {
      const auto start = std::chrono::steady_clock::now();
      ASSERT_TRUE(runner->Run(inputs).ok());
      micros.push_back(1e6 * SecondsSince(start));
    }
    std::ranges::sort(micros);
    std::printf("%s: p50 %.1f us, p99 %.1f us\n", runner == captured.get() ? "graph" : "plain",
                micros[micros.size() / 2], micros[micros.size() * 99 / 100]);
    EXPECT_LT(micros[micros.size() / 2], 5000);
  }
}

}  // namespace
}  // namespace verdict::tensorrt
