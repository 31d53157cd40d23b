#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "runtime/allocation_count_test.h"
#include "runtime/device_engine.h"
#include "runtime/device_fixture_test.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

/// An engine with a fake device, and what sessions have said of it.
struct Attached {
  explicit Attached(const FakeDeviceOptions& options = {}, const char* text = kDeviceMlp)
      : device(MakeFakeDevice(options)), engine(EngineFor(*device, text)) {}
  ~Attached() { engine->device_slot().Attach(nullptr); }

  void Attach(int streams = 2) {
    DeviceEngineOptions options;
    options.streams = streams;
    auto attached = std::make_shared<DeviceLink>();
    attached->engine =
        DeviceEngine::Load(device, *engine, engine->contents().device_plans.at(0), options).value();
    attached->on_failure = [this](const Status& status) {
      ++failures;
      code = status.code();
    };
    link = attached;
    engine->device_slot().Attach(std::move(attached));
  }

  std::shared_ptr<Device> device;
  std::shared_ptr<const Engine> engine;
  std::shared_ptr<const DeviceLink> link;
  std::atomic<int> failures = 0;
  std::atomic<StatusCode> code = StatusCode::kOk;
};

void ExpectRight(Session& session, int64_t rows, const std::string& backend) {
  auto x = SomeRows(rows, static_cast<float>(rows));
  const TensorView view = RowsView(x);
  const auto outputs = session.Run(std::span(&view, 1));
  ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
  EXPECT_LE(Error(session.engine(), view, *outputs), 1e-5);
  EXPECT_EQ(session.last_backend(), backend);
}

TEST(SessionOnDevice, RunsWhereTheEngineIsAttached) {
  for (const char* text : {kDeviceMlp, kDeviceTrees}) {
    Attached attached({}, text);
    const auto session = Session::Create(attached.engine).value();
    EXPECT_EQ(session->last_backend(), "cpu");
    ExpectRight(*session, 3, "cpu");
    attached.Attach();
    for (const int64_t rows : {3, 1, 32}) ExpectRight(*session, rows, "fake");
    EXPECT_TRUE(attached.engine->device_slot().Detach(attached.link.get()));
    EXPECT_FALSE(attached.engine->device_slot().Detach(attached.link.get()));
    ExpectRight(*session, 3, "cpu");
    attached.Attach();
    ExpectRight(*session, 3, "fake");
  }
}

/// Begins a run that the device does not end by then; the session is free for others.
DeviceRun Begin(Session& session, const TensorView& view) {
  DeviceRun run;
  const auto outputs = session.Run(std::span(&view, 1), std::chrono::steady_clock::now(), &run);
  EXPECT_TRUE(outputs.ok() && outputs->empty());
  EXPECT_TRUE(run);
  return run;
}

TEST(SessionOnDevice, AnotherGoesOnWithARunThatTakesTooLong) {
  FakeDeviceOptions options;
  options.latency_us = 20'000;
  for (const char* text : {kDeviceMlp, kDeviceTrees}) {
    Attached attached(options, text);
    attached.Attach();
    const auto session = Session::Create(attached.engine).value();
    const auto other = Session::Create(attached.engine).value();
    auto x = SomeRows(4, 1);
    DeviceRun run = Begin(*session, RowsView(x));
    EXPECT_FALSE(run.CanGoOn());
    ExpectRight(*session, 3, "fake");
    while (!run.CanGoOn()) std::this_thread::yield();
    // The same inputs, which lie elsewhere now.
    auto moved = x;
    std::ranges::fill(x, NAN);
    const TensorView view = RowsView(moved);
    int steps = 0;
    std::span<const TensorView> outputs;
    while (run) {
      outputs = other->Run(std::span(&view, 1), std::chrono::steady_clock::now(), &run).value();
      ++steps;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_LE(Error(*attached.engine, view, outputs), 1e-5);
    EXPECT_EQ(other->last_backend(), "fake");
    EXPECT_EQ(steps == 1, text == kDeviceMlp) << "the trees' plan has a second part there";
    ExpectRight(*other, 3, "fake");
  }
}

TEST(SessionOnDevice, ViewsOfInputsThatLieElsewhereNowGoWithThem) {
  FakeDeviceOptions options;
  options.latency_us = 20'000;
  options.unsupported = {"Reshape"};
  Attached attached(options, R"(graph "view" {
  input %x: f32[N,6]
  const %s: i64[3] = [-1, 3, 2]
  const %w1: f32[6,2] = seed(1)
  %r = Reshape(%x, %s)
  %h = MatMul(%x, %w1)
  output %r
  output %h
}
)");
  attached.Attach(1);
  const auto session = Session::Create(attached.engine).value();
  const auto other = Session::Create(attached.engine).value();
  auto x = SomeRows(4, 1);
  DeviceRun run = Begin(*session, RowsView(x));
  auto moved = x;
  std::ranges::fill(x, NAN);
  const TensorView view = RowsView(moved);
  const auto outputs =
      other->Run(std::span(&view, 1), std::chrono::steady_clock::time_point::max(), &run).value();
  EXPECT_EQ(other->last_backend(), "fake");
  EXPECT_LE(Error(*attached.engine, view, outputs), 1e-5);
}

