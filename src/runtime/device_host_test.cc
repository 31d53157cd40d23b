#include "runtime/device_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>
#include <thread>

#include "runtime/allocation_count_test.h"
#include "runtime/device_host_test.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;
using State = DeviceAttachment::State;
using std::chrono::milliseconds;

TEST(DeviceHost, AttachesAnEngineThatIsRightThere) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto engine = EngineFor(*device, kDeviceTrees);
  const auto host = HostOf(device);
  EXPECT_EQ(host->attachment(*engine).state, State::kNone);
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  EXPECT_EQ(attachment.state, State::kAttached) << attachment.reason;
  EXPECT_GT(attachment.device_bytes, 0U);
  EXPECT_EQ(RunBy(engine), "fake");
  EXPECT_EQ(host->Attach(engine, "m", {}).state, State::kAttached);
  const DeviceHost::Totals totals = host->totals();
  EXPECT_EQ(totals.attached, 1U);
  EXPECT_EQ(totals.used_bytes, attachment.device_bytes);
  EXPECT_EQ(totals.limit_bytes, device->info().memory_bytes / 10 * 9);
  host->Detach(*engine);
  EXPECT_EQ(RunBy(engine), "cpu");
  EXPECT_EQ(host->totals().used_bytes, 0U);
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

TEST(DeviceHost, ADeviceThatNeverComesBackIsNotWaitedFor) {
  FakeDeviceOptions fake;
  fake.recovers = false;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  std::atomic<int> tries = 0;
  DeviceHostOptions options;
  options.recovery_interval_ms = 1;
  options.device.log = [&](const std::string& line) {
    if (line.find("does not come back") != std::string::npos) ++tries;
  };
  const auto host = DeviceHost::Create(device, options).value();
  const auto engine = EngineFor(*device), late = EngineFor(*device);
  ASSERT_EQ(host->Attach(engine, "m", {}).state, State::kAttached);
  ASSERT_TRUE(host->InjectFault("trap").ok());
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(engine), "cpu");
  EXPECT_EQ(host->totals().state, DeviceHost::State::kLost);
  EXPECT_EQ(host->attachment(*engine).state, State::kLost);
  EXPECT_EQ(host->Attach(late, "late", {}).state, State::kLost);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(tries, 1);
}

TEST(DeviceHost, RefusesAnEngineThatIsWrongThere) {
  FakeDeviceOptions options;
  options.float32_error = 0.01F;
  const std::shared_ptr<Device> device = MakeFakeDevice(options);
  const auto engine = EngineFor(*device);
  const auto host = HostOf(device);
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  EXPECT_EQ(attachment.state, State::kRefused);
  EXPECT_THAT(attachment.reason, HasSubstr("golden vector"));
  EXPECT_EQ(RunBy(engine), "cpu");
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

TEST(DeviceHost, SaysThatAnEngineHasNoPlan) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto engine = Engine::FromContents(CompileForDevice()).value();
  const auto host = HostOf(device);
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  EXPECT_EQ(attachment.state, State::kNone);
  EXPECT_THAT(attachment.reason, HasSubstr("backend 'fake'"));
  EXPECT_EQ(RunBy(engine), "cpu");
}

TEST(DeviceHost, ChoosesThePlanOfItsBackendAndFingerprint) {
  FakeDeviceOptions other, newer;
  other.backend = "other";
  newer.fingerprint = "fake 2.0";
  const std::shared_ptr<Device> devices[] = {MakeFakeDevice({}), MakeFakeDevice(other),
                                             MakeFakeDevice(newer)};
  EngineContents contents = CompileForDevice();
  for (const auto& device : devices) {
    contents.device_plans.push_back(PlanFor(contents, *device));
  }
  for (const auto& device : devices) {
    const auto engine = Engine::FromContents(contents).value();
    const auto host = HostOf(device);
    const DeviceAttachment attachment = host->Attach(engine, "m", {});
    EXPECT_EQ(attachment.state, State::kAttached) << attachment.reason;
    EXPECT_EQ(RunBy(engine), device->info().backend);
    EXPECT_EQ(host->totals().rebuilds, 0U);
  }
}

