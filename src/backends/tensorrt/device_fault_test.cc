// Faults: a lost context, a hang, no memory; and that many loads leave nothing behind.
#include <unistd.h>

#include <fstream>

#include "backends/tensorrt/device_fixture_test.h"
#include "runtime/device_worker/remote_device.h"

namespace verdict::tensorrt {
namespace {

using ::testing::HasSubstr;

using SteadyClock = std::chrono::steady_clock;

/// Resident bytes of this process.
uint64_t ResidentBytes() {
  uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

class DeviceFault : public DeviceTest {
 protected:
  struct Loaded {
    std::vector<std::shared_ptr<DeviceProgram>> programs;
    std::vector<std::unique_ptr<DeviceRunner>> runners;
  };
  /// Two programs with two runners each.
  Loaded LoadAll() {
    Loaded loaded;
    for (int p = 0; p < 2; ++p) {
      auto program = LoadMlp(*device_, BuiltMlp(*device_).bytes);
      EXPECT_TRUE(program.ok()) << program.status().ToString();
      if (!program.ok()) return loaded;
      for (int r = 0; r < 2; ++r) {
        auto runner = (*program)->NewRunner({.captured_shapes = Captured({1, 8})});
        EXPECT_TRUE(runner.ok()) << runner.status().ToString();
        if (runner.ok()) loaded.runners.push_back(*std::move(runner));
      }
      loaded.programs.push_back(*std::move(program));
    }
    return loaded;
  }
  void ExpectRightScores(Loaded& loaded) {
    ASSERT_EQ(loaded.runners.size(), 4U);
    for (const auto& runner : loaded.runners) {
      EXPECT_EQ(Compare(*runner, graph_, 1, 3, 1e-5), "");
      EXPECT_EQ(Compare(*runner, graph_, 5, 3, 1e-5), "");
    }
  }
  StatusCode RunCode(DeviceRunner& runner) {
    const Constant x = RandomRows(1, 3);
    const std::vector<TensorView> inputs = {x.view()};
    const Status status = runner.Run(inputs).status();
    if (!status.ok()) std::printf("  %s\n", status.ToString().c_str());
    return status.code();
  }

  const Graph graph_ = Mlp();
};

/// As servers open it: in a process that ends with the context.
class DeviceFaultInWorker : public DeviceFault {
 protected:
  void SetUp() override {
    DeviceFault::SetUp();
    if (IsSkipped()) return;
    DeviceOptions options;
    options.run_timeout_ms = kRunTimeoutMs;
    auto opened = OpenDeviceInWorker("tensorrt", "", options, {});
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    worker_ = *std::move(opened);
    device_ = worker_.get();
  }
  std::unique_ptr<Device> worker_;
};

TEST_F(DeviceFaultInWorker, TrapLosesTheDeviceUntilItIsRecovered) {
  for (int round = 0; round < 3; ++round) {
    Loaded loaded = LoadAll();
    ExpectRightScores(loaded);
    ASSERT_TRUE(device_->InjectFault("trap").ok());
    auto start = SteadyClock::now();
    for (const auto& runner : loaded.runners) {
      EXPECT_EQ(RunCode(*runner), StatusCode::kUnavailable);
    }
    const double noticed = SecondsSince(start);
    EXPECT_TRUE(device_->lost());
    EXPECT_EQ(LoadMlp(*device_, BuiltMlp(*device_).bytes).status().code(),
              StatusCode::kUnavailable);
    EXPECT_EQ(loaded.programs[0]->NewRunner({}).status().code(), StatusCode::kUnavailable);
    start = SteadyClock::now();
    loaded = {};
    const double freed = SecondsSince(start);
    start = SteadyClock::now();
    const Status recovered = device_->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.ToString();
    const double recovery = SecondsSince(start);
    EXPECT_FALSE(device_->lost());
    start = SteadyClock::now();
    loaded = LoadAll();
    const double load = SecondsSince(start);
    ExpectRightScores(loaded);
    std::printf(
        "trap %d: four runners noticed in %.1f ms, freed in %.1f ms, recovered in %.1f ms, "
        "two programs and four runners loaded in %.1f ms, resident %.1f MiB\n",
        round, 1e3 * noticed, 1e3 * freed, 1e3 * recovery, 1e3 * load,
        static_cast<double>(ResidentBytes()) / 1048576);
  }
}

TEST_F(DeviceFaultInWorker, HangIsNoticedWithinTheTimeout) {
  Loaded loaded = LoadAll();
  ExpectRightScores(loaded);
  ASSERT_TRUE(device_->InjectFault("hang").ok());
  auto start = SteadyClock::now();
  EXPECT_EQ(RunCode(*loaded.runners[0]), StatusCode::kDeadlineExceeded);
  const double noticed = SecondsSince(start);
  EXPECT_GE(noticed, kRunTimeoutMs / 1e3);
  EXPECT_LT(noticed, kRunTimeoutMs / 1e3 + 1);
  EXPECT_TRUE(device_->lost());
  start = SteadyClock::now();
  EXPECT_EQ(RunCode(*loaded.runners[1]), StatusCode::kUnavailable);
  loaded = {};
  const double freed = SecondsSince(start);
  EXPECT_LT(freed, 1);
  start = SteadyClock::now();
  const Status recovered = device_->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.ToString();
  std::printf("hang: noticed in %.1f ms, freed in %.1f ms, recovered in %.1f ms\n", 1e3 * noticed,
              1e3 * freed, 1e3 * SecondsSince(start));
  loaded = LoadAll();
  ExpectRightScores(loaded);
}

TEST_F(DeviceFault, NoMemoryRefusesThatLoadAlone) {
  Loaded loaded = LoadAll();
  ASSERT_TRUE(device_->InjectFault("oom").ok());
  const auto refused = LoadMlp(*device_, BuiltMlp(*device_).bytes);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  std::printf("  %s\n", refused.status().ToString().c_str());
  EXPECT_FALSE(device_->lost());
  ExpectRightScores(loaded);
  EXPECT_TRUE(LoadMlp(*device_, BuiltMlp(*device_).bytes).ok());
}

TEST_F(DeviceFault, OtherKindsAreUnknown) {
  const Status status = device_->InjectFault("fire");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("trap, hang and oom"));
}

TEST_F(DeviceFault, ManyLoadsLeaveNothingBehind) {
  constexpr int kCycles = 200, kWarm = 20;
  uint64_t warm_free = 0, warm_resident = 0;
  const auto start = SteadyClock::now();
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    const auto program = LoadMlp(*device_, BuiltMlp(*device_).bytes);
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    const auto runner = (*program)->NewRunner({.captured_shapes = Captured({1, 8})});
    ASSERT_TRUE(runner.ok()) << runner.status().ToString();
    ASSERT_EQ(Compare(**runner, graph_, 8, 3, 1e-5), "");
    if (cycle == kWarm) {
      warm_free = device_->memory()->free_bytes;
      warm_resident = ResidentBytes();
    }
  }
  const uint64_t free = device_->memory()->free_bytes, resident = ResidentBytes();
  std::printf(
      "%d loads: %.1f ms each; from the %dth on device memory fell by %.1f MiB and host "
      "memory rose by %.1f MiB\n",
      kCycles, 1e3 * SecondsSince(start) / kCycles, kWarm,
      (static_cast<double>(warm_free) - static_cast<double>(free)) / 1048576,
      (static_cast<double>(resident) - static_cast<double>(warm_resident)) / 1048576);
  EXPECT_LT(warm_free, free + (16U << 20U));
  EXPECT_LT(resident, warm_resident + (64U << 20U));
}

}  // namespace
}  // namespace verdict::tensorrt
