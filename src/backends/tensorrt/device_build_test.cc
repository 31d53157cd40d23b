// Building and loading programs: options, caches, and bytes that are none.
#include <algorithm>

#include "backends/tensorrt/device_fixture_test.h"
#include "backends/tensorrt/plan_file.h"
#include "backends/tensorrt/tensorrt_library.h"

namespace verdict::tensorrt {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class DeviceBuild : public DeviceTest {
 protected:
  /// Builds Mlp with the options, loads it and compares its scores with the reference.
  std::string BuildAndCompare(const DeviceBuildOptions& options, double tolerance,
                              DeviceBlob* blob = nullptr) {
    const Graph graph = Mlp();
    const std::vector<Profile> profiles = {Rows(graph, 1, 8, 32)};
    auto built = device_->Build(graph, profiles, options);
    if (!built.ok()) return "build: " + built.status().ToString();
    const auto program = device_->Load(built->bytes, graph, profiles);
    if (!program.ok()) return "load: " + program.status().ToString();
    const auto runner = (*program)->NewRunner({});
    if (!runner.ok()) return "runner: " + runner.status().ToString();
    if (blob != nullptr) *blob = *std::move(built);
    return Compare(**runner, graph, 8, 5, tolerance);
  }
};

TEST_F(DeviceBuild, DescribesTheCard) {
  const DeviceInfo& info = device_->info();
  std::printf("%s\n%s\n%s\n%s\n%.1f GiB\n", info.name.c_str(), info.uuid.c_str(),
              info.fingerprint.c_str(), info.versions.c_str(),
              static_cast<double>(info.memory_bytes) / (1U << 30U));
  EXPECT_EQ(info.backend, "tensorrt");
  EXPECT_THAT(info.fingerprint, StartsWith("tensorrt " + std::to_string(kTensorRtMajor) + "."));
  EXPECT_THAT(info.fingerprint, HasSubstr(" sm_"));
  EXPECT_THAT(info.uuid, StartsWith("GPU-"));
  EXPECT_EQ(info.uuid.size(), 40U);
  const auto memory = device_->memory();
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->total_bytes, info.memory_bytes);
  EXPECT_GT(memory->free_bytes, 0U);
}

TEST_F(DeviceBuild, Float32IsTheReferences) { EXPECT_EQ(BuildAndCompare(Exact(), 1e-5), ""); }

TEST_F(DeviceBuild, ScoresFarBelowOneKeepTheirOrder) {
  const auto graph = InferredGraph(
      "graph \"scores\" {\n  input %x: f32[N,16]\n  %s = Sigmoid(%x)\n  output %s\n}\n");
  ASSERT_TRUE(graph.ok());
  const std::vector<Profile> profiles = {Rows(*graph, 1, 8, 32)};
  constexpr int64_t kRows = 8;
  auto [x, data] = Constant::Allocate(DataType::kFloat32, {kRows, kFeatures});
  const std::span logits(static_cast<float*>(data), kRows * kFeatures);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 10.0F - 0.7F * static_cast<float>(i);
  const std::vector<TensorView> inputs = {x.view()};
  for (const bool fp16 : {false, true}) {
    if (fp16 && kTensorRtMajor >= 11) continue;
    DeviceBuildOptions options = Exact();
    options.fp16 = fp16;
    const auto built = device_->Build(*graph, profiles, options);
    ASSERT_TRUE(built.ok()) << built.status().ToString();
    const auto program = device_->Load(built->bytes, *graph, profiles);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    const auto runner = (*program)->NewRunner({});
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    const auto outputs = (*runner)->Run(inputs);
    ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
    const auto scores = (*outputs)[0].as<float>();
    for (size_t i = 0; i < logits.size(); ++i) {
      const double want = 1 / (1 + std::exp(-static_cast<double>(logits[i])));
      EXPECT_NEAR(scores[i], want, 2e-5 * want) << "of " << logits[i] << ", fp16: " << fp16;
    }
  }
}

