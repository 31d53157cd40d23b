#include <memory>
#include <string>
#include <utility>

#include "release/repository/repository.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/repository_request.h"
#include "serve/models/manager.h"

namespace verdict {
namespace {

/// The model of the path, and the manager that may change it.
Result<ModelManager*> ManagerFor(Service& service, const Call& call) {
  ModelManager* const manager = service.manager();
  if (manager == nullptr) return Unavailable("the models of this server cannot be changed");
  VERDICT_RETURN_IF_ERROR(manager->CheckAllowed());
  VERDICT_RETURN_IF_ERROR(CheckModelName(call.model));
  return manager;
}

/// Answers the call, with an empty body, when the manager is done.
ModelManager::Done AnswerLater(const Call& call, Reply* reply) {
  reply->deferred = true;
  return [later = call.transport->Defer()](const Status& status) { later->Complete(status, {}); };
}

/// Why a version is not ready, or is not as it might be.
std::string ReasonOf(const Service& service, const ModelVersion& version) {
  if (version.loaded == nullptr || service.device() == nullptr) return version.reason;
  const std::string notice =
      service.device()->Notice(version.loaded->engine(), version.loaded->config());
  if (version.reason.empty() || notice.empty()) return version.reason + notice;
  return version.reason + "; " + notice;
}

}  // namespace

Status HandleModelLoad(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(ModelManager* const manager, ManagerFor(service, call));
  VERDICT_ASSIGN_OR_RETURN(std::optional<std::string> config, ReadLoadRequest(call.json));
  manager->Load(std::string(call.model), std::move(config), AnswerLater(call, reply));
  return OkStatus();
}

Status HandleModelUnload(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(ModelManager* const manager, ManagerFor(service, call));
  VERDICT_RETURN_IF_ERROR(ReadUnloadRequest(call.json));
  manager->Unload(std::string(call.model), AnswerLater(call, reply));
  return OkStatus();
}

Status HandleRepositoryIndex(Service& service, const Call& call, Reply* reply) {
  VERDICT_ASSIGN_OR_RETURN(const bool only_ready, ReadIndexRequest(call.json));
  std::string& body = reply->body;
  body = "[";
  bool first = true;
  for (const auto& [name, versions] : service.models().ForWorker(call.worker).models()) {
    for (const ModelVersion& version : versions) {
      if (only_ready && version.state() != ModelState::kReady) continue;
      if (!std::exchange(first, false)) body.push_back(',');
      body += "{\"name\":";
      AppendJsonString(&body, name);
      body += ",\"version\":\"";
      AppendJsonInteger(&body, version.version);
      body += "\",\"state\":\"";
      body += ModelStateName(version.state());
      body += "\",\"reason\":";
      AppendJsonString(&body, ReasonOf(service, version));
      body.push_back('}');
    }
  }
  body.push_back(']');
  return OkStatus();
}

}  // namespace verdict
