// Triton's logging extension: what is logged, and how, while the server runs.

#include "observe/logging.h"

#include <limits>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

// Our text form stamps its lines in ISO 8601, whatever it is asked for by.
constexpr std::string_view kTextName = "ISO8601";
constexpr std::string_view kJsonName = "json";

Status ReadFlag(std::string_view name, const dom::element& value, bool* out) {
  if (value.get(*out) == simdjson::SUCCESS) return OkStatus();
  return InvalidArgument("setting " + std::string(name) + " must be true or false");
}

Status ReadFormat(const dom::element& value, LogFormat* out) {
  std::string_view name;
  if (value.get(name) != simdjson::SUCCESS) name = {};
  if (name == kJsonName) {
    *out = LogFormat::kJson;
  } else if (name == "default" || name == kTextName) {
    *out = LogFormat::kText;
  } else {
    return InvalidArgument(R"(setting log_format must be "default", "ISO8601" or "json")");
  }
  return OkStatus();
}

Status ReadSetting(std::string_view name, const dom::element& value, LogSettings* settings) {
  if (name == "log_info") return ReadFlag(name, value, &settings->info);
  if (name == "log_warning") return ReadFlag(name, value, &settings->warning);
  if (name == "log_error") return ReadFlag(name, value, &settings->error);
  if (name == "log_format") return ReadFormat(value, &settings->format);
  if (name == "log_verbose_level") {
    uint64_t level = 0;
    if (value.get(level) != simdjson::SUCCESS || level > std::numeric_limits<uint32_t>::max()) {
      return InvalidArgument("setting log_verbose_level must be a whole number, at least 0");
    }
    settings->verbose_level = static_cast<uint32_t>(level);
    return OkStatus();
  }
  if (name == "log_file") {
    return Unimplemented(
        "setting log_file cannot be changed: the log goes to standard error, where the service "
        "manager or the container runtime keeps it");
  }
  return InvalidArgument("there is no log setting " + Quoted(name));
}

}  // namespace

Status HandleLogSettings(Service&, const Call&, Reply* reply) {
  const LogSettings settings = CurrentLogSettings();
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  std::string& body = reply->body;
  body = R"({"log_file":"","log_info":)";
  body += flag(settings.info);
  body += ",\"log_warning\":";
  body += flag(settings.warning);
  body += ",\"log_error\":";
  body += flag(settings.error);
  body += ",\"log_verbose_level\":";
  AppendJsonInteger(&body, uint64_t{settings.verbose_level});
  body += ",\"log_format\":";
  AppendJsonString(&body, settings.format == LogFormat::kJson ? kJsonName : kTextName);
  body.push_back('}');
  return OkStatus();
}

Status HandleLogSettingsChange(Service& service, const Call& call, Reply* reply) {
  JsonBody body;
  VERDICT_RETURN_IF_ERROR(body.Parse(call.json));
  LogSettings settings = CurrentLogSettings();
  for (const dom::key_value_pair entry : body.object()) {  // all of them or none
    VERDICT_RETURN_IF_ERROR(ReadSetting(entry.key, entry.value, &settings));
  }
  SetLogSettings(settings);
  return HandleLogSettings(service, call, reply);
}

}  // namespace verdict
