#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"

namespace verdict {

Status HandleLive(Service&, const Call&, Reply*) { return OkStatus(); }

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
