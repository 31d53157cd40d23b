#pragma once

#include "backends/backend.h"

namespace verdict {

/// Runs every operator with its reference kernel from ops/. The oracle, the last resort, and the
/// skeleton to copy for a new backend.
extern const Backend kReferenceBackend;

}  // namespace verdict
