#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "observe/route_sample.h"
#include "serve/models/model_store.h"
#include "serve/routing/breaker.h"

namespace verdict {

/// What became of a rung that a request came to.
enum class RungOutcome {
  kAnswered,
  kNotLoaded,
  kBreakerOpen,
  kNoTime,      // by what it costs, its answer would be too late
  kBusy,        // its queue is full, or what waits there leaves no time
  kError,       // its run failed
  kTimeout,     // it had not answered when the next one had to begin
  kNotANumber,  // in its outputs
  kBadInput,    // the same, where an input is not one either: not the model's fault
  kCount
};
/// As metrics and answers have it: "breaker_open".
std::string_view RungOutcomeName(RungOutcome outcome);

struct RouteOptions {
  struct Rung {
    std::string model;
    std::string version;  // empty: the highest that is loaded
  };
  std::vector<Rung> rungs;  // best first
  /// The last resort: what an output is where no rung can answer; empty: there is none.
  std::vector<std::pair<std::string, float>> constants;
  /// A rung that has not answered for so long is given up where the deadline says nothing earlier.
  std::chrono::microseconds patience{1'000'000};
  BreakerOptions breaker;
};

/// A name that is asked for like a model, and the models that may answer, best first. Threads: any.
class Route {
 public:
  struct Rung {
    Rung(RouteOptions::Rung options, const BreakerOptions& breaker_options)
        : model(std::move(options.model)),
          version(std::move(options.version)),
          breaker(breaker_options) {}
    void Count(RungOutcome outcome) {
      outcomes[static_cast<size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
    }

    const std::string model, version;
    Breaker breaker;
    std::array<std::atomic<uint64_t>, static_cast<size_t>(RungOutcome::kCount)> outcomes{};
  };

  Route(std::string name, const RouteOptions& options);

  const std::string& name() const { return name_; }
  size_t size() const { return rungs_.size(); }
  Rung& rung(size_t index) const { return *rungs_[index]; }
  std::chrono::microseconds patience() const { return patience_; }

  /// What a run of a rung has come to, for its breaker and the counters.
  void Observe(size_t index, RungOutcome outcome) const;
  /// What requests of the route look like: the first of its models that was loaded. Kept, so that
  /// the last resort can answer when none is.
  void Learn(const LoadedModel& model) const;
  struct Signature {
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;  // those that have constants
    std::vector<float> constants;     // of these outputs
  };
  /// Null: no model has been loaded yet, or there is no last resort.
  std::shared_ptr<const Signature> signature() const;
  bool has_last_resort() const { return !constants_.empty(); }
  void CountLastResort() const { last_resort_.fetch_add(1, std::memory_order_relaxed); }

  /// The model that would answer now: of the first rung that is loaded and not shut off. Errors:
  /// kUnavailable that says why none can.
  Result<const LoadedModel*> Choose(const ModelSet& models) const;
  /// Whether anything would answer.
  bool CanAnswer(const ModelSet& models) const;
  RouteSample Sample(const ModelSet& models) const;

 private:
  const std::string name_;
  const std::vector<std::pair<std::string, float>> constants_;
  const std::chrono::microseconds patience_;
  std::vector<std::unique_ptr<Rung>> rungs_;
  mutable std::atomic<uint64_t> last_resort_{0};
  mutable std::atomic<bool> known_{false};
  mutable std::mutex mutex_;  // guards signature_
  mutable std::shared_ptr<const Signature> signature_;
};

/// Who answered a request on a route, and why not the best.
struct RouteAnswer {
  const Route* route = nullptr;  // null: the request was for no route
  int rung = 0;                  // in the route's order; the last resort's is one more
  std::string model, version;    // empty: the last resort
  RungOutcome reason = RungOutcome::kAnswered;  // of the first rung
};

/// The answer's fields as HTTP and gRPC carry them: names in lower case, and values.
std::vector<std::pair<std::string, std::string>> FieldsOf(const RouteAnswer& answer);

/// All routes of a server. Immutable once requests come, but for what each counts.
class RouteTable {
 public:
  void Add(const std::string& name, const RouteOptions& options);
  /// Null: there is no such route. Cost: a comparison where there are none.
  const Route* Find(std::string_view name) const {
    if (routes_.empty()) return nullptr;
    const auto it = routes_.find(name);
    return it == routes_.end() ? nullptr : it->second.get();
  }
  const std::map<std::string, std::unique_ptr<Route>, std::less<>>& all() const { return routes_; }

 private:
  std::map<std::string, std::unique_ptr<Route>, std::less<>> routes_;
};

}  // namespace verdict