/// A scaler that was folded into the first product: amounts far beyond halves' 65,504, weights far
/// below their least, and sums around 1. Whichever is faster, this product stays in float32.
TEST_F(DeviceBuild, AmountsBeyondHalvesKeepTheirScores) {
  if (kTensorRtMajor >= 11) GTEST_SKIP() << "TensorRT 11 takes types from the graph alone";
  constexpr int64_t kWide = 512, kRows = 32;
  const auto graph = InferredGraph(
      "graph \"amounts\" {\n  input %x: f32[N,16]\n  const %w: f32[16,512] = seed(1)\n"
      "  const %small: f32[] = [1e-6]\n  const %v: f32[512,512] = seed(2)\n"
      "  %u = Mul(%w, %small)\n  %a = MatMul(%x, %u)\n  %b = Tanh(%a)\n"
      "  %c = MatMul(%b, %v)\n  output %c\n}\n");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  const std::vector<Profile> profiles = {Rows(*graph, 1, kRows, kRows)};
  DeviceBuildOptions options;
  options.fp16 = true;
  const auto built = device_->Build(*graph, profiles, options);
  ASSERT_TRUE(built.ok()) << built.status().ToString();
  const auto program = device_->Load(built->bytes, *graph, profiles);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  const auto runner = (*program)->NewRunner({});
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  auto [x, data] = Constant::Allocate(DataType::kFloat32, {kRows, kFeatures});
  const std::span amounts(static_cast<float*>(data), kRows * kFeatures);
  for (size_t i = 0; i < amounts.size(); ++i) amounts[i] = 7e4F + 1e3F * static_cast<float>(i);
  const std::vector<TensorView> inputs = {x.view()};
  const auto want = Evaluate(*graph, inputs);
  ASSERT_TRUE(want.ok()) << want.status().ToString();
  const auto got = (*runner)->Run(inputs);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  const auto expected = (*want)[0].view().as<const float>();
  const auto scores = (*got)[0].as<float>();
  ASSERT_EQ(scores.size(), static_cast<size_t>(kRows * kWide));
  float largest = 1;
  for (const float value : expected) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < scores.size(); ++i) {
    ASSERT_NEAR(scores[i], expected[i], 0.02 * largest) << "score " << i;
  }
}

TEST_F(DeviceBuild, HalfPrecision) {
  DeviceBuildOptions options;
  options.fp16 = true;
  if (kTensorRtMajor >= 11) {
    EXPECT_THAT(BuildAndCompare(options, 1e-2), StartsWith("build: UNIMPLEMENTED"));
  } else {
    EXPECT_EQ(BuildAndCompare(options, 1e-2), "");
  }
  options.fp16 = false;
  options.bf16 = true;
  if (kTensorRtMajor != 10) {
    EXPECT_THAT(BuildAndCompare(options, 1e-2), StartsWith("build: UNIMPLEMENTED"));
  } else {
    EXPECT_EQ(BuildAndCompare(options, 5e-2), "");
  }
}

TEST_F(DeviceBuild, Int8CalibratesOnceAndThenReadsTheCache) {
  DeviceBuildOptions options = Exact();
  options.int8 = true;
  if (kTensorRtMajor >= 11) {
    EXPECT_THAT(BuildAndCompare(options, 1), StartsWith("build: UNIMPLEMENTED"));
    return;
  }
  EXPECT_THAT(BuildAndCompare(options, 1),
              StartsWith("build: INVALID_ARGUMENT: int8 needs samples"));
  std::vector<std::vector<Constant>> samples;
  for (uint32_t i = 0; i < 32; ++i) samples.push_back({RandomRows(8, 100 + i)});
  options.samples = samples;
  DeviceBlob first, second;
  EXPECT_EQ(BuildAndCompare(options, 0.1, &first), "");
  std::printf("%s\n", first.calibration_cache.c_str());
  ASSERT_THAT(first.calibration_cache, StartsWith("TRT-"));
  EXPECT_THAT(first.calibration_cache, HasSubstr("EntropyCalibration2"));
  EXPECT_THAT(first.calibration_cache, HasSubstr("in0: "));
  options.samples = {};
  options.calibration_cache = first.calibration_cache;
  EXPECT_EQ(BuildAndCompare(options, 0.1, &second), "");
  EXPECT_EQ(second.calibration_cache, first.calibration_cache);
}

TEST_F(DeviceBuild, SamplesOfOtherShapesAreRefused) {
  if (kTensorRtMajor >= 11) GTEST_SKIP() << "TensorRT 11 has no calibration of its own";
  DeviceBuildOptions options;
  options.int8 = true;
  const std::vector<std::vector<Constant>> samples = {{RandomRows(8, 1)}, {RandomRows(7, 1)}};
  options.samples = samples;
  EXPECT_THAT(BuildAndCompare(options, 1), HasSubstr("calibration sample 1"));
}

TEST_F(DeviceBuild, TimingCacheIsFilledAndUsed) {
  std::vector<std::byte> cache;
  DeviceBuildOptions options = Exact();
  options.timing_cache = &cache;
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(BuildAndCompare(options, 1e-5), "");
  const double first = SecondsSince(start);
  EXPECT_GT(cache.size(), 0U);
  start = std::chrono::steady_clock::now();
  EXPECT_EQ(BuildAndCompare(options, 1e-5), "");
  const double second = SecondsSince(start);
  std::printf("built in %.2f s, with the timing cache (%zu bytes) in %.2f s\n", first, cache.size(),
              second);
  EXPECT_LE(second, first * 1.2 + 0.5);
}

TEST_F(DeviceBuild, DamagedTimingCacheIsReplaced) {
  const std::string text = "not a timing cache";
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<std::byte> cache(bytes.begin(), bytes.end());
  DeviceBuildOptions options = Exact();
  options.timing_cache = &cache;
  EXPECT_EQ(BuildAndCompare(options, 1e-5), "");
  EXPECT_FALSE(std::ranges::equal(cache, bytes));
}

