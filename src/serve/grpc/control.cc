#include "serve/grpc/control.h"

#include <google/protobuf/util/json_util.h>

#include <array>

#include "inference.pb.h"
#include "serve/endpoints/json_text.h"
#include "serve/grpc/message_bytes.h"
#include "serve/grpc/settings.h"

namespace verdict {
namespace {

/// Fills a message from `before`, an endpoint's JSON text, and `after`.
template <typename Message>
Status FromJson(std::string_view before, std::string_view json, std::string_view after,
                Message* message) {
  std::string text(before);
  text.append(json).append(after);
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // what HTTP's clients are told beyond the protocol
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, message, options);
  if (parsed.ok()) return OkStatus();
  return Internal("the reply does not fit " + message->GetTypeName() + ": " + parsed.ToString());
}

/// A reply whose JSON has the message's own shape, or is the field of it that the texts around it
/// name.
template <typename Message>
Status Translated(const Status& status, std::string_view json, grpc::ByteBuffer* bytes,
                  std::string_view before = "", std::string_view after = "") {
  VERDICT_RETURN_IF_ERROR(status);
  Message message;
  VERDICT_RETURN_IF_ERROR(FromJson(before, json, after, &message));
  return WriteMessage(message, bytes);
}

template <typename Message>
Status AsMessage(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  return Translated<Message>(status, json, bytes);
}

template <typename Message>
Status Empty(const Status& status, std::string_view, grpc::ByteBuffer* bytes) {
  VERDICT_RETURN_IF_ERROR(status);
  return WriteMessage(Message(), bytes);
}

/// A request without fields.
template <typename Message>
Status Plain(const grpc::ByteBuffer& bytes, Verb verb, std::string_view path, ControlCall* call) {
  Message message;
  call->verb = verb;
  call->path = path;
  return ReadMessage(bytes, &message);
}

/// A request about a model and perhaps one of its versions.
template <typename Message>
Status AboutModel(const grpc::ByteBuffer& bytes, std::string_view path, ControlCall* call) {
  Message message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->path = path;
  call->name = message.name();
  call->version = message.version();
  return OkStatus();
}

Status LiveRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return Plain<inference::ServerLiveRequest>(bytes, Verb::kGet, "/v2/health/live", call);
}
Status LiveResponse(const Status& status, std::string_view, grpc::ByteBuffer* bytes) {
  inference::ServerLiveResponse message;
  message.set_live(status.ok());
  return WriteMessage(message, bytes);
}

Status ReadyRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return Plain<inference::ServerReadyRequest>(bytes, Verb::kGet, "/v2/health/ready", call);
}
Status ReadyResponse(const Status& status, std::string_view, grpc::ByteBuffer* bytes) {
  inference::ServerReadyResponse message;
  message.set_ready(status.ok());
  return WriteMessage(message, bytes);
}

Status ModelReadyRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return AboutModel<inference::ModelReadyRequest>(bytes, "/v2/models/{model}/ready", call);
}
Status ModelReadyResponse(const Status& status, std::string_view, grpc::ByteBuffer* bytes) {
  // A model that is unknown or cannot answer is not ready; a version that is none is an error.
  if (status.code() == StatusCode::kInvalidArgument) return status;
  inference::ModelReadyResponse message;
  message.set_ready(status.ok());
  return WriteMessage(message, bytes);
}

Status MetadataRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return Plain<inference::ServerMetadataRequest>(bytes, Verb::kGet, "/v2", call);
}
Status ModelMetadataRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return AboutModel<inference::ModelMetadataRequest>(bytes, "/v2/models/{model}", call);
}
Status ModelConfigRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return AboutModel<inference::ModelConfigRequest>(bytes, "/v2/models/{model}/config", call);
}
Status ModelConfigResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  return Translated<inference::ModelConfigResponse>(status, json, bytes, "{\"config\":", "}");
}
Status StatisticsRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  VERDICT_RETURN_IF_ERROR(
      AboutModel<inference::ModelStatisticsRequest>(bytes, "/v2/models/{model}/stats", call));
  if (call->name.empty()) call->path = "/v2/models/stats";
  return OkStatus();
}

