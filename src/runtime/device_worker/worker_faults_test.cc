#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "runtime/device_worker/remote_device_test.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

/// How long things may take on a busy machine, and under a sanitizer; a tenth of the time after
/// which a run that nobody answers would end.
constexpr milliseconds kSoon{1000};

double MillisecondsSince(steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();  // of a process that ends meanwhile: nothing, and no exception
  return text.str();
}

/// Processes whose parent is `parent`, with their state ('Z': a zombie).
std::vector<std::pair<int, char>> Children(int parent) {
  std::vector<std::pair<int, char>> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = ReadText(entry.path() / "stat");
    const size_t after_name = stat.rfind(')');
    if (after_name == std::string::npos) continue;
    char state = 0;
    int its_parent = 0;
    if (std::sscanf(stat.c_str() + after_name + 1, " %c %d", &state, &its_parent) == 2 &&
        its_parent == parent) {
      children.emplace_back(std::stoi(name), state);
    }
  }
  return children;
}

int WorkerPid() {
  const auto children = Children(::getpid());
  EXPECT_EQ(children.size(), 1u);
  return children.empty() ? -1 : children[0].first;
}

size_t OpenDescriptors() {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

TEST(WorkerFaults, KilledInTheMiddleOfRunsAllReturnAndItComesBack) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  constexpr int kThreads = 8;
  double longest = 0;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::shared_ptr<DeviceProgram>> programs;
    std::vector<std::unique_ptr<DeviceRunner>> runners;
    for (int i = 0; i < kThreads; ++i) {
      if (i % 2 == 0) {
        programs.push_back(device->Load(blob.bytes, model.graph, model.profiles).value());
      }
      runners.push_back(programs.back()->NewRunner({}).value());
    }
    const Constant input = WorkerInput(4, 1);
    const std::vector<float> expected = RunOnce(*runners[0], input);
    std::vector<std::thread> threads;
    std::array<steady_clock::time_point, kThreads> ended;
    std::array<Status, kThreads> errors;
    std::atomic<int> running = 0;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const auto index = static_cast<size_t>(i);
        const TensorView view = input.view();
        for (bool first = true;; first = false) {
          const auto outputs = runners[index]->Run(std::span(&view, 1));
          if (first) ++running;
          if (!outputs.ok()) {
            ended[index] = steady_clock::now();
            errors[index] = outputs.status();
            return;
          }
          const auto values = (*outputs)[0].as<const float>();
          ASSERT_TRUE(std::ranges::equal(values, expected));
        }
      });
    }
    while (running < kThreads) std::this_thread::sleep_for(milliseconds(1));
    const int worker = WorkerPid();  // looks through all processes
    const auto begin = steady_clock::now();
    ::kill(worker, SIGKILL);
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < kThreads; ++i) {
      EXPECT_EQ(errors[i].code(), StatusCode::kUnavailable) << errors[i].ToString();
      const double took = std::chrono::duration<double, std::milli>(ended[i] - begin).count();
      EXPECT_LT(took, static_cast<double>(kSoon.count())) << "thread " << i;
      longest = std::max(longest, took);
    }
    EXPECT_TRUE(device->lost());
    EXPECT_EQ(device->Load(blob.bytes, model.graph, model.profiles).status().code(),
              StatusCode::kUnavailable);
    // Half of them outlive the recovery.
    runners.resize(kThreads / 2);
    ASSERT_TRUE(device->Recover().ok());
    EXPECT_FALSE(device->lost());
    const TensorView view = input.view();
    EXPECT_EQ(runners[0]->Run(std::span(&view, 1)).status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(programs[0]->device_bytes(), 0u);
  }
  std::printf("longest from kill to the last thread's error: %.2f ms\n", longest);
}

TEST(WorkerFaults, TrapLosesTheDeviceUntilItIsRecovered) {
  const WorkerModel model;
  const auto device = OpenFake().value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  auto runner = program->NewRunner({}).value();
  EXPECT_TRUE(device->InjectFault("trap").ok());
  EXPECT_TRUE(device->lost());
  const Constant input = WorkerInput(1, 1);
  const TensorView view = input.view();
  EXPECT_EQ(runner->Run(std::span(&view, 1)).status().code(), StatusCode::kUnavailable);
  runner.reset();
  program.reset();
  ASSERT_TRUE(device->Recover().ok());
  program = device->Load(blob.bytes, model.graph, model.profiles).value();
  EXPECT_TRUE(program->NewRunner({}).value()->Run(std::span(&view, 1)).ok());
}