TEST(SessionOnDevice, TheCpuAnswersForAStreamThatHangs) {
  FakeDeviceOptions options;
  options.run_timeout_ms = 50;
  Attached attached(options);
  attached.Attach(1);
  const auto session = Session::Create(attached.engine).value();
  const auto other = Session::Create(attached.engine).value();
  ASSERT_TRUE(attached.device->InjectFault("hang").ok());
  auto x = SomeRows(4, 1);
  const TensorView view = RowsView(x);
  DeviceRun run = Begin(*session, view);
  // Another run need not wait for the only stream, and leaves nothing behind.
  DeviceRun second;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  auto outputs = session->Run(std::span(&view, 1), until, &second);
  ASSERT_TRUE(outputs.ok());
  EXPECT_FALSE(second);
  EXPECT_LE(Error(*attached.engine, view, *outputs), 1e-5);
  EXPECT_EQ(session->device_outcome(), DeviceOutcome::kBusy);
  EXPECT_EQ(attached.failures, 0);

  outputs = other->Run(std::span(&view, 1), until, &run);
  ASSERT_TRUE(outputs.ok());
  EXPECT_FALSE(run);
  EXPECT_LE(Error(*attached.engine, view, *outputs), 1e-5);
  EXPECT_EQ(other->device_outcome(), DeviceOutcome::kFailed);
  EXPECT_EQ(attached.failures, 1);
  EXPECT_EQ(attached.code, StatusCode::kDeadlineExceeded);
  ExpectRight(*session, 3, "cpu");
}

TEST(SessionOnDevice, ARunThatNobodyGoesOnWithGivesItsStreamBack) {
  FakeDeviceOptions options;
  options.latency_us = 5'000;
  Attached attached(options);
  attached.Attach(1);
  const auto session = Session::Create(attached.engine).value();
  auto x = SomeRows(4, 1);
  Begin(*session, RowsView(x));
  ExpectRight(*session, 3, "fake");
}

TEST(SessionOnDevice, OutputsAreItsOwn) {
  Attached attached;
  attached.Attach(1);
  const auto session = Session::Create(attached.engine).value();
  const auto other = Session::Create(attached.engine).value();
  auto x = SomeRows(4, 1), y = SomeRows(4, 2);
  const TensorView views[] = {RowsView(x), RowsView(y)};
  const auto outputs = session->Run(std::span(&views[0], 1)).value();
  ASSERT_TRUE(other->Run(std::span(&views[1], 1)).ok());
  EXPECT_LE(Error(*attached.engine, views[0], outputs), 1e-6);
}

TEST(SessionOnDevice, LeavesBadInputsToTheCpuPlan) {
  Attached attached;
  attached.Attach();
  const auto session = Session::Create(attached.engine).value();
  auto x = SomeRows(33, 1);
  const TensorView view = RowsView(x);
  const auto outputs = session->Run(std::span(&view, 1));
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(outputs.status().message(), HasSubstr("input 'x'"));
  EXPECT_EQ(attached.failures, 0);
  ExpectRight(*session, 3, "fake");
}

