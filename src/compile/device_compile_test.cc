#include "compile/device_compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/device/fake_device.h"
#include "compile/compile.h"
#include "engine/device_parts.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

/// Two layers with an operator between them that a device may lack.
EngineContents MakeContents(const std::string& weights = "seed(1)") {
  Graph graph = ParseGraph(R"(graph "g" {
      input %x: f32[N,4]
      const %w: f32[4,4] = )" +
                           weights + R"(
      const %v: f32[4,1] = seed(2)
      %a = MatMul(%x, %w)
      %b = Erf(%a)
      %c = MatMul(%b, %v)
      %y = Sigmoid(%c)
      output %y
    })")
                    .value();
  VERDICT_CHECK(InferShapes(graph).ok());
  CompileOptions options;
  options.opt_shapes = {{"x", {4, 4}}};
  options.backend = "reference";
  return Compile(std::move(graph), options).value().contents;
}

class DeviceCompileTest : public ::testing::Test {
 protected:
  Result<DevicePlan> Make() { return MakeDevicePlan(contents_, *MakeFakeDevice(fake_), options_); }
  std::vector<std::vector<Constant>> Samples() const {
    std::vector<std::vector<Constant>> samples;
    for (float x : {1.0F, -2.0F}) {
      samples.push_back({Constant::Of<float>({4, 4}, std::vector<float>(16, x))});
    }
    return samples;
  }

  EngineContents contents_ = MakeContents();
  FakeDeviceOptions fake_;
  DeviceCompileOptions options_;
};

TEST_F(DeviceCompileTest, PlansTheWholeGraphInOneProgram) {
  options_.rows_independent = true;
  const auto plan = Make();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->backend, "fake");
  EXPECT_EQ(plan->fingerprint, "fake 1.0");
  EXPECT_EQ(plan->device, "Fake device, fake 1.0");
  EXPECT_TRUE(plan->rows_independent);
  EXPECT_EQ(plan->tolerance, 1e-3F);  // TF32
  ASSERT_EQ(plan->parts.size(), 1u);
  EXPECT_TRUE(plan->parts[0].part.on_device);
  EXPECT_FALSE(plan->parts[0].program.empty());
}

TEST_F(DeviceCompileTest, TheFileHoldsIt) {
  fake_.unsupported = {"Erf"};
  contents_.device_plans = {Make().value()};
  const auto file = SerializeEngine(contents_).value();
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  ASSERT_EQ(read->device_plans.size(), 1u);
  ASSERT_EQ(read->device_plans[0].parts.size(), 3u);
  EXPECT_TRUE(std::ranges::equal(read->device_plans[0].parts[2].program,
                                 contents_.device_plans[0].parts[2].program));
  EXPECT_TRUE(CheckPrograms(*read, read->device_plans[0]).ok());
}

TEST_F(DeviceCompileTest, SaysWhatStaysOnTheHost) {
  fake_.unsupported = {"Erf"};
  std::vector<std::string> lines;
  options_.log = [&](const std::string& line) { lines.push_back(line); };
  ASSERT_TRUE(Make().ok());
  EXPECT_THAT(lines, Contains(HasSubstr("(Erf) stays on the host: the fake device has no Erf")));
}

TEST_F(DeviceCompileTest, RefusesWhatIsNotWorthIt) {
  fake_.unsupported = {"MatMul", "FusedGemm", "Gemm"};
  const auto plan = Make();
  EXPECT_EQ(plan.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(plan.status().message(), HasSubstr("nothing in the model is worth Fake device"));
}

TEST_F(DeviceCompileTest, TheToleranceIsOfThePrecisionOrWhatGoldenVectorsShow) {
  options_.build.tf32 = false;
  EXPECT_EQ(Make()->tolerance, kMinGoldenTolerance);
  options_.build.fp16 = true;
  EXPECT_EQ(Make()->tolerance, 1e-2F);
  fake_.half_error = 0.05F;
  const auto plan = Make();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_GT(plan->tolerance, 1e-2F);
  EXPECT_LE(plan->tolerance, kMaxDeviceTolerance);
  fake_.half_error = 5;
  const Status status = Make().status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("output 'y' is off by"));
  EXPECT_THAT(status.message(), HasSubstr("build in a wider precision"));
}

