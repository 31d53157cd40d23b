#include "serve/device/serving_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "observe/metrics.h"
#include "runtime/device_fixture_test.h"
#include "runtime/session.h"
#include "serve/batching/scheduler.h"
#include "serve/device/device_sample.h"
#include "serve/models/loaded_model.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using State = DeviceAttachment::State;

/// A server's device of the fake plugin, set up by its environment variables.
class ServingDeviceTest : public testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"VERDICT_FAKE_LATENCY_US", "VERDICT_FAKE_MEMORY_BYTES"}) {
      unsetenv(name);
    }
  }

  static ServingDeviceOptions Fake() {
    ServingDeviceOptions options;
    options.backend = "fake";
    options.plugin_folder = VERDICT_PLUGIN_FOLDER;
    return options;
  }

  static std::shared_ptr<const LoadedModel> Load(ServingDevice* device, Scheduler* scheduler,
                                                 Metrics* metrics, ModelConfig config,
                                                 std::shared_ptr<const Engine> engine) {
    ModelHost host;
    host.metrics = metrics;
    host.scheduler = scheduler;
    host.device = device;
    return LoadedModel::FromEngine("m", 1, std::move(engine), config, host).value();
  }

  /// An engine with a plan for the fake device.
  static std::shared_ptr<const Engine> MadeEngine() {
    const std::unique_ptr<Device> device = MakeFakeDevice({});
    return EngineFor(*device);
  }

  std::unique_ptr<Scheduler> scheduler_ = Scheduler::Start(2).value();
  Metrics metrics_{1};
};

TEST_F(ServingDeviceTest, NoneIsAskedFor) {
  const auto device = ServingDevice::Open({});
  EXPECT_FALSE(device->wanted());
  EXPECT_TRUE(device->status().ok());
  EXPECT_EQ(device->host(), nullptr);
  EXPECT_FALSE(SampleDevice(*device, {}).has_value());
  const auto model = Load(device.get(), scheduler_.get(), &metrics_, {}, MadeEngine());
  EXPECT_EQ(device->Notice(model->engine(), model->config()), "");
  EXPECT_EQ(model->ServedBy(DeviceOutcome::kFailed), "cpu");
}

TEST_F(ServingDeviceTest, AutoTakesWhatThereIsAndNothingElse) {
  ServingDeviceOptions options = Fake();
  options.backend = "auto";
  options.plugin_folder = "/nonexistent";
  EXPECT_TRUE(ServingDevice::Check(options).ok());
  const auto device = ServingDevice::Open(options);
  EXPECT_FALSE(device->wanted());
  EXPECT_TRUE(device->status().ok());
}

TEST_F(ServingDeviceTest, OneThatCannotBeHadSaysWhyAndTheCpuServes) {
  ServingDeviceOptions options = Fake();
  options.plugin_folder = "/nonexistent";
  EXPECT_EQ(ServingDevice::Check(options).code(), StatusCode::kUnavailable);
  EXPECT_THAT(ServingDevice::Check(options).message(), HasSubstr("device.backend"));
  const auto device = ServingDevice::Open(options);
  EXPECT_TRUE(device->wanted());
  EXPECT_THAT(device->status().message(), HasSubstr("libverdict_fake.so"));
  const auto model = Load(device.get(), scheduler_.get(), &metrics_, {}, MadeEngine());
  EXPECT_THAT(device->Notice(model->engine(), model->config()),
              HasSubstr("served by cpu: backend 'fake': no libverdict_fake.so"));
  EXPECT_EQ(SampleDevice(*device, {})->state, "unavailable");
}

TEST_F(ServingDeviceTest, PlansThatAreNeverUsedAreAnError) {
  ServingDeviceOptions options = Fake();
  options.stored_plans = false;
  options.rebuild = false;
  EXPECT_EQ(ServingDevice::Check(options).code(), StatusCode::kInvalidArgument);
}

TEST_F(ServingDeviceTest, ModelsGoThereUnlessTheirConfigurationKeepsThem) {
  const auto device = ServingDevice::Open(Fake());
  ASSERT_NE(device->host(), nullptr) << device->status().ToString();
  ModelConfig config;
  const auto there = Load(device.get(), scheduler_.get(), &metrics_, config, MadeEngine());
  EXPECT_EQ(device->Standing(there->engine(), config).state, State::kAttached);
  EXPECT_EQ(device->Notice(there->engine(), config), "");
  EXPECT_EQ(there->ServedBy(DeviceOutcome::kAnswered), "fake");
  config.instance_kind = InstanceKind::kCpu;
  const auto here = Load(device.get(), scheduler_.get(), &metrics_, config, MadeEngine());
  EXPECT_EQ(device->Standing(here->engine(), config).state, State::kNone);
  EXPECT_THAT(device->Standing(here->engine(), config).reason, HasSubstr("KIND_CPU"));
  EXPECT_EQ(device->host()->totals().attached, 1U);
}

TEST_F(ServingDeviceTest, AnEngineWithoutAPlanThatAsksForTheDeviceIsToldWhy) {
  const auto device = ServingDevice::Open(Fake());
  ModelConfig config;
  const auto engine = Engine::FromContents(CompileForDevice()).value();
  EXPECT_EQ(device->Notice(*engine, config), "")
      << "of an engine for the CPU there is nothing to say";
  config.instance_kind = InstanceKind::kGpu;
  const auto model = Load(device.get(), scheduler_.get(), &metrics_, config, engine);
  EXPECT_THAT(device->Notice(model->engine(), config),
              HasSubstr("served by cpu: the engine holds"));
  EXPECT_EQ(model->ServedBy(DeviceOutcome::kNotThere), "") << "there is nothing to tell apart";
}

TEST_F(ServingDeviceTest, StoredPlansMayBeRefused) {
  ServingDeviceOptions options = Fake();
  options.stored_plans = false;
  const auto device = ServingDevice::Open(options);
  const auto model = Load(device.get(), scheduler_.get(), &metrics_, {}, MadeEngine());
  device->host()->WaitUntilIdle();
  EXPECT_EQ(device->host()->totals().rebuilds, 1U);
  EXPECT_EQ(device->Standing(model->engine(), {}).state, State::kAttached);
}

TEST_F(ServingDeviceTest, CostsFollowWhereTheModelRuns) {
  setenv("VERDICT_FAKE_LATENCY_US", "20000", 1);
  const auto device = ServingDevice::Open(Fake());
  const auto model = Load(device.get(), scheduler_.get(), &metrics_, {}, MadeEngine());
  ASSERT_EQ(device->Standing(model->engine(), {}).state, State::kAttached);
  EXPECT_GE(model->queue()->cost().Estimate(1), std::chrono::milliseconds(20));
  device->host()->Detach(model->engine());
  EXPECT_LT(model->queue()->cost().Estimate(1), std::chrono::milliseconds(20));
}

TEST_F(ServingDeviceTest, StreamsAreTheModelsOrElseTheServers) {
  ServingDeviceOptions options = Fake();
  options.streams = 3;
  const auto device = ServingDevice::Open(options);
  ModelConfig config;
  EXPECT_EQ(device->Streams(config), 3);
  config.instance_count = 5;
  EXPECT_EQ(device->Streams(config), 3) << "runs on the CPU";
  config.instance_kind = InstanceKind::kGpu;
  EXPECT_EQ(device->Streams(config), 5);
}

}  // namespace
}  // namespace verdict
