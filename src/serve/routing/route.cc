#include "serve/routing/route.h"

#include <algorithm>
#include <utility>

namespace verdict {

std::string_view RungOutcomeName(RungOutcome outcome) {
  switch (outcome) {
    case RungOutcome::kAnswered:
      return "answered";
    case RungOutcome::kNotLoaded:
      return "not_loaded";
    case RungOutcome::kBreakerOpen:
      return "breaker_open";
    case RungOutcome::kNoTime:
      return "no_time";
    case RungOutcome::kBusy:
      return "busy";
    case RungOutcome::kError:
      return "error";
    case RungOutcome::kTimeout:
      return "timeout";
    case RungOutcome::kNotANumber:
      return "not_a_number";
    case RungOutcome::kBadInput:
      return "bad_input";
    case RungOutcome::kCount:
      break;
  }
  return "unknown";
}

Route::Route(std::string name, const RouteOptions& options)
    : name_(std::move(name)), constants_(options.constants), patience_(options.patience) {
  for (const RouteOptions::Rung& rung : options.rungs) {
    rungs_.push_back(std::make_unique<Rung>(rung, options.breaker));
  }
}

void Route::Observe(size_t index, RungOutcome outcome) const {
  Rung& rung = *rungs_[index];
  rung.Count(outcome);
  const auto now = Breaker::Clock::now();
  switch (outcome) {
    case RungOutcome::kAnswered:
      return rung.breaker.Succeed(now);
    case RungOutcome::kError:
    case RungOutcome::kTimeout:
    case RungOutcome::kNotANumber:
      return rung.breaker.Fail(now);
    case RungOutcome::kNoTime:
    case RungOutcome::kBusy:
    case RungOutcome::kBadInput:
      return rung.breaker.Drop();
    default:
      return;
  }
}

void Route::Learn(const LoadedModel& model) const {
  if (constants_.empty() || known_.load(std::memory_order_acquire)) return;
  auto learnt = std::make_shared<Signature>();
  learnt->inputs.assign(model.inputs().begin(), model.inputs().end());
  for (const auto& [output, value] : constants_) {
    const auto spec = std::ranges::find(model.outputs(), output, &TensorSpec::name);
    if (spec == model.outputs().end() || spec->dtype != DataType::kFloat32) continue;
    learnt->outputs.push_back(*spec);
    learnt->constants.push_back(value);
  }
  if (learnt->outputs.size() != constants_.size()) return;  // the next one may have them
  const std::lock_guard lock(mutex_);
  if (signature_ == nullptr) signature_ = std::move(learnt);
  known_.store(true, std::memory_order_release);
}

std::shared_ptr<const Route::Signature> Route::signature() const {
  const std::lock_guard lock(mutex_);
  return signature_;
}

Result<const LoadedModel*> Route::Choose(const ModelSet& models) const {
  const auto now = Breaker::Clock::now();
  std::string why;
  for (const auto& rung : rungs_) {
    const auto found = models.Find(rung->model, rung->version);
    if (found.ok() && rung->breaker.CanAllow(now)) return *found;
    if (!why.empty()) why += "; ";
    why += found.ok() ? "model '" + rung->model + "' has failed and is left alone for now"
                      : found.status().message();
  }
  return Unavailable("route '" + name_ + "' has no model that answers: " + why);
}

bool Route::CanAnswer(const ModelSet& models) const {
  return Choose(models).ok() || signature() != nullptr;
}

RouteSample Route::Sample(const ModelSet& models) const {
  RouteSample sample;
  sample.route = name_;
  const auto now = Breaker::Clock::now();
  for (const auto& rung : rungs_) {
    RouteSample::Rung& out = sample.rungs.emplace_back();
    out.model = rung->model;
    out.breaker = static_cast<int>(rung->breaker.state());
    out.opened = rung->breaker.opened();
    out.can_answer = models.Find(rung->model, rung->version).ok() && rung->breaker.CanAllow(now);
    for (size_t i = 0; i < rung->outcomes.size(); ++i) {
      out.outcomes.emplace_back(RungOutcomeName(static_cast<RungOutcome>(i)),
                                rung->outcomes[i].load(std::memory_order_relaxed));
    }
  }
  sample.has_last_resort = has_last_resort();
  sample.last_resort_answers_now = signature() != nullptr;
  sample.last_resort_answers = last_resort_.load(std::memory_order_relaxed);
  return sample;
}

std::vector<std::pair<std::string, std::string>> FieldsOf(const RouteAnswer& answer) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"verdict-route", answer.route->name()}, {"verdict-rung", std::to_string(answer.rung)}};
  if (!answer.model.empty()) {
    fields.emplace_back("verdict-model", answer.model);
    fields.emplace_back("verdict-model-version", answer.version);
  }
  if (answer.rung > 0) fields.emplace_back("verdict-reason", RungOutcomeName(answer.reason));
  return fields;
}

void RouteTable::Add(const std::string& name, const RouteOptions& options) {
  routes_[name] = std::make_unique<Route>(name, options);
}

}  // namespace verdict
