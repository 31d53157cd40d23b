// Of DeviceHost: who may be on the device, and who makes room.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "runtime/device_host_test.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;
using State = DeviceAttachment::State;
using std::chrono::milliseconds;

/// Or 20 s; does so again and again meanwhile.
void WaitUntilAttached(const DeviceHost& host, const Engine& engine,
                       const std::function<void()>& meanwhile) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (host.attachment(engine).state != State::kAttached &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(5));
    meanwhile();
  }
}

TEST(DeviceAdmission, EvictsWhoWasIdleLongestAndBringsItBack) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  DeviceHostOptions options;
  options.memory_limit_bytes = 2 * OneEngine() + 100;
  options.idle_ms = 300;
  const auto host = HostOf(device, options);
  const auto a = EngineFor(*device), b = EngineFor(*device), c = EngineFor(*device);
  EXPECT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
  EXPECT_EQ(host->Attach(b, "b", {}).state, State::kAttached);
  EXPECT_EQ(RunBy(a), "fake");
  // Both are in use: the third has to wait.
  const DeviceAttachment refused = host->Attach(c, "c", {});
  EXPECT_EQ(refused.state, State::kRefused);
  EXPECT_THAT(refused.reason, HasSubstr("no room on the device"));
  EXPECT_EQ(RunBy(c), "cpu");
  // It has been used, so it comes once another is idle: b, as a was used later.
  const auto session = Session::Create(c).value();
  WaitUntilAttached(*host, *c, [&] { EXPECT_EQ(RunBy(a), "fake"); });
  EXPECT_EQ(RunBy(c), "fake");
  EXPECT_EQ(host->attachment(*b).state, State::kEvicted);
  EXPECT_EQ(host->totals().evictions, 1U);
  EXPECT_EQ(host->totals().attached, 2U);
  EXPECT_LE(host->totals().used_bytes, options.memory_limit_bytes);
  // And back, when it is used and another is idle.
  std::this_thread::sleep_for(milliseconds(320));
  EXPECT_EQ(RunBy(a), "fake");
  EXPECT_EQ(RunBy(b), "cpu");
  WaitUntilAttached(*host, *b, [&] { EXPECT_EQ(RunBy(a), "fake"); });
  EXPECT_EQ(RunBy(b), "fake");
  EXPECT_EQ(host->attachment(*c).state, State::kEvicted);
}

TEST(DeviceAdmission, AnEngineThatIsGoneMakesRoom) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  DeviceHostOptions options;
  options.memory_limit_bytes = OneEngine() + 100;
  const auto host = HostOf(device, options);
  auto old = EngineFor(*device);
  const auto next = EngineFor(*device);
  EXPECT_EQ(host->Attach(old, "m", {}).state, State::kAttached);
  EXPECT_EQ(host->Attach(next, "m", {}).state, State::kRefused);
  EXPECT_EQ(RunBy(next), "cpu");
  old.reset();
  EXPECT_EQ(host->totals().attached, 0U);
  WaitUntilAttached(*host, *next, [] {});
  EXPECT_EQ(RunBy(next), "fake");
}

TEST(DeviceAdmission, WithoutMemoryThatEngineAloneIsRefused) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto host = HostOf(device);
  const auto a = EngineFor(*device), b = EngineFor(*device);
  EXPECT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
  ASSERT_TRUE(host->InjectFault("oom").ok());
  const DeviceAttachment refused = host->Attach(b, "b", {});
  EXPECT_EQ(refused.state, State::kRefused);
  EXPECT_THAT(refused.reason, HasSubstr("no memory"));
  EXPECT_EQ(RunBy(a), "fake");
  EXPECT_EQ(RunBy(b), "cpu");
  EXPECT_EQ(host->totals().state, DeviceHost::State::kHealthy);
  host->Detach(*a);  // now there may be memory
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(b), "fake");
}