TEST_F(DeviceCompileTest, CalibratesFromSamplesOrACache) {
  const auto samples = Samples();
  options_.build.int8 = true;
  EXPECT_EQ(Make().status().code(), StatusCode::kInvalidArgument);  // of the device: neither
  options_.samples = samples;
  const auto plan = Make();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  const std::string cache = plan->options.at("calibration_cache");
  EXPECT_THAT(cache, HasSubstr("x: 3c810204"));  // 2 / 127
  options_.samples = {};
  options_.build.calibration_cache = cache;
  EXPECT_EQ(Make()->options.at("calibration_cache"), cache);
}

TEST_F(DeviceCompileTest, CalibratesOnePartBehindTheHost) {
  // What the second product reads comes out of the reference kernels: Erf of up to 1.
  fake_.unsupported = {"Erf"};
  const auto samples = Samples();
  options_.build.int8 = true;
  options_.samples = samples;
  EXPECT_EQ(Make().status().code(), StatusCode::kUnimplemented);  // two parts
  contents_ = MakeContents("fill(0)");
  fake_.unsupported = {"Erf"};
  EXPECT_THAT(Make().status().message(), HasSubstr("--explicit"));
}

TEST_F(DeviceCompileTest, RefitsWithOtherWeights) {
  options_.build.refittable = true;
  const DevicePlan plan = Make().value();
  const EngineContents other = MakeContents("seed(3)");
  const auto device = MakeFakeDevice(fake_);
  std::vector<std::string> lines;
  const auto log = [&](const std::string& line) { lines.push_back(line); };
  const auto refitted = RefitDevicePlan(other, contents_, plan, *device, log);
  ASSERT_TRUE(refitted.ok()) << refitted.status().ToString();
  EXPECT_THAT(lines, Contains("part 0 was refitted"));
  EXPECT_EQ(refitted->options, plan.options);
  EXPECT_FALSE(std::ranges::equal(refitted->parts[0].program, plan.parts[0].program));
  EXPECT_TRUE(CheckPrograms(other, *refitted).ok());
  EXPECT_EQ(CheckPrograms(contents_, *refitted).code(), StatusCode::kFailedPrecondition);
}

TEST_F(DeviceCompileTest, DoesNotRefitAProgramOfAnotherGraph) {
  options_.build.refittable = true;
  const DevicePlan plan = Make().value();
  const auto refitted =
      RefitDevicePlan(contents_, MakeContents("seed(3)"), plan, *MakeFakeDevice(fake_), {});
  EXPECT_EQ(refitted.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refitted.status().message(), HasSubstr("part 0: its program was not built from"));
}

TEST_F(DeviceCompileTest, BuildsAgainWhatCannotBeRefitted) {
  const DevicePlan plan = Make().value();
  const auto device = MakeFakeDevice(fake_);
  std::vector<std::string> lines;
  const auto log = [&](const std::string& line) { lines.push_back(line); };
  ASSERT_TRUE(RefitDevicePlan(MakeContents("seed(3)"), contents_, plan, *device, log).ok());
  EXPECT_THAT(lines, Contains(HasSubstr("part 0 is built again: the program was not built")));
}

TEST_F(DeviceCompileTest, RefusesToRefitForAnotherDeviceOrCalibratedInt8) {
  DevicePlan plan = Make().value();
  fake_.fingerprint = "fake 2.0";
  const auto other = RefitDevicePlan(contents_, contents_, plan, *MakeFakeDevice(fake_), {});
  EXPECT_THAT(other.status().message(), HasSubstr("is for 'fake 1.0', this device is 'fake 2.0'"));
  fake_.fingerprint = "fake 1.0";
  plan.options.emplace("int8", "1");
  const auto int8 = RefitDevicePlan(contents_, contents_, plan, *MakeFakeDevice(fake_), {});
  EXPECT_THAT(int8.status().message(), HasSubstr("calibrated with its old weights"));
}

}  // namespace
}  // namespace verdict
