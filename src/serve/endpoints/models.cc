#include <string>
#include <utility>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

void AppendTensors(std::string* out, std::span<const TensorSpec> specs) {
  out->push_back('[');
  for (size_t i = 0; i < specs.size(); ++i) {
    out->append(i == 0 ? "{\"name\":" : ",{\"name\":");
    AppendJsonString(out, specs[i].name);
    out->append(",\"datatype\":");
    AppendJsonString(out, WireTypeName(specs[i].dtype));
    out->append(",\"shape\":");
    AppendJsonShape(out, specs[i].shape.dims());
    out->push_back('}');
  }
  out->push_back(']');
}

void AppendConfigTensors(std::string* out, std::span<const TensorSpec> specs) {
  out->push_back('[');
  for (size_t i = 0; i < specs.size(); ++i) {
    out->append(i == 0 ? "{\"name\":" : ",{\"name\":");
    AppendJsonString(out, specs[i].name);
    out->append(",\"data_type\":");
    AppendJsonString(out, ConfigTypeName(specs[i].dtype));
    out->append(",\"dims\":");
    AppendJsonShape(out, specs[i].shape.dims());
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
  AppendTensors(&body, model->engine().inputs());
  body += ",\"outputs\":";
  AppendTensors(&body, model->engine().outputs());
  body.push_back('}');
  return OkStatus();
}

Status HandleModelReady(Service& service, const Call& call, Reply*) {
  return service.models().ForWorker(call.worker).Find(call.model, call.version).status();
}

Status HandleModelConfig(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  std::string& body = reply->body;
  body = "{\"name\":";
  AppendJsonString(&body, model->name());
  // 0: the batch is one of the dims, as for every model whose clients send it in the shape.
  body +=
      ",\"platform\":\"verdict_engine\",\"backend\":\"verdict\",\"max_batch_size\":0,\"input\":";
  AppendConfigTensors(&body, model->engine().inputs());
  body += ",\"output\":";
  AppendConfigTensors(&body, model->engine().outputs());
  body.push_back('}');
  return OkStatus();
}

Status HandleRepositoryChange(Service&, const Call& call, Reply*) {
  return Unimplemented(
      "model " + Quoted(call.model) +
      ": models are read when the server starts; restart it to load or unload any");
}

Status HandleRepositoryIndex(Service& service, const Call& call, Reply* reply) {
  std::string& body = reply->body;
  body = "[";
  bool first = true;
  for (const auto& [name, versions] : service.models().ForWorker(call.worker).models()) {
    for (const ModelVersion& version : versions) {
      if (!std::exchange(first, false)) body.push_back(',');
      body += "{\"name\":";
      AppendJsonString(&body, name);
      body += ",\"version\":\"";
      AppendJsonInteger(&body, version.version);
      body += version.loaded != nullptr ? "\",\"state\":\"READY\"" : "\",\"state\":\"UNAVAILABLE\"";
      body += ",\"reason\":";
      AppendJsonString(&body, version.reason);
      body.push_back('}');
    }
  }
  body.push_back(']');
  return OkStatus();
}

}  // namespace verdict