TEST(SessionOnDevice, AnswersTheSameRequestWithTheCpuPlanWhereTheDeviceIsLost) {
  FakeDeviceOptions options;
  options.run_timeout_ms = 20;
  for (const char* fault : {"trap", "hang"}) {
    Attached attached(options);
    attached.Attach();
    const auto session = Session::Create(attached.engine).value();
    const auto other = Session::Create(attached.engine).value();
    ExpectRight(*session, 3, "fake");
    ASSERT_TRUE(attached.device->InjectFault(fault).ok());
    ExpectRight(*session, 3, "cpu");
    ExpectRight(*session, 5, "cpu");
    ExpectRight(*other, 5, "cpu");
    EXPECT_EQ(attached.failures, 1);
    EXPECT_EQ(attached.code, std::string(fault) == "trap" ? StatusCode::kUnavailable
                                                          : StatusCode::kDeadlineExceeded);
    EXPECT_FALSE(attached.engine->device_slot().Detach(attached.link.get()));
  }
}

TEST(SessionOnDevice, GoesOnWhereTheEngineIsClosedUnderIt) {
  Attached attached;
  attached.Attach();
  const auto session = Session::Create(attached.engine).value();
  ExpectRight(*session, 3, "fake");
  attached.link->engine->Close();
  ExpectRight(*session, 3, "cpu");
  EXPECT_EQ(attached.failures, 0);
}

TEST(SessionOnDevice, SaysOnceThatAnEngineIsUsedThatWaits) {
  Attached attached;
  std::atomic<int> uses = 0;
  auto waiting = std::make_shared<DeviceLink>();
  waiting->on_use = [&] { ++uses; };
  attached.engine->device_slot().Attach(waiting);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const auto session = Session::Create(attached.engine).value();
        for (int k = 0; k < 50; ++k) ExpectRight(*session, 3, "cpu");
      });
    }
  }
  EXPECT_EQ(uses, 1);
}

TEST(SessionOnDevice, ADestroyedEngineLeavesTheDevice) {
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  auto engine = EngineFor(*device);
  auto link = std::make_shared<DeviceLink>();
  link->engine =
      DeviceEngine::Load(device, *engine, engine->contents().device_plans.at(0), {}).value();
  engine->device_slot().Attach(link);
  EXPECT_LT(device->memory()->free_bytes, device->info().memory_bytes);
  engine.reset();  // while the link is still held
  EXPECT_EQ(device->memory()->free_bytes, device->info().memory_bytes);
}

TEST(SessionOnDevice, AttachAndDetachWhileThreadsRun) {
  Attached attached;
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0, on_device = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto session = Session::Create(attached.engine).value();
      auto x = SomeRows(2 + i, static_cast<float>(i));
      const TensorView view = RowsView(x);
      while (!stop) {
        const auto outputs = session->Run(std::span(&view, 1));
        if (!outputs.ok() || !(Error(*attached.engine, view, *outputs) < 1e-5)) ++wrong;
        if (session->last_backend() == "fake") ++on_device;
      }
    });
  }
  for (int k = 0; k < 50; ++k) {
    attached.Attach();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    attached.engine->device_slot().Detach(attached.link.get());
    attached.link->engine->Close();
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(on_device, 0);
  EXPECT_EQ(attached.failures, 0);
}

TEST(SessionOnDevice, AnswersWithoutAllocatingOnTheCpuWhileDetached) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer brings its own malloc";
  Attached attached;
  attached.Attach();
  const auto session = Session::Create(attached.engine).value();
  ExpectRight(*session, 3, "fake");
  attached.engine->device_slot().Detach(attached.link.get());
  ExpectRight(*session, 3, "cpu");
  auto x = SomeRows(3, 1);
  const TensorView view = RowsView(x);
  const int64_t before = AllocationCount();
  ASSERT_TRUE(session->Run(std::span(&view, 1)).ok());
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace verdict
