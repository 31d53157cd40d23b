#pragma once

#include <string_view>

#include "base/status.h"

namespace verdict {

/// The one table from Status to HTTP's codes. kUnavailable and kDeadlineExceeded stay different
/// answers: clients try again after the first.
int HttpCodeOf(StatusCode code);

/// The reason phrase of a status line; "Unknown" for a code that is never sent.
std::string_view ReasonPhrase(int code);

}  // namespace verdict