Status OneRepository(const std::string& name) {
  if (name.empty()) return OkStatus();
  return Unimplemented("field repository_name: there is one repository, which has no name");
}

Status IndexRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::RepositoryIndexRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  VERDICT_RETURN_IF_ERROR(OneRepository(message.repository_name()));
  call->verb = Verb::kPost;
  call->path = "/v2/repository/index";
  call->json = message.ready() ? "{\"ready\":true}" : "{\"ready\":false}";
  return OkStatus();
}
Status IndexResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  return Translated<inference::RepositoryIndexResponse>(status, json, bytes, "{\"models\":", "}");
}

template <typename Message>
Status ChangeRequest(const grpc::ByteBuffer& bytes, std::string_view path, ControlCall* call) {
  Message message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  VERDICT_RETURN_IF_ERROR(OneRepository(message.repository_name()));
  call->verb = Verb::kPost;
  call->path = path;
  call->name = message.model_name();
  return WriteRepositoryParameters(message.parameters(), &call->json);
}
Status LoadRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return ChangeRequest<inference::RepositoryModelLoadRequest>(
      bytes, "/v2/repository/models/{model}/load", call);
}
Status UnloadRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  return ChangeRequest<inference::RepositoryModelUnloadRequest>(
      bytes, "/v2/repository/models/{model}/unload", call);
}

constexpr std::array kMethods = {
    ControlMethod{"ServerLive", LiveRequest, LiveResponse},
    ControlMethod{"ServerReady", ReadyRequest, ReadyResponse},
    ControlMethod{"ModelReady", ModelReadyRequest, ModelReadyResponse},
    ControlMethod{"ServerMetadata", MetadataRequest, AsMessage<inference::ServerMetadataResponse>},
    ControlMethod{"ModelMetadata", ModelMetadataRequest,
                  AsMessage<inference::ModelMetadataResponse>},
    ControlMethod{"ModelConfig", ModelConfigRequest, ModelConfigResponse},
    ControlMethod{"ModelStatistics", StatisticsRequest,
                  AsMessage<inference::ModelStatisticsResponse>},
    ControlMethod{"RepositoryIndex", IndexRequest, IndexResponse},
    ControlMethod{"RepositoryModelLoad", LoadRequest,
                  Empty<inference::RepositoryModelLoadResponse>},
    ControlMethod{"RepositoryModelUnload", UnloadRequest,
                  Empty<inference::RepositoryModelUnloadResponse>},
    ControlMethod{"SystemSharedMemoryStatus", SystemStatusRequest, SystemStatusResponse},
    ControlMethod{"SystemSharedMemoryRegister", SystemRegisterRequest,
                  Empty<inference::SystemSharedMemoryRegisterResponse>},
    ControlMethod{"SystemSharedMemoryUnregister", SystemUnregisterRequest,
                  Empty<inference::SystemSharedMemoryUnregisterResponse>},
    ControlMethod{"CudaSharedMemoryStatus", CudaStatusRequest, CudaStatusResponse},
    ControlMethod{"CudaSharedMemoryRegister", CudaRegisterRequest,
                  Empty<inference::CudaSharedMemoryRegisterResponse>},
    ControlMethod{"CudaSharedMemoryUnregister", CudaUnregisterRequest,
                  Empty<inference::CudaSharedMemoryUnregisterResponse>},
    ControlMethod{"TraceSetting", TraceRequest, TraceResponse},
    ControlMethod{"LogSettings", LogRequest, LogResponse},
};

}  // namespace

const ControlMethod* FindControlMethod(std::string_view name) {
  for (const ControlMethod& method : kMethods) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace verdict
