#include "serve/endpoints/json_body.h"

#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/json_error.h"

namespace verdict {

Status JsonBody::Parse(std::string_view json) {
  if (json.size() > kMaxSettingsBytes) {
    return InvalidArgument("the body has " + std::to_string(json.size()) +
                           " bytes; settings take at most " + std::to_string(kMaxSettingsBytes));
  }
  simdjson::dom::element root;
  if (parser_.allocate(kMaxSettingsBytes, kMaxJsonDepth) != simdjson::SUCCESS) {
    return ResourceExhausted("no memory for the request");
  }
  const auto error = parser_.parse(json.data(), json.size(), false).get(root);
  if (error != simdjson::SUCCESS) {
    return InvalidArgument("the body is not JSON: " +
                           DescribeJsonError(json, kMaxJsonDepth, simdjson::error_message(error)));
  }
  if (root.get(object_) != simdjson::SUCCESS) {
    return InvalidArgument("the body must be a JSON object");
  }
  return OkStatus();
}

}  // namespace verdict