// Whatever a worker says of itself: the next one may be able to.
TEST(WorkerFaults, AWorkerThatNeverOpensTheDeviceIsReplacedToo) {
  const auto device = OpenFake().value();
  ASSERT_TRUE(device->InjectFault("trap").ok());
  ::setenv("VERDICT_FAKE_NEVER", "not in this process", 1);
  const Status status = device->Recover();
  ::unsetenv("VERDICT_FAKE_NEVER");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("not in this process"));
  EXPECT_TRUE(device->lost());
  EXPECT_TRUE(device->Recover().ok());
  EXPECT_FALSE(device->lost());
}

TEST(WorkerFaults, HangOfTheDeviceEndsInTime) {
  const WorkerModel model;
  DeviceOptions options;
  options.run_timeout_ms = 200;
  const auto device = OpenFake(options).value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  const auto runner = program->NewRunner({}).value();
  ASSERT_TRUE(device->InjectFault("hang").ok());
  const Constant input = WorkerInput(1, 1);
  const TensorView view = input.view();
  const auto begin = steady_clock::now();
  EXPECT_EQ(runner->Run(std::span(&view, 1)).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_LT(MillisecondsSince(begin), 500);
  EXPECT_TRUE(device->lost());
  EXPECT_TRUE(device->Recover().ok());
}

TEST(WorkerFaults, HangOfTheWholeWorkerEndsInTime) {
  const WorkerModel model;
  DeviceOptions options;
  options.run_timeout_ms = 200;
  WorkerOptions worker;
  worker.hang_margin_ms = 100;
  const auto device = OpenFake(options, worker).value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  std::vector<std::thread> threads;
  std::array<std::unique_ptr<DeviceRunner>, 3> runners;
  std::atomic<int> timed_out = 0;
  std::atomic<int> lost = 0;
  for (auto& runner : runners) runner = program->NewRunner({}).value();
  ::kill(WorkerPid(), SIGSTOP);
  while (Children(::getpid())[0].second != 'T') std::this_thread::sleep_for(milliseconds(1));
  const Constant input = WorkerInput(1, 1);
  const auto begin = steady_clock::now();
  for (auto& runner : runners) {
    threads.emplace_back([&] {
      const TensorView view = input.view();
      const StatusCode code = runner->Run(std::span(&view, 1)).status().code();
      ++(code == StatusCode::kDeadlineExceeded ? timed_out : lost);
      EXPECT_TRUE(code == StatusCode::kDeadlineExceeded || code == StatusCode::kUnavailable);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(MillisecondsSince(begin), 600);
  EXPECT_GE(timed_out, 1);
  EXPECT_TRUE(device->lost());
  EXPECT_TRUE(device->Recover().ok());
}

TEST(WorkerFaults, CallsThatWaitAreTold) {
  WorkerOptions worker;
  worker.call_timeout_ms = 300;
  const auto device = OpenFake({}, worker).value();
  ::kill(WorkerPid(), SIGSTOP);
  std::thread killer([] {
    std::this_thread::sleep_for(milliseconds(100));
    ::kill(WorkerPid(), SIGKILL);
  });
  auto begin = steady_clock::now();
  EXPECT_EQ(device->memory().status().code(), StatusCode::kUnavailable);
  EXPECT_LT(MillisecondsSince(begin), 200);
  killer.join();
  ASSERT_TRUE(device->Recover().ok());
  ::kill(WorkerPid(), SIGSTOP);
  begin = steady_clock::now();
  EXPECT_EQ(device->memory().status().code(), StatusCode::kUnavailable);
  EXPECT_LT(MillisecondsSince(begin), 500);
  EXPECT_TRUE(device->lost());
}

TEST(WorkerFaults, WhatAHangingWorkerHoldsIsLetGoOfInTime) {
  const WorkerModel model;
  WorkerOptions worker;
  worker.silence_ms = 1500;
  const auto device = OpenFake({}, worker).value();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
  std::array<std::unique_ptr<DeviceRunner>, 3> runners;
  for (auto& runner : runners) runner = program->NewRunner({}).value();
  ::kill(WorkerPid(), SIGSTOP);
  const auto begin = steady_clock::now();
  for (auto& runner : runners) runner.reset();
  program.reset();
  EXPECT_LT(MillisecondsSince(begin), 10'000);  // 1.8 s or so; a call's time-out is 120 s
  EXPECT_TRUE(device->lost());
  EXPECT_TRUE(device->Recover().ok());
}

TEST(WorkerFaults, AnIdleWorkerThatHangsIsLostAndAnIdleOneIsNot) {
  WorkerOptions worker;
  worker.silence_ms = 1500;
  const auto device = OpenFake({}, worker).value();
  std::this_thread::sleep_for(milliseconds(3500));
  EXPECT_FALSE(device->lost());
  ::kill(WorkerPid(), SIGSTOP);
  const auto begin = steady_clock::now();
  while (!device->lost() && MillisecondsSince(begin) < 10'000) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(device->lost());
  EXPECT_GT(MillisecondsSince(begin), 1000);
  EXPECT_THAT(device->memory().status().message(),
              HasSubstr("it hangs: no sign of life for 1500 ms"));
  EXPECT_TRUE(device->Recover().ok());
  EXPECT_TRUE(device->memory().ok());
}

TEST(WorkerFaults, ABuildThatNobodyWantsIsEnded) {
  const WorkerModel model;
  ::setenv("VERDICT_FAKE_BUILD_MS", "60000", 1);
  const auto device = OpenFake().value();
  ::unsetenv("VERDICT_FAKE_BUILD_MS");
  StatusCode code = StatusCode::kOk;
  std::thread builds(
      [&] { code = device->Build(model.graph, model.profiles, {}).status().code(); });
  std::this_thread::sleep_for(milliseconds(100));
  const auto begin = steady_clock::now();
  device->AbandonBuild();
  builds.join();
  EXPECT_LT(MillisecondsSince(begin), 500);
  EXPECT_EQ(code, StatusCode::kUnavailable);
  EXPECT_TRUE(device->lost());
  ASSERT_TRUE(device->Recover().ok());
  EXPECT_TRUE(device->Build(model.graph, model.profiles, {}).ok());
}

TEST(WorkerFaults, DeathIsLoggedWithItsCause) {
  LogLines lines;
  DeviceOptions options;
  options.log = [&](const std::string& line) { lines.Add(line); };
  const auto device = OpenFake(options).value();
  ::kill(WorkerPid(), SIGKILL);
  const auto begin = steady_clock::now();
  while (lines.text().find("signal 9") == std::string::npos && MillisecondsSince(begin) < 5000) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_THAT(lines.text(), HasSubstr("was ended by signal 9"));
  EXPECT_THAT(device->memory().status().message(), HasSubstr("signal 9"));
}

TEST(WorkerFaults, WorkerOutlivesSignalsToTheWholeGroup) {
  const auto device = OpenFake().value();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::kill(WorkerPid(), signal);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(device->memory().ok());
}

TEST(WorkerFaults, StartsThatFailSayWhy) {
  const auto status = [](const std::string& backend, const std::string& folder,
                         const WorkerOptions& options) {
    return OpenDeviceInWorker(backend, folder, {}, options).status();
  };
  WorkerOptions options;
  options.program = fs::path(VERDICT_TEST_PLUGINS_FOLDER) / "verdict-device-worker";
  const Status no_plugin = status("absent", VERDICT_TEST_PLUGINS_FOLDER, options);
  EXPECT_EQ(no_plugin.code(), StatusCode::kUnavailable);
  EXPECT_THAT(no_plugin.message(), HasSubstr("libverdict_absent.so"));
  const Status wrong_abi = status("wrong_abi", VERDICT_TEST_BAD_PLUGINS, options);
  EXPECT_EQ(wrong_abi.code(), StatusCode::kUnavailable);
  EXPECT_THAT(wrong_abi.message(), HasSubstr("ABI version 999"));
  EXPECT_EQ(status("../x", VERDICT_TEST_PLUGINS_FOLDER, options).code(),
            StatusCode::kInvalidArgument);

  options.program = "/nonexistent/worker";
  EXPECT_THAT(status("fake", VERDICT_TEST_PLUGINS_FOLDER, options).message(),
              HasSubstr("'/nonexistent/worker'"));
  const fs::path folder = fs::temp_directory_path() / ("worker_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto script = [&](const std::string& text, fs::perms permissions) {
    options.program = folder / "worker";
    std::ofstream(options.program) << text;
    fs::permissions(options.program, permissions);
    return status("fake", VERDICT_TEST_PLUGINS_FOLDER, options);
  };
  const Status not_executable = script("#!/bin/sh\n", fs::perms::owner_read);
  EXPECT_EQ(not_executable.code(), StatusCode::kUnavailable);
  EXPECT_THAT(not_executable.message(), HasSubstr("Permission denied"));
  fs::remove(options.program);
  const Status exits = script("#!/bin/sh\necho no such luck >&2; exit 7\n", fs::perms::owner_all);
  EXPECT_EQ(exits.code(), StatusCode::kUnavailable);
  EXPECT_THAT(exits.message(), HasSubstr("status 7"));
  EXPECT_THAT(exits.message(), HasSubstr("no such luck"));
  options.start_timeout_ms = 200;
  const auto begin = steady_clock::now();
  const Status silent = script("#!/bin/sh\nexec sleep 60\n", fs::perms::owner_all);
  EXPECT_EQ(silent.code(), StatusCode::kUnavailable);
  EXPECT_THAT(silent.message(), HasSubstr("200 ms"));
  EXPECT_LT(MillisecondsSince(begin), 3000);
  options.start_timeout_ms = 5000;
  const Status garbage =
      script("#!/bin/sh\nprintf 'aaaaaaaaaaaaaaaaaaaa' >&3; exec sleep 60\n", fs::perms::owner_all);
  EXPECT_EQ(garbage.code(), StatusCode::kUnavailable);
  EXPECT_THAT(garbage.message(), HasSubstr("sends what cannot be"));
  fs::remove_all(folder);
  EXPECT_TRUE(Children(::getpid()).empty()) << "nothing is left";
}

TEST(WorkerFaults, WorkerEndsWithItsParent) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const int parent = ::fork();
  if (parent == 0) {
    auto device = OpenFake();
    const int worker = device.ok() ? WorkerPid() : -1;
    static_cast<void>(!::write(pipe[1], &worker, sizeof(worker)));
    ::pause();
    ::_exit(0);
  }
  int worker = -1;
  ASSERT_EQ(::read(pipe[0], &worker, sizeof(worker)), static_cast<ssize_t>(sizeof(worker)));
  ASSERT_GT(worker, 0);
  ::kill(worker, SIGSTOP);  // so that it cannot read that the socket's other end is gone
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  const auto begin = steady_clock::now();
  const auto gone = [&] {
    const std::string stat = ReadText("/proc/" + std::to_string(worker) + "/stat");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  };
  while (!gone() && MillisecondsSince(begin) < 1000) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_TRUE(gone()) << worker;
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(WorkerFaults, WorkerSurvivesTheThreadThatStartedIt) {
  std::unique_ptr<Device> device;
  std::thread([&] { device = OpenFake().value(); }).join();
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(device->memory().ok());
}

TEST(WorkerFaults, NothingIsLeftOverAfterManyLives) {
  const WorkerModel model;
  {  // what is opened once and for all
    const auto device = OpenFake().value();
  }
  const size_t before = OpenDescriptors();
  const auto device = OpenFake().value();
  const size_t with_device = OpenDescriptors();
  const DeviceBlob blob = device->Build(model.graph, model.profiles, {}).value();
  for (int life = 0; life < 100; ++life) {
    const auto program = device->Load(blob.bytes, model.graph, model.profiles).value();
    const auto runner = program->NewRunner({}).value();
    RunOnce(*runner, WorkerInput(1, 1));
    if (life % 2 == 0) ::kill(WorkerPid(), SIGKILL);
    ASSERT_TRUE(device->Recover().ok());
  }
  EXPECT_EQ(OpenDescriptors(), with_device);
  for (int life = 0; life < 10; ++life) const auto other = OpenFake().value();
  EXPECT_EQ(OpenDescriptors(), with_device);
  EXPECT_EQ(Children(::getpid()).size(), 1u) << "one worker, no zombies";
  // The worker has the standard descriptors and its socket alone, beside what its libraries open.
  const std::string worker = "/proc/" + std::to_string(WorkerPid()) + "/fd";
  for (const auto& entry : fs::directory_iterator(worker)) {
    const std::string target = fs::read_symlink(entry.path());
    const int number = std::stoi(entry.path().filename());
    EXPECT_TRUE(number <= 3 || target.find("memfd") != std::string::npos) << number << target;
  }
  EXPECT_GT(with_device, before);
}

}  // namespace
}  // namespace verdict
