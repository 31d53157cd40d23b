// Triton's trace extension: which requests are traced. Traces go to an OpenTelemetry collector.

#include <charconv>

#include "base/json_writer.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

/// The protocol's values are strings, or lists of them (always so over gRPC); numbers are taken
/// too. Nothing: the setting is cleared.
Result<std::optional<std::string>> ReadValue(std::string_view name, const dom::element& value) {
  dom::element scalar = value;
  if (dom::array list; value.get(list) == simdjson::SUCCESS) {
    if (list.size() == 0) return std::optional<std::string>();
    if (list.size() > 1) {
      return InvalidArgument("setting " + std::string(name) + " takes one value");
    }
    scalar = list.at(0);
  }
  if (scalar.is_null()) return std::optional<std::string>();
  if (std::string_view text; scalar.get(text) == simdjson::SUCCESS) {
    return std::optional(std::string(text));
  }
  if (int64_t number = 0; scalar.get(number) == simdjson::SUCCESS) {
    return std::optional(std::to_string(number));
  }
  return InvalidArgument("setting " + std::string(name) + " must be a string or null");
}

template <typename T>
Status ReadNumber(std::string_view name, const std::optional<std::string>& text, T least,
                  std::optional<std::optional<T>>* out) {
  std::optional<T>& number = out->emplace();
  if (!text.has_value()) return OkStatus();
  const char* const end = text->data() + text->size();
  const auto result = std::from_chars(text->data(), end, number.emplace());
  if (result.ec == std::errc() && result.ptr == end && *number >= least) return OkStatus();
  return InvalidArgument("setting " + std::string(name) + " must be a whole number, at least " +
                         std::to_string(least));
}

Status ReadLevel(const std::optional<std::string>& text, std::optional<std::optional<bool>>* out) {
  std::optional<bool>& timestamps = out->emplace();
  if (!text.has_value()) return OkStatus();
  if (*text == "TIMESTAMPS" || *text == "OFF") {
    timestamps = *text == "TIMESTAMPS";
    return OkStatus();
  }
  if (*text == "TENSORS") {
    return Unimplemented(
        "setting trace_level: TENSORS is not offered: feature values are personal data, and no "
        "trace holds any");
  }
  return InvalidArgument("setting trace_level must be TIMESTAMPS or OFF");
}

Status ReadSetting(std::string_view name, const dom::element& json, TraceSettingsUpdate* update) {
  if (name == "trace_level" || name == "trace_rate" || name == "trace_count") {
    VERDICT_ASSIGN_OR_RETURN(const auto value, ReadValue(name, json));
    if (name == "trace_level") return ReadLevel(value, &update->timestamps);
    if (name == "trace_rate") return ReadNumber<uint64_t>(name, value, 1, &update->rate);
    return ReadNumber<int64_t>(name, value, -1, &update->count);
  }
  if (name == "trace_file" || name == "log_frequency") {
    return Unimplemented("setting " + std::string(name) +
                         " has no effect here: traces go to an OpenTelemetry collector, not to "
                         "files");
  }
  if (name == "trace_mode") {
    return Unimplemented("setting trace_mode cannot be changed: it is always opentelemetry");
  }
  return InvalidArgument("there is no trace setting " + Quoted(name));
}

/// All versions of a model have the same settings; one that the call names must be there.
/// Errors: kNotFound where the call names a model that is not there; those of Find for a version.
Status CheckModel(Service& service, const Call& call) {
  const ModelSet& set = service.models().ForWorker(call.worker);
  if (!call.version.empty()) return set.Find(call.model, call.version).status();
  const auto& models = set.models();
  if (call.model.empty() || models.find(call.model) != models.end()) return OkStatus();
  return NotFound("unknown model " + Quoted(call.model));
}

}  // namespace

Status HandleTraceSettings(Service& service, const Call& call, Reply* reply) {
  VERDICT_RETURN_IF_ERROR(CheckModel(service, call));
  const TraceSettings settings = service.tracer().Settings(call.model);
  JsonWriter json;
  json.BeginObject();
  json.Key("trace_level").BeginArray().String(settings.timestamps ? "TIMESTAMPS" : "OFF");
  json.EndArray();
  json.Key("trace_rate").String(std::to_string(settings.rate));
  json.Key("trace_count").String(std::to_string(settings.count));
  json.Key("log_frequency").String("0");
  json.Key("trace_file").String("");
  json.Key("trace_mode").String("opentelemetry");
  json.EndObject();
  reply->body = json.text();
  return OkStatus();
}

Status HandleTraceSettingsChange(Service& service, const Call& call, Reply* reply) {
  VERDICT_RETURN_IF_ERROR(CheckModel(service, call));
  JsonBody body;
  VERDICT_RETURN_IF_ERROR(body.Parse(call.json));
  TraceSettingsUpdate update;
  for (const dom::key_value_pair entry : body.object()) {  // all of them or none
    VERDICT_RETURN_IF_ERROR(ReadSetting(entry.key, entry.value, &update));
  }
  VERDICT_RETURN_IF_ERROR(service.tracer().Update(call.model, update));
  return HandleTraceSettings(service, call, reply);
}

}  // namespace verdict
