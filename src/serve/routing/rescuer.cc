#include "serve/routing/rescuer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "serve/routing/last_resort.h"

namespace verdict {
Result<std::unique_ptr<Rescuer>> Rescuer::Start(Service& service, int slot) {
  std::unique_ptr<Rescuer> rescuer(new Rescuer(service, slot));
  try {
    rescuer->thread_ = std::thread([&self = *rescuer] { self.Run(); });
  } catch (const std::system_error& error) {
    return ResourceExhausted(std::string("a thread for routes: ") + error.what());
  }
  return rescuer;
}

Rescuer::~Rescuer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Rescuer::Watch(const std::shared_ptr<RoutedRequest>& request, Clock::time_point at,
                    RungOutcome outcome) noexcept {
  bool is_first = false;
  try {
    const std::lock_guard lock(mutex_);
    const auto place = watched_.emplace(at, Watched{request, outcome});
    is_first = place == watched_.begin();
  } catch (const std::exception&) {  // its run's end will answer it
    return;
  }
  if (is_first) wake_.notify_one();
}

void Rescuer::Rescue(std::shared_ptr<RoutedRequest> request, RungOutcome outcome,
                     const Status& error) {
  {
    const std::lock_guard lock(mutex_);
    failed_.push_back({std::move(request), outcome, error});
  }
  wake_.notify_one();
}

void Rescuer::Refresh() {
  {
    const std::lock_guard lock(mutex_);
    refresh_ = true;
  }
  wake_.notify_one();
}

void Rescuer::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (GoOnWithDue(lock)) continue;  // first: nobody else looks after what hangs
    if (!failed_.empty()) {
      Failed failed = std::move(failed_.front());
      failed_.pop_front();
      lock.unlock();
      RoutedRequest& request = *failed.request;
      if (request.TakeObservation()) {
        request.walk().Observe(request.in_flight(), failed.outcome, failed.error);
      }
      GoOn(request, false);
      failed = {};
      lock.lock();
      continue;
    }
    if (std::exchange(refresh_, false)) {
      lock.unlock();
      MakeSessions();
      lock.lock();
      continue;
    }
    if (watched_.empty()) {
      wake_.wait(lock);
    } else {
      const Clock::time_point first = watched_.begin()->first;
      wake_.wait_until(lock, first);
    }
  }
}

void WatchRung(Service& service, const RouteWalk& walk, const RouteWalk::Step& step, int64_t rows,
               const ModelSet& models, const std::shared_ptr<RoutedRequest>& request) noexcept {
  const auto now = RouteWalk::Clock::now();
  auto at = now + walk.route().patience();
  try {
    at = walk.GiveUpAt(models, step.rung, now);
  } catch (const std::exception&) {  // no memory: after the route's patience
  }
  const bool had_time = at - now >= step.model->queue()->Patience(rows);
  service.rescuer()->Watch(request, at, had_time ? RungOutcome::kTimeout : RungOutcome::kNoTime);
}

/// With the lock, which it gives up meanwhile. Returns: false if none is due.
bool Rescuer::GoOnWithDue(std::unique_lock<std::mutex>& lock) {
  const auto first = watched_.begin();
  if (first == watched_.end() || Clock::now() < first->first) return false;
  const Watched watched = std::move(first->second);
  watched_.erase(first);
  lock.unlock();
  std::shared_ptr<RoutedRequest> request = watched.request.lock();
  if (request != nullptr && !request->answered()) {
    if (request->TakeObservation()) {
      request->walk().Observe(request->in_flight(), watched.outcome,
                              DeadlineExceeded("no answer in time"));
    }
    GoOn(*request, true);
  }
  request.reset();
  lock.lock();
  return true;
}

