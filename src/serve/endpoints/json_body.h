#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// Longest JSON text of a call that changes a setting, in bytes.
inline constexpr size_t kMaxSettingsBytes = size_t{64} << 10;

/// Parses JSON text, which kJsonPadding readable bytes follow, nested kMaxJsonDepth deep at most.
/// Whole numbers of more than 64 bits become floats.
/// Errors: kInvalidArgument saying that `what` is not JSON, and where; kResourceExhausted.
Status ParseJson(std::string_view json, std::string_view what, simdjson::dom::parser* parser,
                 simdjson::dom::element* root);

/// Parses the small body of a call that changes a setting. For sources, not for headers of
/// endpoints: it shows simdjson.
class JsonBody {
 public:
  /// json: followed by kJsonPadding readable bytes.
  /// Errors: kInvalidArgument for what is not a JSON object, or is longer than kMaxSettingsBytes.
  Status Parse(std::string_view json);

  /// Valid until the next Parse.
  const simdjson::dom::object& object() const { return object_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::object object_;
};

}  // namespace verdict
