#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "serve/admission/authenticator.h"
#include "serve/admission/limiter.h"
#include "serve/admission/load_shedding.h"

namespace verdict {

struct AdmissionOptions {
  AuthOptions auth;
  LimitOptions limits;
  ShedPolicy shed;
};

/// A call at the door, as its transport knows it. The views are valid during the call.
struct Caller {
  ListenerKind listener = ListenerKind::kInference;
  Credentials credentials;
  std::string_view address;  // ClientAddress of the peer
  /// A web page's script sent it (it has an Origin or Sec-Fetch-Site field): a page that an
  /// operator merely visits must not work on a server that trusts the operator's machine.
  bool from_browser = false;
};

/// Why calls were turned away, for metrics.
enum class Denied {
  kUnauthenticated,
  kPermission,
  kClientRate,
  kClientInFlight,
  kTotalRate,
  kTotalInFlight,
  kShed,
};
inline constexpr size_t kNumDenied = 7;

/// The label of a metric: "unauthenticated", "permission", "client_rate", …
std::string_view DeniedName(Denied reason);

/// The hint to those who found no room, where only the end of a request makes some: it takes about
/// that long.
inline constexpr std::chrono::milliseconds kRetrySoon{1000};

/// What a call holds while it runs.
struct Admission {
  std::shared_ptr<const Principal> principal;  // null for open calls
  Limiter::Ticket ticket;
};

/// The answer to one that may not enter.
struct Refusal {
  Status status;  // OK: it may
  /// When it may do better, for the client; 0: no hint.
  std::chrono::milliseconds retry_after{0};
  /// It is this client that asks for too much (HTTP 429), not the server that is short (503).
  bool client_limit = false;
};

/// Decides who may enter, for all transports: who calls, may they, is there room. Threads: any.
class Gate {
 public:
  using Clock = Limiter::Clock;

  /// Errors: those of ClientTable::Load.
  static Result<std::unique_ptr<Gate>> Make(const AdmissionOptions& options);

  /// Who calls, and may they: the first half of Enter, for a transport that asks before it takes a
  /// long request. Status: kUnauthenticated, kPermissionDenied.
  Refusal Identify(const Caller& caller, Role needed, std::shared_ptr<const Principal>* principal);

  /// True if inference is for everyone, without limits: then there is nothing to ask.
  bool open() const { return open_; }

  /// Before anything else is done for a call. Open calls (health) always enter and count against no
  /// limit.
  ///
  /// needed: the endpoint's role.
  /// now: the caller's reading of the clock, which it needs anyway.
  /// Status: kUnauthenticated, kPermissionDenied, kResourceExhausted.
  Refusal Enter(const Caller& caller, Role needed, Clock::time_point now, Admission* admission);

  /// Once the request is read and its priority known: whether there is room for it under the
  /// present load. Status: kResourceExhausted.
  Refusal AdmitPriority(uint32_t priority, Clock::time_point now);

  /// A request began to run after so long in its queue.
  void ObserveQueueDelay(std::chrono::microseconds delay, Clock::time_point now) {
    queue_delay_.Observe(delay, now);
  }

  Authenticator& authenticator() { return *authenticator_; }
  Limiter& limiter() { return limiter_; }
  uint64_t denied(Denied reason) const {
    return denied_[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
  }

 private:
  Gate(const AdmissionOptions& options, std::unique_ptr<Authenticator> authenticator);
  void Count(Denied reason);

  const ShedPolicy shed_;
  const bool has_clients_;  // a clients file, by which tokens are verified
  const bool open_;
  std::unique_ptr<Authenticator> authenticator_;
  Limiter limiter_;
  QueueDelayMeter queue_delay_;
  std::array<std::atomic<uint64_t>, kNumDenied> denied_{};
};

}  // namespace verdict
