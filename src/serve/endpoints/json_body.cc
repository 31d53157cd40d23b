#include "serve/endpoints/json_body.h"

#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/json_error.h"

namespace verdict {

Status ParseJson(std::string_view json, std::string_view what, simdjson::dom::parser* parser,
                 simdjson::dom::element* root) {
  if (parser->allocate(json.size(), kMaxJsonDepth) != simdjson::SUCCESS) {
    return ResourceExhausted("no memory for the request");
  }
  auto error = parser->parse(json.data(), json.size(), false).get(*root);
  if (error == simdjson::NUMBER_ERROR) {
    std::string text = WithWideIntegersAsFloats(json);
    if (const size_t size = text.size(); size > 0) {
      text.append(kJsonPadding, '\0');
      if (parser->allocate(size, kMaxJsonDepth) != simdjson::SUCCESS) {
        return ResourceExhausted("no memory for the request");
      }
      error = parser->parse(text.data(), size, false).get(*root);
    }
  }
  if (error == simdjson::SUCCESS) return OkStatus();
  return InvalidArgument(std::string(what) + " is not JSON: " +
                         DescribeJsonError(json, kMaxJsonDepth, simdjson::error_message(error)));
}

Status JsonBody::Parse(std::string_view json) {
  if (json.size() > kMaxSettingsBytes) {
    return InvalidArgument("the body has " + std::to_string(json.size()) +
                           " bytes; settings take at most " + std::to_string(kMaxSettingsBytes));
  }
  simdjson::dom::element root;
  VERDICT_RETURN_IF_ERROR(ParseJson(json, "the body", &parser_, &root));
  if (root.get(object_) != simdjson::SUCCESS) {
    return InvalidArgument("the body must be a JSON object");
  }
  return OkStatus();
}

}  // namespace verdict