/// waits: the rung in flight may still answer, if nothing does here.
void Rescuer::GoOn(RoutedRequest& request, bool waits) {
  if (request.answered()) return;
  try {
    const auto models = service_.models().Current();
    RouteWalk::Step step = request.walk().Next(*models, true);
    for (; step.model != nullptr; step = request.walk().Next(*models, true)) {
      if (TryRung(request, step)) return;
    }
    if (step.last_resort != nullptr) {
      const Route::Signature& signature = *step.last_resort;
      const auto read = request.Read(signature.inputs, signature.outputs);
      if (read.ok()) {
        const auto last = LastResort::Make(signature, **read);
        if (last.ok()) {
          const RouteAnswer answer = request.walk().Answer(step);
          if (!request.Claim()) return;
          request.route().CountLastResort();
          return request.Answer(answer, nullptr, **read, signature.outputs, last->views());
        }
      }
    }
    if (!waits && request.Claim()) request.Refuse(request.walk().Refusal());
  } catch (const std::exception&) {  // out of memory
    if (!waits && request.Claim()) request.Refuse(Unavailable("no memory to answer this request"));
  }
}

/// Returns: whether the request has been answered.
bool Rescuer::TryRung(RoutedRequest& request, const RouteWalk::Step& step) {
  const LoadedModel& model = *step.model;
  InferenceRecord record{model, {}, request.trace()};
  record.phases.begin = Clock::now();
  const auto read = request.Read(model.inputs(), model.outputs());
  if (!read.ok()) {  // the rung before it could: this one's inputs or outputs are others
    request.route().rung(step.rung).breaker.Drop();
    return false;
  }
  record.phases.parsed = record.phases.started = Clock::now();
  record.rows = record.run_rows = RowsOf(model, (*read)->inputs);
  record.alone = true;
  Session* const session = SessionOf(step.model);
  const auto fault = model.queue()->faults().BeforeRescue();
  Result<std::span<const TensorView>> results =
      !fault.ok() ? Result<std::span<const TensorView>>(fault.status())
      : session == nullptr
          ? Result<std::span<const TensorView>>(ResourceExhausted("no memory for another session"))
          : session->Run((*read)->inputs);
  record.phases.computed = record.phases.written = Clock::now();
  if (results.ok() && *fault == FaultPoint::Kind::kNotANumber) FaultPoint::Spoil(*results);
  const RungOutcome outcome = OutcomeOf(results.status(), (*read)->inputs,
                                        results.ok() ? *results : std::span<const TensorView>());
  if (outcome == RungOutcome::kAnswered) {
    request.walk().Observe(step.rung, outcome);
  } else {
    request.walk().Observe(step.rung, outcome, results.ok() ? NotANumber() : results.status());
  }
  const RouteAnswer answer = request.walk().Answer(step);
  const bool answers = outcome == RungOutcome::kAnswered && request.Claim();
  const Status status =
      answers ? OkStatus()
              : (!results.ok() ? results.status() : Cancelled("another rung has answered"));
  if (answers) request.Answer(answer, &record, **read, model.outputs(), *results);
  Record(service_, slot_, status, record);
  return answers || request.answered();
}

Session* Rescuer::SessionOf(const std::shared_ptr<const LoadedModel>& model) {
  Own& own = sessions_[model.get()];
  if (own.session != nullptr && !own.model.expired()) return own.session.get();
  auto made = Session::Create(model->shared_engine());
  if (!made.ok()) {
    sessions_.erase(model.get());
    return nullptr;
  }
  own = {model, *std::move(made)};
  return own.session.get();
}

/// Ahead of the first request that needs them.
void Rescuer::MakeSessions() {
  const auto models = service_.models().Current();
  std::map<const LoadedModel*, bool> wanted;
  for (const auto& [name, route] : service_.routes().all()) {
    bool any = false;
    for (size_t i = 0; i < route->size(); ++i) {
      const auto found = models->Find(route->rung(i).model, route->rung(i).version);
      if (!found.ok()) continue;
      route->Learn(**found);
      any = true;
      if (!(*found)->engine().contents().device_plans.empty()) continue;
      wanted[*found] = true;
      SessionOf((*found)->shared_from_this());
    }
    if (any && route->has_last_resort() && route->signature() == nullptr) {
      spdlog::warn(
          "route {} has no last resort: no model of it that is loaded has all of its outputs, as "
          "float32; correct routes.{}.last_resort",
          name, name);
    }
  }
  std::erase_if(sessions_, [&](const auto& entry) { return !wanted.contains(entry.first); });
}

}  // namespace verdict
