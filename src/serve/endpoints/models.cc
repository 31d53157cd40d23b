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

}  // namespace

Status HandleModelMetadata(Service& service, const Call& call, Reply* reply) {
  const ModelSet& models = service.models().ForWorker(call.worker);
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model, models.Find(call.model, call.version));
  std::string& body = reply->body;
  body = "{\"name\":";
  AppendJsonString(&body, model->name());
  body += ",\"versions\":[";
  bool first = true;
  for (const ModelVersion& version : models.models().find(call.model)->second) {
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
  return service.models().ForWorker(call.worker).Find(call.model, call.version).status();
}

Status HandleModelConfig(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  AppendModelConfig(&reply->body, *model);
  return OkStatus();
}

}  // namespace verdict
