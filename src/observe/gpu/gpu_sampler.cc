#include "observe/gpu/gpu_sampler.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "observe/gpu/nvml.h"

namespace verdict {

using Clock = std::chrono::steady_clock;

struct GpuSampler::State {
  GpuSamplerOptions options;
  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  bool stop = false;
  bool ended = false;
  std::vector<GpuSample> samples;
  Clock::time_point sampled;
  bool told_stale = false;
};

GpuSampler::GpuSampler(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<GpuSampler>> GpuSampler::Start(const GpuSamplerOptions& options) {
  auto state = std::make_shared<State>();
  state->options = options;
  try {
    // Detached: one that NVML does not give back must not hold the end of the process.
    std::thread([state] { Loop(state); }).detach();
  } catch (const std::system_error&) {
    return ResourceExhausted(
        "cannot start the thread that asks GPUs for their metrics; lower --io-threads or raise the "
        "process limit");
  }
  return std::unique_ptr<GpuSampler>(new GpuSampler(std::move(state)));
}

GpuSampler::~GpuSampler() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  if (!state_->changed.wait_for(lock, state_->options.patience, [&] { return state_->ended; })) {
    spdlog::warn("NVML has not answered for {} ms and is left alone",
                 state_->options.patience.count());
  }
}

void GpuSampler::Loop(const std::shared_ptr<State>& state) {
  auto nvml = Nvml::Open(state->options.library);
  std::unique_lock lock(state->mutex);
  // One that was given up while the library opened is silent: who logs may be gone by now.
  if (!nvml.ok() && !state->stop) {
    // Most machines have no GPU; a library that does not work is worth a word.
    const auto level =
        nvml.status().code() == StatusCode::kNotFound ? spdlog::level::debug : spdlog::level::warn;
    spdlog::log(level, "{}", nvml.status().message());
  }
  if (nvml.ok()) {
    if (!state->stop) {
      spdlog::info("metrics of {} GPU{}, asked every {} ms", (*nvml)->gpus(),
                   (*nvml)->gpus() == 1 ? "" : "s", state->options.interval.count());
    }
    while (!state->stop) {
      lock.unlock();
      std::vector<GpuSample> samples = (*nvml)->Sample();
      lock.lock();
      state->samples = std::move(samples);
      state->sampled = Clock::now();
      state->told_stale = false;
      state->changed.wait_for(lock, state->options.interval, [&] { return state->stop; });
    }
    lock.unlock();
    nvml->reset();
    lock.lock();
  }
  state->ended = true;
  state->changed.notify_all();
}

std::vector<GpuSample> GpuSampler::Last() const {
  std::lock_guard lock(state_->mutex);
  if (state_->samples.empty()) return {};
  if (Clock::now() - state_->sampled <= state_->options.stale_after) return state_->samples;
  if (!state_->told_stale) {
    spdlog::warn(
        "NVML has not answered for {} ms: no metrics of GPUs until it does; see what "
        "nvidia-smi says",
        state_->options.stale_after.count());
  }
  state_->told_stale = true;
  return {};
}

}  // namespace verdict