TEST(DeviceHost, RebuildsAPlanOfAnotherFingerprintInTheBackground) {
  const std::shared_ptr<Device> old = MakeFakeDevice({});
  const auto engine = EngineFor(*old, kDeviceTrees);
  FakeDeviceOptions options;
  options.fingerprint = "fake 2.0";
  const std::shared_ptr<Device> device = MakeFakeDevice(options);
  const auto host = HostOf(device);
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  EXPECT_EQ(attachment.state, State::kBuilding);
  EXPECT_THAT(attachment.reason, HasSubstr("'fake 1.0'"));
  host->WaitUntilIdle();
  EXPECT_EQ(host->attachment(*engine).state, State::kAttached) << host->attachment(*engine).reason;
  EXPECT_EQ(RunBy(engine), "fake");
  EXPECT_EQ(host->totals().rebuilds, 1U);
  // What was built stays: no second time after a loss.
  ASSERT_TRUE(host->InjectFault("trap").ok());
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(engine), "fake");
  EXPECT_EQ(host->totals().rebuilds, 1U);
}

// The same graph, trained again, with the programs of before.
TEST(DeviceHost, RebuildsProgramsOfOtherWeightsInTheBackground) {
  FakeDeviceOptions fake;
  fake.build_ms = 200;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  std::string other = kDeviceMlp;
  other.replace(other.find("seed(3)"), 7, "seed(4)");
  EngineContents contents = CompileForDevice(other.c_str());
  contents.device_plans.push_back(PlanFor(CompileForDevice(), *device));
  const auto engine = Engine::FromContents(std::move(contents)).value();
  const auto host = HostOf(device);
  const DeviceAttachment building = host->Attach(engine, "m", {});
  EXPECT_EQ(building.state, State::kBuilding);
  EXPECT_THAT(building.reason, HasSubstr("was not built from this engine's graph and weights"));
  EXPECT_EQ(RunBy(engine), "cpu");
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(engine), "fake") << host->attachment(*engine).reason;
  EXPECT_EQ(host->totals().rebuilds, 1U);
}

TEST(DeviceHost, SaysWhereAPlanCannotBeBuiltAgain) {
  const std::shared_ptr<Device> old = MakeFakeDevice({});
  const auto engine = EngineFor(*old);
  FakeDeviceOptions options;
  options.fingerprint = "fake 2.0";
  options.unsupported = {"Softmax"};
  const std::shared_ptr<Device> device = MakeFakeDevice(options);
  const auto host = HostOf(device);
  EXPECT_EQ(host->Attach(engine, "m", {}).state, State::kBuilding);
  host->WaitUntilIdle();
  EXPECT_EQ(host->attachment(*engine).state, State::kRefused);
  EXPECT_THAT(host->attachment(*engine).reason, HasSubstr("Softmax"));
  DeviceHostOptions no_rebuild;
  no_rebuild.rebuild = false;
  const auto other = HostOf(device, no_rebuild);
  EXPECT_EQ(other->Attach(EngineFor(*old), "m", {}).state, State::kRefused);
}

TEST(DeviceHost, GetsALostDeviceBackWithItsEngines) {
  FakeDeviceOptions fake;
  fake.failing_recoveries = 3;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  const auto host = HostOf(device);
  const auto a = EngineFor(*device), b = EngineFor(*device, kDeviceTrees);
  EXPECT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
  EXPECT_EQ(host->Attach(b, "b", {}).state, State::kAttached);
  ASSERT_TRUE(device->InjectFault("trap").ok());  // behind the host's back
  EXPECT_EQ(RunBy(a), "cpu");                     // this tells it
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(a), "fake");
  EXPECT_EQ(RunBy(b), "fake");
  const DeviceHost::Totals totals = host->totals();
  EXPECT_EQ(totals.state, DeviceHost::State::kHealthy);
  EXPECT_EQ(totals.faults, 1U);
  EXPECT_EQ(totals.recoveries, 1U);
  EXPECT_EQ(totals.attached, 2U);
  EXPECT_THAT(totals.last_fault, HasSubstr("trapped"));
}

