#include "serve/endpoints/repository_request.h"

#include <simdjson.h>

#include <string>

#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

/// Parses `json` to an object and calls `member` for each of its fields.
template <typename Member>
Status ReadFields(std::string_view json, dom::parser* parser, Member member) {
  if (json.empty()) return OkStatus();
  dom::element root;
  VERDICT_RETURN_IF_ERROR(ParseJson(json, "the request", parser, &root));
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return InvalidArgument("the request must be a JSON object");
  }
  for (const auto& [key, value] : object) VERDICT_RETURN_IF_ERROR(member(key, value));
  return OkStatus();
}

/// The same for the fields of its object "parameters"; other fields are passed over.
template <typename Member>
Status ReadParameters(std::string_view json, Member member) {
  dom::parser parser;
  return ReadFields(json, &parser, [&](std::string_view key, dom::element value) -> Status {
    if (key != "parameters") return OkStatus();
    dom::object parameters;
    if (value.get(parameters) != simdjson::SUCCESS) {
      return InvalidArgument("field parameters must be an object");
    }
    for (const auto& [name, parameter] : parameters) {
      VERDICT_RETURN_IF_ERROR(member(name, parameter));
    }
    return OkStatus();
  });
}

}  // namespace

Result<bool> ReadIndexRequest(std::string_view json) {
  bool ready = false;
  dom::parser parser;
  VERDICT_RETURN_IF_ERROR(
      ReadFields(json, &parser, [&](std::string_view key, dom::element value) -> Status {
        if (key == "ready" && value.get(ready) != simdjson::SUCCESS) {
          return InvalidArgument("field ready must be true or false");
        }
        return OkStatus();
      }));
  return ready;
}

Result<std::optional<std::string>> ReadLoadRequest(std::string_view json) {
  std::optional<std::string> config;
  VERDICT_RETURN_IF_ERROR(
      ReadParameters(json, [&](std::string_view name, dom::element value) -> Status {
        if (name.starts_with("file:")) {
          return InvalidArgument("parameter " + Quoted(name) +
                                 ": models cannot be sent with the call; put the engine into the "
                                 "repository and load it from there");
        }
        if (name != "config") {
          return InvalidArgument("unknown parameter " + Quoted(name) + "; there is 'config'");
        }
        std::string_view text;
        if (value.get(text) != simdjson::SUCCESS) {
          return InvalidArgument("parameter 'config' must be a string that holds JSON");
        }
        config = std::string(text);
        return OkStatus();
      }));
  return config;
}

Status ReadUnloadRequest(std::string_view json) {
  return ReadParameters(json, [](std::string_view name, dom::element value) -> Status {
    if (name != "unload_dependents") {
      return InvalidArgument("unknown parameter " + Quoted(name) +
                             "; there is 'unload_dependents'");
    }
    return value.is_bool() ? OkStatus()
                           : InvalidArgument("parameter 'unload_dependents' must be true or false");
  });
}

}  // namespace verdict
