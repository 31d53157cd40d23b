#include "backends/device/fake_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

Graph Layer(const std::string& weights) {
  Graph graph = ParseGraph(R"(graph "g" {
      input %x: f32[N,2]
      const %w: f32[2,1] = )" +
                           weights + R"(
      %y = MatMul(%x, %w)
      output %y
    })")
                    .value();
  VERDICT_CHECK(InferShapes(graph).ok());
  return graph;
}

class FakeDeviceTest : public ::testing::Test {
 protected:
  const Graph graph_ = Layer("[2, 3]");
  const std::vector<Profile> profiles_ = {MakeProfile(graph_, {}, {}, {}).value()};
  FakeDeviceOptions options_;
  std::unique_ptr<Device> device_ = MakeFakeDevice(options_);

  std::vector<std::byte> Build(const DeviceBuildOptions& options = {}) {
    return device_->Build(graph_, profiles_, options).value().bytes;
  }
};

TEST_F(FakeDeviceTest, ComputesWhatTheGraphSays) {
  const auto program = device_->Load(Build(), graph_, profiles_);
  ASSERT_TRUE(program.ok()) << program.status().ToString();
  const auto runner = (*program)->NewRunner({}).value();
  const Constant x = Constant::Of<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  const auto outputs = runner->Run(std::vector{x.view()});
  ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
  EXPECT_EQ((*outputs)[0].shape, (Shape{2, 1}));
  EXPECT_EQ((*outputs)[0].as<const float>()[0], 8);
  EXPECT_EQ((*outputs)[0].as<const float>()[1], 18);
}

TEST_F(FakeDeviceTest, RefusesProgramsOfOtherGraphsWeightsAndDevices) {
  const std::vector<std::byte> bytes = Build();
  EXPECT_EQ(device_->Load(bytes, Layer("[2, 4]"), profiles_).status().code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(device_->Load(std::span(bytes).first(30), graph_, profiles_).status().code(),
            StatusCode::kDataLoss);
  options_.fingerprint = "fake 2.0";
  EXPECT_EQ(MakeFakeDevice(options_)->Load(bytes, graph_, profiles_).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(FakeDeviceTest, RefitsWhatWasBuiltForIt) {
  const Graph other = Layer("[2, 4]");
  EXPECT_EQ(device_->Refit(Build(), other).status().code(), StatusCode::kFailedPrecondition);
  DeviceBuildOptions refittable;
  refittable.refittable = true;
  const auto bytes = device_->Refit(Build(refittable), other);
  ASSERT_TRUE(bytes.ok());
  EXPECT_TRUE(device_->Load(*bytes, other, profiles_).ok());
}

TEST_F(FakeDeviceTest, IsLostByATrapUntilItRecovers) {
  auto program = device_->Load(Build(), graph_, profiles_).value();
  auto runner = program->NewRunner({}).value();
  const Constant x = Constant::Of<float>({1, 2}, std::vector<float>{1, 2});
  ASSERT_TRUE(device_->InjectFault("trap").ok());
  EXPECT_EQ(runner->Run(std::vector{x.view()}).status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(device_->lost());
  EXPECT_EQ(device_->Recover().code(), StatusCode::kFailedPrecondition);  // still held
  runner.reset();
  program.reset();
  EXPECT_TRUE(device_->Recover().ok());
  EXPECT_TRUE(device_->Load(Build(), graph_, profiles_).ok());
}

TEST_F(FakeDeviceTest, HangsForItsTimeout) {
  options_.run_timeout_ms = 5;
  device_ = MakeFakeDevice(options_);
  const auto program = device_->Load(Build(), graph_, profiles_).value();
  const auto runner = program->NewRunner({}).value();
  const Constant x = Constant::Of<float>({1, 2}, std::vector<float>{1, 2});
  ASSERT_TRUE(device_->InjectFault("hang").ok());
  EXPECT_EQ(runner->Run(std::vector{x.view()}).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(runner->Run(std::vector{x.view()}).status().code(), StatusCode::kUnavailable);
}

TEST_F(FakeDeviceTest, RunsOutOfMemory) {
  const std::vector<std::byte> bytes = Build();
  ASSERT_TRUE(device_->InjectFault("oom").ok());
  EXPECT_EQ(device_->Load(bytes, graph_, profiles_).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(device_->Load(bytes, graph_, profiles_).ok());
  options_.memory_bytes = 8;
  EXPECT_EQ(MakeFakeDevice(options_)->Load(bytes, graph_, profiles_).status().code(),
            StatusCode::kResourceExhausted);
}

TEST_F(FakeDeviceTest, CalibratesFromSamples) {
  DeviceBuildOptions options;
  options.int8 = true;
  EXPECT_EQ(device_->Build(graph_, profiles_, options).status().code(),
            StatusCode::kInvalidArgument);
  const std::vector<std::vector<Constant>> samples = {
      {Constant::Of<float>({1, 2}, std::vector<float>{-127, 2})}};
  options.samples = samples;
  const auto blob = device_->Build(graph_, profiles_, options);
  ASSERT_TRUE(blob.ok());
  EXPECT_THAT(blob->calibration_cache, HasSubstr("x: 3f800000"));
}

TEST_F(FakeDeviceTest, RefusesWhatItDoesNotKnow) {
  DeviceBuildOptions options;
  options.memory_pools.emplace("dlaSRAM", 1);
  EXPECT_EQ(device_->Build(graph_, profiles_, options).status().code(),
            StatusCode::kInvalidArgument);
  options_.unsupported = {"MatMul"};
  EXPECT_EQ(MakeFakeDevice(options_)->Build(graph_, profiles_, {}).status().code(),
            StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace verdict
