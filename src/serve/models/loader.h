#pragma once

#include <atomic>
#include <filesystem>

#include "base/status.h"
#include "observe/metrics.h"
#include "release/repository/repository.h"
#include "serve/models/model_store.h"

namespace verdict {

/// Publishes every version of the listing as one that is still being loaded, so that a request for
/// it is told so from the first connection on.
void AnnounceModels(const RepositoryListing& listing, Metrics* metrics, ModelStore* store);

/// Loads every version of the listing, one after another, and publishes each at once. What fails is
/// logged and published with its reason; the others go on. Stops early when `stop` becomes true.
/// Not for a request's thread.
void LoadModels(const RepositoryListing& listing, const std::atomic<bool>& stop, Metrics* metrics,
                ModelStore* store);

}  // namespace verdict