TEST(DeviceHost, NoticesALossWithoutARunOfItsOwn) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto host = HostOf(device);
  const auto engine = EngineFor(*device);
  EXPECT_EQ(host->Attach(engine, "m", {}).state, State::kAttached);
  {
    const auto other = DeviceEngine::Load(device, *engine, engine->contents().device_plans[0], {});
    ASSERT_TRUE(other.ok()) << other.status().ToString();
    ASSERT_TRUE(device->InjectFault("trap").ok());
    EXPECT_FALSE((*other)->CheckGolden(*engine).ok());
    EXPECT_TRUE(device->lost());
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (host->totals().recoveries == 0 && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  host->WaitUntilIdle();
  EXPECT_EQ(host->totals().faults, 1U);
  EXPECT_EQ(RunBy(engine), "fake");
}

/// What is to happen at the end of the first load, when its outcome is written down and the engine
/// may not be loaded by others yet: the host then lets go of its copy of the options.
struct AtTheEndOfALoad {
  std::function<void()> call;
  std::shared_ptr<std::atomic<int>> loads = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<bool>> done = std::make_shared<std::atomic<bool>>(false);
  ~AtTheEndOfALoad() {
    if (*loads == 1 && !done->exchange(true)) call();
  }
};

// The load finds the device lost, which is back before the load has quite ended.
TEST(DeviceHost, LoadsAgainWhatEndedItsLoadAfterTheDeviceWasBack) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto engine = EngineFor(*device);
  const auto host = HostOf(device);
  const auto wait_for_recovery = [&] {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (host->totals().recoveries == 0 && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_EQ(host->totals().recoveries, 1U);
    std::this_thread::sleep_for(milliseconds(50));  // all that was lost has been loaded again
    EXPECT_EQ(host->attachment(*engine).state, State::kLost);
  };
  const AtTheEndOfALoad guard{wait_for_recovery};
  DeviceEngineOptions options;
  options.prepare = [&device, guard](DeviceEngine&) {
    if (++*guard.loads > 1) return OkStatus();
    EXPECT_TRUE(device->InjectFault("trap").ok());
    return Unavailable("lost while it was loaded");
  };
  host->Attach(engine, "m", options);
  EXPECT_TRUE(*guard.done);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (host->attachment(*engine).state != State::kAttached &&
         std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(RunBy(engine), "fake");
  EXPECT_EQ(*guard.loads, 2);
  EXPECT_EQ(host->totals().faults, 1U);
}

TEST(DeviceHost, HoldsNoLockWhileItLogs) {
  const std::shared_ptr<Device> old = MakeFakeDevice({});
  FakeDeviceOptions fake;
  fake.fingerprint = "fake 2.0";
  fake.failing_recoveries = 1;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  const auto engine = EngineFor(*old);
  std::shared_ptr<DeviceHost> host;
  std::mutex mutex;
  std::vector<std::future<void>> asked;
  std::vector<std::string> lines;
  DeviceHostOptions options;
  options.device.log = [&](const std::string& line) {
    const std::scoped_lock lock(mutex);
    lines.push_back(line);
    asked.push_back(std::async(std::launch::async, [&] {
      static_cast<void>(host->totals());
      static_cast<void>(host->attachment(*engine));
    }));
    EXPECT_EQ(asked.back().wait_for(std::chrono::seconds(5)), std::future_status::ready) << line;
  };
  host = HostOf(device, options);
  EXPECT_EQ(host->Attach(engine, "m", {}).state, State::kBuilding);
  host->WaitUntilIdle();
  ASSERT_TRUE(host->InjectFault("trap").ok());
  host->WaitUntilIdle();
  host.reset();
  EXPECT_THAT(lines, ::testing::ElementsAre(HasSubstr("is built again"), HasSubstr("is lost"),
                                            HasSubstr("does not come back"), HasSubstr("is back")));
}

/// How long a host takes to end while it builds.
std::chrono::steady_clock::duration TimeToEnd(std::shared_ptr<DeviceHost> host,
                                              const std::atomic<bool>& builds) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!builds && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(builds);
  std::this_thread::sleep_for(milliseconds(50));
  const auto begin = std::chrono::steady_clock::now();
  host.reset();
  return std::chrono::steady_clock::now() - begin;
}

TEST(DeviceHost, DoesNotWaitForABuildOfAWorkersWhenItEnds) {
  FakeDeviceOptions other;
  other.fingerprint = "fake 0.9";
  const auto engine = EngineFor(*MakeFakeDevice(other));
  std::atomic<bool> builds = false;
  std::atomic<int> complaints = 0;
  DeviceHostOptions options;
  options.backend = "fake";
  options.plugin_folder = VERDICT_TEST_PLUGINS_FOLDER;
  options.device.log = [&](const std::string& line) {
    if (line.find("is built again") != std::string::npos) builds = true;
    if (line.find("no plan") != std::string::npos) ++complaints;
  };
  ::setenv("VERDICT_FAKE_BUILD_MS", "60000", 1);
  auto host = DeviceHost::Open(options);
  ::unsetenv("VERDICT_FAKE_BUILD_MS");
  ASSERT_TRUE(host.ok()) << host.status().ToString();
  EXPECT_EQ((*host)->Attach(engine, "m", {}).state, State::kBuilding);
  EXPECT_LT(TimeToEnd(*std::move(host), builds), milliseconds(1000));
  EXPECT_EQ(complaints, 0);
  EXPECT_EQ(RunBy(engine), "cpu");
}

TEST(DeviceHost, WaitsForABuildInItsOwnProcessWhenItEnds) {
  const auto engine = EngineFor(*MakeFakeDevice({}));
  FakeDeviceOptions fake;
  fake.fingerprint = "fake 2.0";
  fake.build_ms = 600;
  std::atomic<bool> builds = false;
  DeviceHostOptions options;
  options.device.log = [&](const std::string&) { builds = true; };
  auto host = HostOf(MakeFakeDevice(fake), options);
  EXPECT_EQ(host->Attach(engine, "m", {}).state, State::kBuilding);
  EXPECT_GT(TimeToEnd(std::move(host), builds), milliseconds(100));
  EXPECT_EQ(RunBy(engine), "cpu");
}

TEST(DeviceHost, TakesEnginesWhileTheDeviceIsLost) {
  FakeDeviceOptions fake;
  fake.failing_recoveries = 5;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  const auto a = EngineFor(*device);
  const auto host = HostOf(device);
  ASSERT_TRUE(host->InjectFault("trap").ok());
  const DeviceAttachment attachment = host->Attach(a, "a", {});
  if (attachment.state != State::kAttached) {  // else it was back already
    EXPECT_EQ(attachment.state, State::kLost);
    EXPECT_THAT(attachment.reason, HasSubstr("injected"));
  }
  EXPECT_TRUE(RunBy(a) == "cpu" || RunBy(a) == "fake");
  host->WaitUntilIdle();
  EXPECT_EQ(RunBy(a), "fake");
  EXPECT_FALSE(host->InjectFault("flood").ok());
}

// The device is lost again and again while eight threads run; every answer is right.
TEST(DeviceHost, EveryRunIsAnsweredRightlyWhileTheDeviceIsLost) {
  FakeDeviceOptions fake;
  fake.latency_us = 200;
  fake.run_timeout_ms = 20;
  const std::shared_ptr<Device> device = MakeFakeDevice(fake);
  const auto host = HostOf(device);
  const std::shared_ptr<const Engine> engines[] = {EngineFor(*device),
                                                   EngineFor(*device, kDeviceTrees)};
  for (const auto& engine : engines) {
    ASSERT_EQ(host->Attach(engine, "m", {}).state, State::kAttached);
  }
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0, on_device = 0, on_cpu = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto session = Session::Create(engines[i % 2]).value();
      while (!stop) {
        const std::string by = RunBy(*session, 1 + i);
        ++(by == "fake" ? on_device : by == "cpu" ? on_cpu : wrong);
      }
    });
  }
  for (const char* fault : {"trap", "hang", "trap", "trap", "hang"}) {
    std::this_thread::sleep_for(milliseconds(30));
    ASSERT_TRUE(host->InjectFault(fault).ok());
    std::this_thread::sleep_for(milliseconds(30));
    host->WaitUntilIdle();
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(on_device, 0);
  EXPECT_GT(on_cpu, 0);
  const DeviceHost::Totals totals = host->totals();
  EXPECT_EQ(totals.faults, 5U);
  EXPECT_EQ(totals.recoveries, 5U);
  EXPECT_EQ(totals.attached, 2U);
  for (const auto& engine : engines) EXPECT_EQ(RunBy(engine), "fake");
}

