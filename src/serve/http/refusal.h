#pragma once

#include "serve/admission/gate.h"
#include "serve/http/message.h"

namespace verdict {

/// The response to one that may not enter: 401, 403, 429 (this client asks too much) or 503 (the
/// server is short), with Retry-After where there is a hint.
void SetRefusal(const Refusal& refusal, HttpResponse* response);

}  // namespace verdict