TEST(DeviceAdmission, WhatEnginesShareIsCountedOnceAndWithinTheLimit) {
  const uint64_t one = OneEngine();
  FakeDeviceOptions fake;
  fake.shared_bytes = one / 2;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  DeviceHostOptions options;
  options.memory_limit_bytes = 3 * one;  // of three engines there is no room for what they share
  options.idle_ms = 0;
  const auto host = HostOf(device, options);
  const auto a = EngineFor(*device), b = EngineFor(*device), c = EngineFor(*device);
  EXPECT_EQ(host->totals().shared_bytes, 0U);
  EXPECT_EQ(host->Attach(a, "a", {}).device_bytes, one);
  EXPECT_EQ(host->totals().shared_bytes, one / 2);
  EXPECT_EQ(host->Attach(b, "b", {}).device_bytes, one);
  EXPECT_EQ(host->totals().used_bytes, 2 * one);
  EXPECT_EQ(host->totals().shared_bytes, one / 2);
  EXPECT_EQ(host->Attach(c, "c", {}).state, State::kAttached);
  EXPECT_EQ(host->attachment(*a).state, State::kEvicted);
  for (const auto& engine : {a, b, c}) host->Detach(*engine);
  EXPECT_EQ(host->totals().shared_bytes, 0U);
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

/// How often an engine that is attached with these options is loaded.
DeviceEngineOptions Counting(std::atomic<int>& loads) {
  DeviceEngineOptions options;
  options.prepare = [&loads](DeviceEngine&) {
    ++loads;
    return OkStatus();
  };
  return options;
}

// Only its load shows what it needs of the scratch; the engine of trees needs none.
TEST(DeviceAdmission, AnEngineWhoseScratchHasNoRoomIsTriedAgainOnceThereIs) {
  const uint64_t one = OneEngine(), trees = OneEngine(kDeviceTrees);
  FakeDeviceOptions fake;
  fake.shared_bytes = one;
  fake.sharing_from_bytes = 500;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  DeviceHostOptions options;
  options.memory_limit_bytes = 2 * one + trees - 1;
  const auto host = HostOf(device, options);
  const auto small = EngineFor(*device, kDeviceTrees), large = EngineFor(*device);
  std::atomic<int> loads = 0;
  ASSERT_EQ(host->Attach(small, "small", {}).state, State::kAttached);
  ASSERT_EQ(host->totals().shared_bytes, 0U);
  const DeviceAttachment refused = host->Attach(large, "large", Counting(loads));
  EXPECT_EQ(refused.state, State::kRefused);
  EXPECT_THAT(refused.reason, HasSubstr("no room on the device"));
  EXPECT_EQ(host->totals().shared_bytes, 0U);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(RunBy(large), "cpu");
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(host->attachment(*large).state, State::kRefused);
  EXPECT_EQ(RunBy(small), "fake");
  host->Detach(*small);
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(large), "fake");
  EXPECT_EQ(loads, 2);
}

TEST(DeviceAdmission, ScratchThatIsThereByNowIsNotNeededAgain) {
  const uint64_t one = OneEngine(), trees = OneEngine(kDeviceTrees);
  FakeDeviceOptions fake;
  fake.shared_bytes = one;
  fake.sharing_from_bytes = 500;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  DeviceHostOptions options;
  options.memory_limit_bytes = 3 * one;  // of two engines and their scratch
  const auto host = HostOf(device, options);
  std::vector<std::shared_ptr<const Engine>> small;
  for (uint64_t bytes = 0; bytes <= one; bytes += trees) {
    small.push_back(EngineFor(*device, kDeviceTrees));
    ASSERT_EQ(host->Attach(small.back(), "small", {}).state, State::kAttached);
  }
  const auto a = EngineFor(*device), b = EngineFor(*device);
  ASSERT_EQ(host->Attach(a, "a", {}).state, State::kRefused);
  for (const auto& engine : small) host->Detach(*engine);
  ASSERT_EQ(host->Attach(b, "b", {}).state, State::kAttached);
  EXPECT_EQ(RunBy(a), "cpu");  // which asks for it
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(a), "fake");
  EXPECT_EQ(host->attachment(*b).state, State::kAttached);
}

TEST(DeviceAdmission, WhatIsSharedStaysKnownWhereTheDeviceDoesNotTell) {
  FakeDeviceOptions fake;
  fake.shared_bytes = 1000;
  fake.memory_answers = 1;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  const auto host = HostOf(device);
  const auto a = EngineFor(*device), b = EngineFor(*device);
  ASSERT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
  ASSERT_EQ(host->Attach(b, "b", {}).state, State::kAttached);
  EXPECT_EQ(host->totals().shared_bytes, 1000U);
  // Of a lost one nothing is left.
  ASSERT_TRUE(host->InjectFault("trap").ok());
  host->WaitUntilIdle();
  EXPECT_EQ(host->totals().shared_bytes, 0U);
}

TEST(DeviceAdmission, WhatEnginesShareInAWorkerIsCounted) {
  DeviceHostOptions options;
  options.backend = "fake";
  options.plugin_folder = VERDICT_TEST_PLUGINS_FOLDER;
  options.memory_limit_bytes = 2 * OneEngine() + 1000;
  options.idle_ms = 0;
  ::setenv("VERDICT_FAKE_SHARED_BYTES", "1001", 1);
  const auto host = DeviceHost::Open(options);
  ::unsetenv("VERDICT_FAKE_SHARED_BYTES");
  ASSERT_TRUE(host.ok()) << host.status().ToString();
  const std::shared_ptr<Device> builder = MakeFakeDevice({});
  const auto a = EngineFor(*builder), b = EngineFor(*builder);
  ASSERT_EQ((*host)->Attach(a, "a", {}).state, State::kAttached);
  EXPECT_EQ((*host)->totals().shared_bytes, 1001U);
  EXPECT_EQ((*host)->Attach(b, "b", {}).state, State::kAttached);
  EXPECT_EQ((*host)->attachment(*a).state, State::kEvicted);
  (*host)->Detach(*b);
  EXPECT_EQ((*host)->totals().shared_bytes, 0U);
}

}  // namespace
}  // namespace verdict
