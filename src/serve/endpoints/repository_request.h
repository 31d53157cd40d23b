#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

// The bodies of the model repository's calls; `json` may be empty, and kJsonPadding readable bytes
// follow it. All report kInvalidArgument that names the field. Threads: pure.

/// {"ready": true}: only what is ready is asked for.
Result<bool> ReadIndexRequest(std::string_view json);

/// {"parameters": {"config": "…"}}: the text of a configuration to be used instead of the model's
/// file. Files ("file:…") are refused: what is served comes from the repository.
Result<std::optional<std::string>> ReadLoadRequest(std::string_view json);

/// {"parameters": {"unload_dependents": true}}: checked, and without effect, since no model depends
/// on another.
Status ReadUnloadRequest(std::string_view json);

}  // namespace verdict
