#pragma once

#include <chrono>
#include <memory>
#include <span>

#include "base/status.h"
#include "serve/endpoints/service.h"
#include "serve/routing/route.h"

namespace verdict {

/// One request's way down a route, within its deadline.
class RouteWalk {
 public:
  using Clock = std::chrono::steady_clock;
  RouteWalk(Service& service, const Route& route, Clock::time_point deadline)
      : service_(service), route_(route), deadline_(deadline) {}

  struct Step {
    std::shared_ptr<const LoadedModel> model;  // to be tried; null: there is none left
    size_t rung = 0;
    std::shared_ptr<const Route::Signature> last_resort;  // set where only that is left
  };
  /// The next rung that is loaded, not shut off, and fast enough for what is left of the time.
  /// cpu_only: leaves out engines with plans for a device.
  /// Each model is to be followed by Observe.
  Step Next(const ModelSet& models, bool cpu_only);
  /// What came of the step's run: Route::Observe, and kept for the answer.
  void Observe(size_t rung, RungOutcome outcome);
  void Observe(size_t rung, RungOutcome outcome, const Status& error);

  /// The same for an attempt that the caller's own thread has made and that failed.
  /// inputs: as it has read them. was_read: whether an earlier rung had read the request. is_shed:
  /// it was turned away for its priority. Returns: whether the next rung is to be tried.
  bool GoesOnAfter(const Step& step, const Status& error, std::span<const TensorView> inputs,
                   bool was_read, bool is_shed);

  RouteAnswer Answer(const Step& step) const;
  /// Where nothing has answered.
  Status Refusal() const;

  /// A rung has read the request: from now on one that cannot is passed over, as its inputs or
  /// outputs are others.
  void NoteRead() { was_read_ = true; }
  bool was_read() const { return was_read_; }
  void SetDeadline(Clock::time_point deadline) { deadline_ = deadline; }

  const Route& route() const { return route_; }
  Clock::time_point deadline() const { return deadline_; }
  /// When the rung's answer is waited for no longer, so that one after it that needs no device can
  /// still answer: its cost twice before the deadline, at the latest after the route's patience.
  Clock::time_point GiveUpAt(const ModelSet& models, size_t rung, Clock::time_point now) const;

 private:
  void Note(size_t rung, RungOutcome outcome);

  Service& service_;
  const Route& route_;
  Clock::time_point deadline_;
  size_t next_ = 0;
  bool was_read_ = false;
  RungOutcome first_ = RungOutcome::kAnswered;
  Status last_error_;
};

/// What an attempt has come to.
RungOutcome OutcomeOf(const Status& status, std::span<const TensorView> inputs,
                      std::span<const TensorView> outputs);

/// Of a run whose outputs are no numbers.
Status NotANumber();

/// Whether an error is a run's or the server's, so that another rung may do better; a request that
/// is wrong, or a caller that is gone, is not.
bool MayGoOn(const Status& status);

}  // namespace verdict
