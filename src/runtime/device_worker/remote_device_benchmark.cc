// What the border to the worker costs a run: a program that does next to nothing, by the fake
// device in this process and in a worker.
//
// Usage: remote_device_benchmark [RUNS]
//
// Prints one line a way: p50 and p99 of a run in microseconds, and the ratio of p50 to the one in
// this process. Runs are one after another, then with pauses of 5 ms between them, in which whoever
// does not watch falls asleep.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "runtime/device_worker/remote_device_test.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kGraph[] = R"(graph "copy" {
  input %x: f32[N,256]
  %y = Neg(%x)
  output %y
}
)";

struct Quantiles {
  double p50 = 0;
  double p99 = 0;
};

Quantiles Measure(DeviceRunner& runner, int runs, std::chrono::milliseconds pause) {
  std::vector<float> values(256, 1.5F);
  const Constant input = Constant::Of<float>({1, 256}, std::span<const float>(values));
  const TensorView view = input.view();
  VERDICT_CHECK(runner.Run(std::span(&view, 1)).value()[0].as<const float>()[255] == -1.5F);
  std::vector<double> times;
  for (int run = 0; run < runs; ++run) {
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    const auto begin = Clock::now();
    VERDICT_CHECK(runner.Run(std::span(&view, 1)).ok());
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  std::ranges::sort(times);
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

void Report(const char* name, Device& device, int runs, std::chrono::milliseconds pause,
            double* reference) {
  Graph graph = ParseGraph(kGraph).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  const NamedShapes shapes = ParseShapes("x:1x256").value();
  const std::vector<Profile> profiles = {MakeProfile(graph, shapes, shapes, shapes).value()};
  const DeviceBlob blob = device.Build(graph, profiles, {}).value();
  const auto program = device.Load(blob.bytes, graph, profiles).value();
  const auto runner = program->NewRunner({}).value();
  Measure(*runner, 100, {});
  const Quantiles quantiles = Measure(*runner, runs, pause);
  if (*reference == 0) *reference = quantiles.p50;
  std::printf("device_worker/f32/b1x256/%s p50 %.2f us, p99 %.2f us, p50 %+.2f us\n", name,
              quantiles.p50, quantiles.p99, quantiles.p50 - *reference);
}

int Main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 100'000;
  const std::string folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto local = OpenDevice("fake", folder, {}).value();
  const auto worker = [&](uint32_t spin_us) {
    WorkerOptions options;
    options.spin_us = spin_us;
    return OpenDeviceInWorker("fake", folder, {}, options).value();
  };
  for (const int pause_ms : {0, 5}) {
    const std::chrono::milliseconds pause(pause_ms);
    const int count = pause_ms == 0 ? runs : std::min(runs, 2000);
    std::printf("%s\n", pause_ms == 0 ? "one after another" : "5 ms apart");
    double reference = 0;
    Report("in_process", *local, count, pause, &reference);
    Report("worker:spin_forever", *worker(WorkerOptions::kSpinForever), count, pause, &reference);
    Report("worker:spin_1ms", *worker(1000), count, pause, &reference);
    Report("worker:sleeps", *worker(0), count, pause, &reference);
  }
  return 0;
}

}  // namespace
}  // namespace verdict

int main(int argc, char** argv) { return verdict::Main(argc, argv); }
