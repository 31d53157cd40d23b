#include <string>
#include <utility>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/model_config.h"

namespace verdict {
namespace {

void AppendTensors(std::string* out, std::span<const TensorSpec> specs) {
  out->push_back('[');
  bool first = true;
  for (const TensorSpec& spec : specs) {
    if (spec.is_state) continue;
    out->append(std::exchange(first, false) ? "{\"name\":" : ",{\"name\":");
    AppendJsonString(out, spec.name);
    out->append(",\"datatype\":");
    AppendJsonString(out, WireTypeName(spec.dtype));
    out->append(",\"shape\":");
    AppendJsonShape(out, spec.shape.dims());
    out->push_back('}');
  }
  out->push_back(']');
}

/// The model asked for; of a route, the one that would answer now.
Result<const LoadedModel*> FindModel(Service& service, const Call& call) {
  const ModelSet& models = service.models().ForWorker(call.worker);
  const Route* const route = call.version.empty() ? service.routes().Find(call.model) : nullptr;
  return route != nullptr ? route->Choose(models) : models.Find(call.model, call.version);
}

}  // namespace

Status HandleModelMetadata(Service& service, const Call& call, Reply* reply) {
  const ModelSet& models = service.models().ForWorker(call.worker);
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model, FindModel(service, call));
  std::string& body = reply->body;
  body = "{\"name\":";
  AppendJsonString(&body, call.model);
  body += ",\"versions\":[";
  bool first = true;
  for (const ModelVersion& version : models.models().find(model->name())->second) {
    if (version.loaded == nullptr) continue;
    if (!std::exchange(first, false)) body.push_back(',');
    AppendJsonString(&body, version.loaded->version_text());
  }
  body += "],\"platform\":\"verdict_engine\",\"inputs\":";
  AppendTensors(&body, model->inputs());
  body += ",\"outputs\":";
  AppendTensors(&body, model->outputs());
  body.push_back('}');
  return OkStatus();
}

Status HandleModelReady(Service& service, const Call& call, Reply*) {
  const Route* const route = call.version.empty() ? service.routes().Find(call.model) : nullptr;
  if (route != nullptr && route->CanAnswer(service.models().ForWorker(call.worker))) {
    return OkStatus();
  }
  return FindModel(service, call).status();
}

Status HandleModelConfig(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model, FindModel(service, call));
  AppendModelConfig(&reply->body, *model);
  return OkStatus();
}

}  // namespace verdict
