#include "serve/admission/gate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/unix_time.h"

namespace verdict {
namespace {

using std::chrono::milliseconds;

Refusal TooMany(const Limiter::Answer& answer) {
  Refusal refusal;
  refusal.retry_after =
      answer.wait.count() > 0 ? std::chrono::ceil<milliseconds>(answer.wait) : kRetrySoon;
  switch (answer.verdict) {
    case Limiter::Verdict::kAdmitted:
      break;
    case Limiter::Verdict::kClientRate:
      refusal.client_limit = true;
      refusal.status = ResourceExhausted(
          "this client sends more requests a second than it is allowed; slow down");
      break;
    case Limiter::Verdict::kClientInFlight:
      refusal.client_limit = true;
      refusal.status = ResourceExhausted(
          "this client has as many requests under way as it is allowed; wait for answers");
      break;
    case Limiter::Verdict::kTotalRate:
      refusal.status = ResourceExhausted(
          "more requests a second come in than this server takes; try again later");
      break;
    case Limiter::Verdict::kTotalInFlight:
      refusal.status =
          ResourceExhausted("as many requests are under way as this server takes; try again later");
      break;
  }
  return refusal;
}

Denied ReasonOf(Limiter::Verdict verdict) {
  switch (verdict) {
    case Limiter::Verdict::kClientRate:
      return Denied::kClientRate;
    case Limiter::Verdict::kClientInFlight:
      return Denied::kClientInFlight;
    case Limiter::Verdict::kTotalRate:
      return Denied::kTotalRate;
    default:
      return Denied::kTotalInFlight;
  }
}

}  // namespace

std::string_view DeniedName(Denied reason) {
  switch (reason) {
    case Denied::kUnauthenticated:
      return "unauthenticated";
    case Denied::kPermission:
      return "permission";
    case Denied::kClientRate:
      return "client_rate";
    case Denied::kClientInFlight:
      return "client_in_flight";
    case Denied::kTotalRate:
      return "total_rate";
    case Denied::kTotalInFlight:
      return "total_in_flight";
    case Denied::kShed:
      return "shed";
  }
  return "unknown";
}

Gate::Gate(const AdmissionOptions& options, std::unique_ptr<Authenticator> authenticator)
    : shed_(options.shed),
      has_clients_(!options.auth.clients_file.empty()),
      open_(options.auth.clients_file.empty() && !options.limits.any()),
      authenticator_(std::move(authenticator)),
      limiter_(options.limits) {}

Result<std::unique_ptr<Gate>> Gate::Make(const AdmissionOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(auto authenticator, Authenticator::Make(options.auth));
  return std::unique_ptr<Gate>(new Gate(options, std::move(authenticator)));
}

void Gate::Count(Denied reason) {
  denied_[static_cast<size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
}

Refusal Gate::Identify(const Caller& caller, Role needed,
                       std::shared_ptr<const Principal>* principal) {
  if (needed == Role::kOpen) return {};
  auto found = authenticator_->Authenticate(caller.credentials, caller.listener, UnixTime());
  Status status = found.ok() ? Authenticator::Authorize(**found, needed) : found.status();
  // Without a clients file a token is any text.
  const bool has_token = has_clients_ && !caller.credentials.authorization.empty();
  if (status.ok() && needed == Role::kAdmin && caller.from_browser && !has_token) {
    status = PermissionDenied(
        "a web page's script may not make this call; it needs a token with the role admin, and the "
        "server a clients file (auth.clients_file)");
  }
  if (!status.ok()) {
    Count(status.code() == StatusCode::kUnauthenticated ? Denied::kUnauthenticated
                                                        : Denied::kPermission);
    return {std::move(status)};
  }
  *principal = *std::move(found);
  return {};
}

Refusal Gate::Enter(const Caller& caller, Role needed, Clock::time_point now,
                    Admission* admission) {
  Refusal refusal = Identify(caller, needed, &admission->principal);
  // What keeps the server in hand must work when clients have filled it.
  if (!refusal.status.ok() || needed != Role::kInfer) return refusal;
  Limiter::Answer answer = limiter_.Enter(admission->principal->name, caller.address, now);
  if (answer.verdict != Limiter::Verdict::kAdmitted) {
    Count(ReasonOf(answer.verdict));
    return TooMany(answer);
  }
  admission->ticket = std::move(answer.ticket);
  return {};
}

Refusal Gate::AdmitPriority(uint32_t priority, Clock::time_point now) {
  LoadSnapshot load;
  // Beside the one that asks, which has entered: else the last one allowed would never be admitted.
  load.in_flight = std::max<int64_t>(limiter_.in_flight() - 1, 0);
  load.max_in_flight = limiter_.options().total.max_in_flight;
  if (shed_.queue_delay_watermark.count() > 0) load.queue_delay = queue_delay_.Estimate(now);
  if (load.max_in_flight == 0 && load.queue_delay.count() == 0) return {};
  if (AdmitsUnderLoad(shed_, load, priority)) return {};
  Count(Denied::kShed);
  Refusal refusal;
  refusal.status = ResourceExhausted(
      "the server is busy with more urgent requests; try again later, or with a higher priority");
  refusal.retry_after = kRetrySoon;
  return refusal;
}

}  // namespace verdict
