#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "base/status.h"
#include "runtime/session.h"
#include "serve/endpoints/inference.h"
#include "serve/routing/route_walk.h"

namespace verdict {

/// A request on a route whose rung runs on another thread, and whose way down goes on if that rung
/// fails or does not come back. Two threads may have an answer at a time: the first one's counts.
class RoutedRequest {
 public:
  /// in_flight: the rung that is being tried.
  RoutedRequest(const RouteWalk& walk, const RouteWalk::Step& in_flight)
      : walk_(walk), in_flight_(in_flight.rung), first_answer_(walk.Answer(in_flight)) {}
  virtual ~RoutedRequest() = default;
  RoutedRequest(const RoutedRequest&) = delete;
  RoutedRequest& operator=(const RoutedRequest&) = delete;

  /// True for one caller, who then answers.
  bool Claim() { return !answered_.exchange(true); }
  bool answered() const { return answered_.load(); }
  /// True for one caller, who then says what became of the rung in flight.
  bool TakeObservation() { return !observed_.exchange(true); }
  /// Says what became of that rung, or that it says nothing, unless somebody has.
  void ObserveRung(RungOutcome outcome) {
    if (TakeObservation()) route().Observe(in_flight_, outcome);
  }
  void DropRung() {
    if (TakeObservation()) route().rung(in_flight_).breaker.Drop();
  }
  size_t in_flight() const { return in_flight_; }
  const Route& route() const { return walk_.route(); }
  /// As that rung gives it.
  const RouteAnswer& first_answer() const { return first_answer_; }

  // The rescuer's thread alone calls these.

  RouteWalk& walk() { return walk_; }
  /// Reads the request again, for a model with these tensors, passing over inputs that it has not.
  /// Returns: valid until the next call. Errors: InferRequestReader::Read's.
  virtual Result<const InferRequest*> Read(std::span<const TensorSpec> inputs,
                                           std::span<const TensorSpec> outputs) = 0;
  virtual RequestTrace trace() const = 0;
  /// The answer, of who has claimed it. record: null for the last resort.
  virtual void Answer(const RouteAnswer& answer, const InferenceRecord* record,
                      const InferRequest& request, std::span<const TensorSpec> specs,
                      std::span<const TensorView> results) = 0;
  virtual void Refuse(const Status& status) = 0;

 private:
  RouteWalk walk_;
  const size_t in_flight_;
  const RouteAnswer first_answer_;
  std::atomic<bool> answered_{false};
  std::atomic<bool> observed_{false};
};

/// The thread that goes on where a rung has failed or hangs: it runs engines without a device
/// itself, in sessions of its own, so that neither busy nor stuck threads keep a request from its
/// answer. Threads: any, for what is public.
class Rescuer {
 public:
  /// slot: of the thread, for counters and spans (Service::rescue_slot). Errors:
  /// kResourceExhausted.
  static Result<std::unique_ptr<Rescuer>> Start(Service& service, int slot);
  /// What still waits is dropped.
  ~Rescuer();

  /// Goes on with the request at that time, if it has not been answered by then. outcome: what that
  /// then says of its rung. Without memory it is not watched.
  void Watch(const std::shared_ptr<RoutedRequest>& request, RouteWalk::Clock::time_point at,
             RungOutcome outcome) noexcept;
  /// Goes on with it now: its rung has failed.
  void Rescue(std::shared_ptr<RoutedRequest> request, RungOutcome outcome, const Status& error);
  /// Makes sessions for what the routes have now, and lets go of what they have no more.
  void Refresh();

 private:
  using Clock = RouteWalk::Clock;
  Rescuer(Service& service, int slot) : service_(service), slot_(slot) {}
  void Run();
  void GoOn(RoutedRequest& request, bool waits);
  bool TryRung(RoutedRequest& request, const RouteWalk::Step& step);
  bool GoOnWithDue(std::unique_lock<std::mutex>& lock);
  Session* SessionOf(const std::shared_ptr<const LoadedModel>& model);
  void MakeSessions();

  Service& service_;
  const int slot_;
  std::mutex mutex_;  // guards all up to thread_
  std::condition_variable wake_;
  struct Watched {
    std::weak_ptr<RoutedRequest> request;
    RungOutcome outcome;
  };
  std::multimap<Clock::time_point, Watched> watched_;
  struct Failed {
    std::shared_ptr<RoutedRequest> request;
    RungOutcome outcome;
    Status error;
  };
  std::deque<Failed> failed_;
  bool refresh_ = true;
  bool stop_ = false;
  std::thread thread_;
  // The thread's own.
  struct Own {
    std::weak_ptr<const LoadedModel> model;
    std::unique_ptr<Session> session;
  };
  std::map<const LoadedModel*, Own> sessions_;
};

/// Has the rescuer look after a rung's run that another thread was given. That it could not answer
/// by then is its fault if it had time for it.
void WatchRung(Service& service, const RouteWalk& walk, const RouteWalk::Step& step, int64_t rows,
               const ModelSet& models, const std::shared_ptr<RoutedRequest>& request) noexcept;

}  // namespace verdict