TEST_F(DeviceBuild, OptionsAreCheckedByName) {
  DeviceBuildOptions options = Exact();
  options.memory_pools["workspace"] = 1U << 20U;
  EXPECT_EQ(BuildAndCompare(options, 1e-5), "");
  options.memory_pools["workspase"] = 1;
  EXPECT_THAT(BuildAndCompare(options, 1e-5), StartsWith("build: INVALID_ARGUMENT"));
  options = Exact();
  options.tactic_sources = {"-CUDDN"};
  EXPECT_THAT(BuildAndCompare(options, 1e-5), StartsWith("build: INVALID_ARGUMENT"));
  options = Exact();
  options.optimization_level = 2;
  if (kHeaderVersion < 806) {
    EXPECT_THAT(BuildAndCompare(options, 1e-5), StartsWith("build: UNIMPLEMENTED"));
  } else {
    EXPECT_EQ(BuildAndCompare(options, 1e-5), "");
  }
}

TEST_F(DeviceBuild, ForeignBytesAreRefused) {
  const std::vector<std::byte>& bytes = BuiltMlp(*device_).bytes;
  ASSERT_FALSE(bytes.empty());
  const std::string text(10'000, 'x');
  EXPECT_EQ(LoadMlp(*device_, std::as_bytes(std::span(text))).status().code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(LoadMlp(*device_, {}).status().code(), StatusCode::kDataLoss);
  for (size_t size = 1; size < bytes.size(); size += bytes.size() / 50) {
    EXPECT_EQ(LoadMlp(*device_, std::span(bytes).first(size)).status().code(),
              StatusCode::kDataLoss);
  }
  std::vector<std::byte> changed = bytes;
  for (size_t i = 0; i < changed.size(); i += 97) {
    changed[i] ^= std::byte{0x10};
    ASSERT_EQ(LoadMlp(*device_, changed).status().code(), StatusCode::kDataLoss) << i;
    changed[i] ^= std::byte{0x10};
  }
  EXPECT_TRUE(LoadMlp(*device_, changed).ok());
}

TEST_F(DeviceBuild, BytesThatOnlyTensorRtCanRefuse) {
  const auto file = ParsePlanFile(BuiltMlp(*device_).bytes);
  ASSERT_TRUE(file.ok());
  const std::string text(10'000, 'x');
  const auto program =
      LoadMlp(*device_, WritePlanFile(file->header, std::as_bytes(std::span(text))));
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(program.status().message(), HasSubstr("TensorRT: "));
}

TEST_F(DeviceBuild, ProgramsOfOtherGraphsVersionsAndCardsAreRefused) {
  const std::vector<std::byte>& bytes = BuiltMlp(*device_).bytes;
  ASSERT_FALSE(bytes.empty());
  const Graph graph = Mlp();
  EXPECT_EQ(
      device_->Load(bytes, graph, std::vector<Profile>{Rows(graph, 1, 8, 33)}).status().code(),
      StatusCode::kFailedPrecondition);
  auto other =
      InferredGraph("graph \"g\" {\n  input %x: f32[N,16]\n  %y = Relu(%x)\n  output %y\n}\n");
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(
      device_->Load(bytes, *other, std::vector<Profile>{Rows(*other, 1, 8, 32)}).status().code(),
      StatusCode::kFailedPrecondition);
  const auto file = ParsePlanFile(bytes);
  ASSERT_TRUE(file.ok());
  PlanHeader header = file->header;
  header.sm += 1;
  EXPECT_EQ(LoadMlp(*device_, WritePlanFile(header, file->plan)).status().code(),
            StatusCode::kFailedPrecondition);
  header = file->header;
  header.tensorrt_version += 1;
  EXPECT_EQ(LoadMlp(*device_, WritePlanFile(header, file->plan)).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(DeviceBuild, RefitGivesTheNewWeightsScores) {
  const DeviceBlob& blob = BuiltMlp(*device_, true);
  ASSERT_FALSE(blob.bytes.empty());
  const Graph other = Mlp(2);
  const auto start = std::chrono::steady_clock::now();
  const auto refitted = device_->Refit(blob.bytes, other);
  ASSERT_TRUE(refitted.ok()) << refitted.status().ToString();
  std::printf("refitted in %.3f s\n", SecondsSince(start));
  const auto program = device_->Load(*refitted, other, std::vector<Profile>{Rows(other, 1, 8, 32)});
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  const auto runner = (*program)->NewRunner({});
  ASSERT_TRUE(runner.ok()) << runner.status().ToString();
  EXPECT_EQ(Compare(**runner, other, 8, 1, 1e-5), "");
  EXPECT_NE(Compare(**runner, Mlp(1), 8, 1, 1e-5), "");
}

TEST_F(DeviceBuild, RefitRefusesProgramsThatWereNotBuiltForIt) {
  EXPECT_EQ(device_->Refit(BuiltMlp(*device_).bytes, Mlp(2)).status().code(),
            StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace verdict::tensorrt
