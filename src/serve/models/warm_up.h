#pragma once

#include <chrono>

#include "base/status.h"
#include "runtime/session.h"

namespace verdict {

/// Runs each profile's expected, least and largest shapes once, so that no request is the first to
/// touch the engine's weights and code, and a model that cannot run is not served. The session's
/// own memory is warm for its next runs only. The inputs repeat the golden vectors' elements, or
/// are zeros where there are none. What a run refuses as invalid input is passed over: made-up
/// inputs need not suit the model. A shape of very large inputs is passed over too, and so are all
/// from `deadline` on; a run that has begun is ended. Errors: what else a run reports. Throws
/// std::bad_alloc.
Status WarmUp(Session& session, std::chrono::steady_clock::time_point deadline);

}  // namespace verdict