TEST(DeviceHost, AThousandCyclesLeaveNothingBehind) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto host = HostOf(device);
  const auto engine = EngineFor(*device);
  const auto session = Session::Create(engine).value();
  size_t before = 0;
  for (int i = 0; i < 1100; ++i) {
    if (i == 100) before = mallinfo2().uordblks;
    ASSERT_EQ(host->Attach(engine, "m", {}).state, State::kAttached);
    if (i % 100 == 0) {
      ASSERT_EQ(RunBy(*session), "fake");
    }
    host->Detach(*engine);
  }
  EXPECT_EQ(RunBy(*session), "cpu");
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
  if (kCountsAllocations) {
    EXPECT_LE(mallinfo2().uordblks, before + 16384);
  }
}

TEST(DeviceHost, EnginesComeAndGoWhileOthersRunAndTheDeviceIsLost) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  DeviceHostOptions options;
  options.memory_limit_bytes = 3 * OneEngine();
  options.idle_ms = 0;
  const auto host = HostOf(device, options);
  const EngineContents contents = [&] {
    EngineContents made = CompileForDevice();
    made.device_plans.push_back(PlanFor(made, *device));
    return made;
  }();
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 25; ++k) {
        const auto engine = Engine::FromContents(contents).value();
        host->Attach(engine, "m", {});
        const auto session = Session::Create(engine).value();
        for (int run = 0; run < 5; ++run) {
          const std::string by = RunBy(*session, 1 + i);
          if (by != "fake" && by != "cpu") ++wrong;
        }
        if (k % 3 == 0) host->Detach(*engine);
        static_cast<void>(host->totals());
      }
    });
  }
  for (int k = 0; k < 10; ++k) {
    std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(host->InjectFault("trap").ok());
  }
  threads.clear();
  host->WaitUntilIdle();
  EXPECT_EQ(wrong, 0);
  const DeviceHost::Totals totals = host->totals();
  EXPECT_EQ(totals.attached, 0U);
  EXPECT_EQ(totals.state, DeviceHost::State::kHealthy);
  EXPECT_EQ(totals.faults, totals.recoveries);
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

TEST(DeviceHost, LeavesEnginesUsableWhenItEnds) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  const auto a = EngineFor(*device), b = EngineFor(*device);
  const auto session = Session::Create(a).value();
  {
    DeviceHostOptions options;
    options.memory_limit_bytes = OneEngine() + 100;
    const auto host = HostOf(device, options);
    EXPECT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
    EXPECT_EQ(host->Attach(b, "b", {}).state, State::kRefused);
    EXPECT_EQ(RunBy(*session), "fake");
  }
  EXPECT_EQ(RunBy(*session), "cpu");
  EXPECT_EQ(RunBy(b), "cpu");  // it tells nobody that it is used
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

}  // namespace
}  // namespace verdict
