#include "serve/routing/route_walk.h"

#include <algorithm>
#include <cmath>

#include "ops/half.h"
#include "serve/endpoints/inference.h"

namespace verdict {
namespace {

using Clock = RouteWalk::Clock;

/// For waking up on a busy machine, reading the request again and writing the answer: a quarter of
/// the time that is left, within these.
constexpr std::chrono::microseconds kLeastHandOver{500}, kMostHandOver{50'000};

template <typename T>
bool HasNoNumber(const TensorView& tensor) {
  return std::ranges::any_of(tensor.as<const T>(), [](T value) {
    if constexpr (requires { value.ToFloat(); }) {
      return !std::isfinite(value.ToFloat());
    } else {
      return !std::isfinite(value);
    }
  });
}

/// Whether a float output has a NaN or an infinity.
bool HasNoNumber(std::span<const TensorView> outputs) {
  return std::ranges::any_of(outputs, [](const TensorView& tensor) {
    switch (tensor.dtype) {
      case DataType::kFloat32:
        return HasNoNumber<float>(tensor);
      case DataType::kFloat64:
        return HasNoNumber<double>(tensor);
      case DataType::kFloat16:
        return HasNoNumber<Float16>(tensor);
      case DataType::kBFloat16:
        return HasNoNumber<BFloat16>(tensor);
      default:
        return false;
    }
  });
}

bool NeedsDevice(const LoadedModel& model) {
  return !model.engine().contents().device_plans.empty();
}

}  // namespace

RouteWalk::Step RouteWalk::Next(const ModelSet& models, bool cpu_only) {
  while (next_ < route_.size()) {
    const size_t index = next_++;
    Route::Rung& rung = route_.rung(index);
    const auto found = models.Find(rung.model, rung.version);
    if (!found.ok()) {
      last_error_ = found.status();
      Note(index, RungOutcome::kNotLoaded);
      continue;
    }
    const LoadedModel& model = **found;
    route_.Learn(model);
    // Nor can the rescuer's sessions know a sequence's state.
    if (cpu_only && (NeedsDevice(model) || model.config().sequence_batching.has_value())) {
      Note(index, RungOutcome::kBusy);
      continue;
    }
    if (!rung.breaker.Allow(Clock::now())) {
      last_error_ = Unavailable("model '" + rung.model + "' has failed and is left alone for now");
      Note(index, RungOutcome::kBreakerOpen);
      continue;
    }
    // A thread of its own need not ask what waits in the model's queue.
    const bool fits = !cpu_only || deadline_ == Clock::time_point::max() ||
                      Clock::now() + model.queue()->cost().Estimate(1) <= deadline_;
    const Status time = !fits      ? DeadlineExceeded("the deadline is too near or past")
                        : cpu_only ? OkStatus()
                                   : CheckTime(service_, model, deadline_);
    if (!time.ok()) {
      Observe(index, OutcomeOf(time, {}, {}), time);
      continue;
    }
    return {model.shared_from_this(), index, nullptr};
  }
  return {nullptr, route_.size(), route_.signature()};
}

void RouteWalk::Observe(size_t rung, RungOutcome outcome) {
  route_.Observe(rung, outcome);
  if (rung == 0) first_ = outcome;
}

void RouteWalk::Observe(size_t rung, RungOutcome outcome, const Status& error) {
  last_error_ = error;
  Observe(rung, outcome);
}

void RouteWalk::Note(size_t rung, RungOutcome outcome) {
  route_.rung(rung).Count(outcome);
  if (rung == 0) first_ = outcome;
}

bool RouteWalk::GoesOnAfter(const Step& step, const Status& error,
                            std::span<const TensorView> inputs, bool was_read, bool is_shed) {
  if (is_shed || !MayGoOn(error)) {
    route_.rung(step.rung).breaker.Drop();
    // What another rung has read is not wrong: this one's inputs or outputs are others.
    return !is_shed && was_read;
  }
  RungOutcome outcome = OutcomeOf(error, {}, {});
  if (error.code() == StatusCode::kDataLoss) {
    outcome = HasNoNumber(inputs) ? RungOutcome::kBadInput : RungOutcome::kNotANumber;
  }
  Observe(step.rung, outcome, error);
  return true;
}

RouteAnswer RouteWalk::Answer(const Step& step) const {
  RouteAnswer answer{&route_, static_cast<int>(step.rung), {}, {}, first_};
  if (step.model != nullptr) {
    answer.model = step.model->name();
    answer.version = step.model->version_text();
  }
  return answer;
}

Status RouteWalk::Refusal() const {
  if (last_error_.ok()) return Unavailable("route '" + route_.name() + "' has no rung left");
  return last_error_.WithContext("route '" + route_.name() + "'");
}

Clock::time_point RouteWalk::GiveUpAt(const ModelSet& models, size_t rung,
                                      Clock::time_point now) const {
  const Clock::time_point patient = now + route_.patience();
  if (deadline_ == Clock::time_point::max()) return patient;
  std::chrono::nanoseconds needed =
      std::clamp<std::chrono::nanoseconds>((deadline_ - now) / 4, kLeastHandOver, kMostHandOver);
  for (size_t i = rung + 1; i < route_.size(); ++i) {
    const auto found = models.Find(route_.rung(i).model, route_.rung(i).version);
    if (!found.ok() || NeedsDevice(**found)) continue;
    needed += 2 * (*found)->queue()->cost().Estimate(1);
    break;
  }
  return std::min(patient, deadline_ - needed);
}

RungOutcome OutcomeOf(const Status& status, std::span<const TensorView> inputs,
                      std::span<const TensorView> outputs) {
  if (status.ok()) {
    if (!HasNoNumber(outputs)) return RungOutcome::kAnswered;
    return HasNoNumber(inputs) ? RungOutcome::kBadInput : RungOutcome::kNotANumber;
  }
  switch (status.code()) {
    case StatusCode::kDeadlineExceeded:
      return RungOutcome::kNoTime;
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
      return RungOutcome::kBusy;
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
    case StatusCode::kUnknown:
      return RungOutcome::kError;
    default:  // the request is wrong, which says nothing of the model
      return RungOutcome::kBusy;
  }
}

Status NotANumber() { return DataLoss("an output is not a number"); }

bool MayGoOn(const Status& status) {
  switch (status.code()) {
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
    case StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace verdict
