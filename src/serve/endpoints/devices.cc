// The device that models are served on: what it is, how it is, who is there; and faults for drills.
#include <string>
#include <utility>

#include "serve/device/device_sample.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

void AppendField(std::string* out, const char* name) {
  if (!out->ends_with('{')) out->push_back(',');
  out->append("\"").append(name).append("\":");
}

void AppendField(std::string* out, const char* name, std::string_view value) {
  AppendField(out, name);
  AppendJsonString(out, value);
}

void AppendField(std::string* out, const char* name, uint64_t value) {
  AppendField(out, name);
  AppendJsonInteger(out, value);
}

void AppendModels(std::string* out, const ServingDevice& device, const ModelSet& models) {
  out->push_back('[');
  for (const auto& [name, versions] : models.models()) {
    for (const ModelVersion& version : versions) {
      if (version.loaded == nullptr || !BelongsToDevice(*version.loaded)) continue;
      const LoadedModel& model = *version.loaded;
      const DeviceAttachment standing = device.Standing(model.engine(), model.config());
      out->append(out->ends_with('[') ? "{" : ",{");
      AppendField(out, "name", name);
      AppendField(out, "version", model.version_text());
      AppendField(out, "state", AttachmentName(standing.state));
      AppendField(out, "reason", standing.reason);
      AppendField(out, "memory_bytes", standing.device_bytes);
      out->push_back('}');
    }
  }
  out->push_back(']');
}

}  // namespace

Status HandleDevices(Service& service, const Call& call, Reply* reply) {
  std::string& body = reply->body;
  body = "{\"devices\":[";
  const ServingDevice* const device = service.device();
  if (device != nullptr && device->wanted()) {
    body.push_back('{');
    AppendField(&body, "backend", device->backend());
    AppendField(&body, "state", DeviceStateName(*device));
    if (device->host() == nullptr) {
      AppendField(&body, "reason", device->status().message());
    } else {
      const DeviceInfo& info = device->host()->info();
      const DeviceHost::Totals totals = device->host()->totals();
      AppendField(&body, "reason", totals.last_fault);
      AppendField(&body, "index", static_cast<uint64_t>(info.index));
      AppendField(&body, "name", info.name);
      AppendField(&body, "uuid", info.uuid);
      AppendField(&body, "versions", info.versions);
      AppendField(&body, "fingerprint", info.fingerprint);
      AppendField(&body, "memory_bytes", info.memory_bytes);
      AppendField(&body, "memory_limit_bytes", totals.limit_bytes);
      AppendField(&body, "memory_used_bytes", totals.used_bytes);
      AppendField(&body, "memory_shared_bytes", totals.shared_bytes);
      AppendField(&body, "faults", totals.faults);
      AppendField(&body, "recoveries", totals.recoveries);
      AppendField(&body, "evictions", totals.evictions);
      AppendField(&body, "rebuilds", totals.rebuilds);
    }
    AppendField(&body, "models");
    AppendModels(&body, *device, service.models().ForWorker(call.worker));
    body.push_back('}');
  }
  body += "]}";
  return OkStatus();
}

Status HandleDeviceFault(Service& service, const Call& call, Reply*) {
  JsonBody body;
  VERDICT_RETURN_IF_ERROR(body.Parse(call.json));
  std::string_view kind;
  for (const simdjson::dom::key_value_pair entry : body.object()) {
    if (entry.key != "kind") return InvalidArgument("there is no field " + Quoted(entry.key));
    if (entry.value.get(kind) != simdjson::SUCCESS) kind = {};
  }
  if (kind.empty()) {
    return InvalidArgument(R"(say which fault: {"kind":"trap"}, or "hang", or "oom")");
  }
  ServingDevice* const device = service.device();
  if (device == nullptr || !device->fault_injection()) {
    return Unavailable(
        "this server takes no faults for drills; start it with device.fault_injection: true");
  }
  if (device->host() == nullptr) return Unavailable("the server has no device");
  return device->host()->InjectFault(std::string(kind));
}

}  // namespace verdict
