#include "serve/http/refusal.h"

#include "serve/http/status_map.h"

namespace verdict {

void SetRefusal(const Refusal& refusal, HttpResponse* response) {
  constexpr int kTooManyRequests = 429;
  SetError(refusal.client_limit ? kTooManyRequests : HttpCodeOf(refusal.status.code()),
           refusal.status.message(), response);
  response->retry_after_s = RetryAfterSeconds(refusal.retry_after);
}

}  // namespace verdict
