#pragma once

#include <chrono>
#include <cstdint>

#include "serve/admission/gate.h"
#include "serve/http/message.h"

namespace verdict {

/// Retry-After has whole seconds: rounded up.
inline int64_t RetryAfterSeconds(std::chrono::milliseconds retry_after) {
  return std::chrono::ceil<std::chrono::seconds>(retry_after).count();
}

/// The response to one that may not enter: 401, 403, 429 (this client asks too much) or 503 (the
/// server is short), with Retry-After where there is a hint.
void SetRefusal(const Refusal& refusal, HttpResponse* response);

}  // namespace verdict
