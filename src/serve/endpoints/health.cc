#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"

namespace verdict {

/// Fails where a route has no rung left: the server is to be started anew. Not while it loads, or
/// ends.
Status HandleLive(Service& service, const Call& call, Reply*) {
  if (!service.ready()) return OkStatus();
  const ModelSet& models = service.models().ForWorker(call.worker);
  for (const auto& [name, route] : service.routes().all()) {
    if (!route->CanAnswer(models)) return route->Choose(models).status();
  }
  return OkStatus();
}

Status HandleReady(Service& service, const Call&, Reply*) {
  if (service.ready()) return OkStatus();
  return Unavailable(
      "the server is not ready: models are being loaded, none could be loaded, or "
      "it is shutting down");
}

Status HandleServerMetadata(Service& service, const Call&, Reply* reply) {
  reply->body = "{\"name\":\"verdict\",\"version\":";
  AppendJsonString(&reply->body, VERDICT_VERSION);
  reply->body +=
      ",\"extensions\":[\"binary_tensor_data\",\"model_configuration\",\"model_repository\","
      "\"statistics\",\"trace\",\"logging\"";
  if (service.shared_memory().allowed()) reply->body += ",\"system_shared_memory\"";
  reply->body += "]}";
  return OkStatus();
}

}  // namespace verdict
