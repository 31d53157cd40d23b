#include "runtime/session_device.h"

#include <algorithm>

#include "base/checked_math.h"
#include "runtime/arena.h"
#include "runtime/device_engine.h"

namespace verdict {
namespace {

constexpr size_t kMostBytes = size_t{1} << 46;  // of outputs; far from overflow

}  // namespace

uint64_t SessionDevice::Follow(const Engine& engine) {
  uint64_t generation = 0;
  link_ = engine.device_slot().Get(generation);
  outcome_ = DeviceOutcome::kNotThere;
  if (link_ != nullptr && link_->engine != nullptr && !MakeRoom(*link_->engine)) link_ = nullptr;
  return generation;
}

bool SessionDevice::MakeRoom(const DeviceEngine& device) {
  const auto needed = device.output_bytes();
  if (memory_ != nullptr && std::ranges::equal(needed, capacities_)) return true;
  size_t total = 0;
  for (const size_t bytes : needed) {
    if (bytes > kMostBytes || total > kMostBytes) return false;
    total += AlignUp(bytes, Arena::kAlignment);
  }
  total = std::max(total, Arena::kAlignment);
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(Arena::kAlignment, total)));
  if (memory_ == nullptr) return false;
  outputs_.assign(needed.size(), {});
  capacities_.assign(needed.begin(), needed.end());
  std::byte* next = memory_.get();
  for (size_t i = 0; i < needed.size(); ++i) {
    outputs_[i].data = next;
    next += AlignUp(needed[i], Arena::kAlignment);
  }
  return true;
}

DeviceRun::~DeviceRun() {
  if (link_ != nullptr) link_->engine->Abandon(&place_);
}

bool SessionDevice::Run(const Engine& engine, std::span<const TensorView> inputs,
                        DeviceEngine::Clock::time_point until, DeviceRun* run) {
  outcome_ = DeviceOutcome::kNotThere;
  other_link_ = nullptr;
  if (run != nullptr && *run) {
    other_link_ = run->link_;
    if (MakeRoom(*other_link_->engine)) return RunAt(other_link_, engine, inputs, until, run);
    *run = {};
    return false;
  }
  if (link_ == nullptr) return false;
  if (link_->engine == nullptr) {
    link_->NoteUse();
    return false;
  }
  return RunAt(link_, engine, inputs, until, run);
}

bool SessionDevice::RunAt(const std::shared_ptr<const DeviceLink>& link, const Engine& engine,
                          std::span<const TensorView> inputs, DeviceEngine::Clock::time_point until,
                          DeviceRun* run) {
  VERDICT_CHECK(run != nullptr || until == DeviceEngine::Clock::time_point::max());
  DeviceEngine::Place begun;
  DeviceEngine::Place& place = run != nullptr ? run->place_ : begun;
  const Result<bool> ended = link->engine->RunUntil(until, &place, inputs, outputs_, capacities_);
  if (ended.ok() && !*ended) {
    run->link_ = link;
    return false;
  }
  if (run != nullptr) run->link_ = nullptr;
  switch (ended.status().code()) {
    case StatusCode::kOk:
      outcome_ = DeviceOutcome::kAnswered;
      return true;
    case StatusCode::kInvalidArgument:  // right or wrong, the CPU plan can tell
      outcome_ = DeviceOutcome::kDeclined;
      return false;
    case StatusCode::kCancelled:  // taken off meanwhile, or no stream is free
      outcome_ = DeviceOutcome::kBusy;
      return false;
    default:
      outcome_ = DeviceOutcome::kFailed;
      break;
  }
  // Others of this engine's sessions need not find out for themselves.
  engine.device_slot().Detach(link.get());
  if (link->on_failure) link->on_failure(ended.status());
  return false;
}

std::string_view SessionDevice::answered_by() const {
  if (outcome_ != DeviceOutcome::kAnswered) return {};
  return (other_link_ != nullptr ? other_link_ : link_)->engine->backend();
}

}  // namespace verdict
