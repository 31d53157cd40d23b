#include "serve/grpc/settings.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>

#include "serve/endpoints/json_text.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {
namespace {

using JsonValue = google::protobuf::Value;
using google::protobuf::util::JsonStringToMessage;

Status UnexpectedReply(const char* what) {
  return Internal(std::string("the reply is no ") + what);
}

/// Appends `,"key":` (or without the comma, as the first) for one more entry of an object.
void AppendKey(std::string* json, std::string_view key) {
  if (json->back() != '{') json->push_back(',');
  AppendJsonString(json, key);
  json->push_back(':');
}

std::string Base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // one more for the final zero
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

/// Parses the endpoint's JSON text.
Status Parse(const Status& status, std::string_view json, JsonValue* value) {
  VERDICT_RETURN_IF_ERROR(status);
  if (JsonStringToMessage(std::string(json), value).ok()) return OkStatus();
  return UnexpectedReply("JSON");
}

template <typename Message>
Status SharedMemoryStatus(const Status& status, std::string_view json, grpc::ByteBuffer* bytes,
                          void (*fill)(const google::protobuf::Struct&,
                                       typename Message::RegionStatus*)) {
  JsonValue value;
  VERDICT_RETURN_IF_ERROR(Parse(status, json, &value));
  if (!value.has_list_value()) return UnexpectedReply("list of regions");
  Message message;
  for (const JsonValue& region : value.list_value().values()) {
    const auto& fields = region.struct_value();
    const auto name = fields.fields().find("name");
    if (name == fields.fields().end()) return UnexpectedReply("list of named regions");
    auto& out = (*message.mutable_regions())[name->second.string_value()];
    out.set_name(name->second.string_value());
    fill(fields, &out);
  }
  return WriteMessage(message, bytes);
}

/// A number of a region; absent is 0. JSON's numbers are exact up to 2^53, more than any region.
uint64_t NumberOf(const google::protobuf::Struct& fields, const char* key) {
  const auto found = fields.fields().find(key);
  if (found == fields.fields().end()) return 0;
  const double number = found->second.number_value();
  return number >= 0 && number < 0x1p63 ? static_cast<uint64_t>(number) : 0;
}

std::string TextOf(const google::protobuf::Struct& fields, const char* key) {
  const auto found = fields.fields().find(key);
  return found == fields.fields().end() ? std::string() : found->second.string_value();
}

/// Chooses among the endpoints of one kind of shared memory.
void SetRegionPath(std::string_view all, std::string_view one, const std::string& region,
                   ControlCall* call) {
  call->path = region.empty() ? all : one;
  call->name = region;
}

/// A setting in the words of the trace endpoint.
std::string TraceText(const JsonValue& value) {
  switch (value.kind_case()) {
    case JsonValue::kStringValue:
      return value.string_value();
    case JsonValue::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case JsonValue::kNumberValue: {
      std::string text;
      AppendJsonNumber(&text, value.number_value());
      return text;
    }
    default:
      return {};
  }
}

}  // namespace

Status WriteRepositoryParameters(
    const google::protobuf::Map<std::string, inference::ModelRepositoryParameter>& parameters,
    std::string* json) {
  using Parameter = inference::ModelRepositoryParameter;
  *json = "{\"parameters\":{";
  for (const auto& [key, value] : parameters) {
    AppendKey(json, key);
    switch (value.parameter_choice_case()) {
      case Parameter::kBoolParam:
        json->append(value.bool_param() ? "true" : "false");
        break;
      case Parameter::kInt64Param:
        AppendJsonInteger(json, int64_t{value.int64_param()});
        break;
      case Parameter::kStringParam:
        AppendJsonString(json, value.string_param());
        break;
      case Parameter::kBytesParam:
        AppendJsonString(json, Base64(value.bytes_param()));
        break;
      case Parameter::PARAMETER_CHOICE_NOT_SET:
        return InvalidArgument("field parameters." + key + " has no value");
    }
  }
  json->append("}}");
  return OkStatus();
}

Status SystemStatusRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::SystemSharedMemoryStatusRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  SetRegionPath("/v2/systemsharedmemory/status", "/v2/systemsharedmemory/region/{region}/status",
                message.name(), call);
  return OkStatus();
}

Status SystemStatusResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  using Message = inference::SystemSharedMemoryStatusResponse;
  return SharedMemoryStatus<Message>(
      status, json, bytes,
      [](const google::protobuf::Struct& fields, Message::RegionStatus* region) {
        region->set_key(TextOf(fields, "key"));
        region->set_offset(NumberOf(fields, "offset"));
        region->set_byte_size(NumberOf(fields, "byte_size"));
      });
}

Status SystemRegisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::SystemSharedMemoryRegisterRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->verb = Verb::kPost;
  call->path = "/v2/systemsharedmemory/region/{region}/register";
  call->name = message.name();
  call->json = "{";
  AppendKey(&call->json, "key");
  AppendJsonString(&call->json, message.key());
  AppendKey(&call->json, "offset");
  AppendJsonInteger(&call->json, uint64_t{message.offset()});
  AppendKey(&call->json, "byte_size");
  AppendJsonInteger(&call->json, uint64_t{message.byte_size()});
  call->json.push_back('}');
  return OkStatus();
}

Status SystemUnregisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::SystemSharedMemoryUnregisterRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->verb = Verb::kPost;
  SetRegionPath("/v2/systemsharedmemory/unregister",
                "/v2/systemsharedmemory/region/{region}/unregister", message.name(), call);
  return OkStatus();
}

Status CudaStatusRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::CudaSharedMemoryStatusRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  SetRegionPath("/v2/cudasharedmemory/status", "/v2/cudasharedmemory/region/{region}/status",
                message.name(), call);
  return OkStatus();
}

Status CudaStatusResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  using Message = inference::CudaSharedMemoryStatusResponse;
  return SharedMemoryStatus<Message>(
      status, json, bytes,
      [](const google::protobuf::Struct& fields, Message::RegionStatus* region) {
        region->set_device_id(NumberOf(fields, "device_id"));
        region->set_byte_size(NumberOf(fields, "byte_size"));
      });
}

Status CudaRegisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::CudaSharedMemoryRegisterRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->verb = Verb::kPost;
  call->path = "/v2/cudasharedmemory/region/{region}/register";
  call->name = message.name();
  call->json = "{\"raw_handle\":{\"b64\":";
  AppendJsonString(&call->json, Base64(message.raw_handle()));
  call->json += "},\"device_id\":";
  AppendJsonInteger(&call->json, int64_t{message.device_id()});
  AppendKey(&call->json, "byte_size");
  AppendJsonInteger(&call->json, uint64_t{message.byte_size()});
  call->json.push_back('}');
  return OkStatus();
}

Status CudaUnregisterRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::CudaSharedMemoryUnregisterRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->verb = Verb::kPost;
  SetRegionPath("/v2/cudasharedmemory/unregister",
                "/v2/cudasharedmemory/region/{region}/unregister", message.name(), call);
  return OkStatus();
}

Status TraceRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::TraceSettingRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->path =
      message.model_name().empty() ? "/v2/trace/setting" : "/v2/models/{model}/trace/setting";
  call->name = message.model_name();
  if (message.settings().empty()) return OkStatus();
  call->verb = Verb::kPost;
  call->json = "{";
  for (const auto& [key, setting] : message.settings()) {
    AppendKey(&call->json, key);
    const auto& values = setting.value();
    if (values.empty()) {
      call->json += "null";  // back to the default
    } else if (values.size() == 1 && key != "trace_level") {
      AppendJsonString(&call->json, values[0]);
    } else {
      call->json.push_back('[');
      for (int i = 0; i < values.size(); ++i) {
        if (i > 0) call->json.push_back(',');
        AppendJsonString(&call->json, values[i]);
      }
      call->json.push_back(']');
    }
  }
  call->json.push_back('}');
  return OkStatus();
}

Status TraceResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  JsonValue value;
  VERDICT_RETURN_IF_ERROR(Parse(status, json, &value));
  if (!value.has_struct_value()) return UnexpectedReply("object of settings");
  inference::TraceSettingResponse message;
  for (const auto& [key, setting] : value.struct_value().fields()) {
    auto& out = (*message.mutable_settings())[key];
    if (setting.has_list_value()) {
      for (const JsonValue& each : setting.list_value().values()) out.add_value(TraceText(each));
    } else {
      out.add_value(TraceText(setting));
    }
  }
  return WriteMessage(message, bytes);
}

Status LogRequest(const grpc::ByteBuffer& bytes, ControlCall* call) {
  inference::LogSettingsRequest message;
  VERDICT_RETURN_IF_ERROR(ReadMessage(bytes, &message));
  call->path = "/v2/logging";
  if (message.settings().empty()) return OkStatus();
  using Setting = inference::LogSettingsRequest::SettingValue;
  call->verb = Verb::kPost;
  call->json = "{";
  for (const auto& [key, setting] : message.settings()) {
    AppendKey(&call->json, key);
    switch (setting.parameter_choice_case()) {
      case Setting::kBoolParam:
        call->json += setting.bool_param() ? "true" : "false";
        break;
      case Setting::kUint32Param:
        AppendJsonInteger(&call->json, uint64_t{setting.uint32_param()});
        break;
      case Setting::kStringParam:
        AppendJsonString(&call->json, setting.string_param());
        break;
      case Setting::PARAMETER_CHOICE_NOT_SET:
        return InvalidArgument("field settings." + key + " has no value");
    }
  }
  call->json.push_back('}');
  return OkStatus();
}

Status LogResponse(const Status& status, std::string_view json, grpc::ByteBuffer* bytes) {
  JsonValue value;
  VERDICT_RETURN_IF_ERROR(Parse(status, json, &value));
  if (!value.has_struct_value()) return UnexpectedReply("object of settings");
  inference::LogSettingsResponse message;
  for (const auto& [key, setting] : value.struct_value().fields()) {
    auto& out = (*message.mutable_settings())[key];
    switch (setting.kind_case()) {
      case JsonValue::kBoolValue:
        out.set_bool_param(setting.bool_value());
        break;
      case JsonValue::kNumberValue:
        out.set_uint32_param(
            static_cast<uint32_t>(std::clamp(setting.number_value(), 0.0, 4294967295.0)));
        break;
      case JsonValue::kStringValue:
        out.set_string_param(setting.string_value());
        break;
      default:
        return UnexpectedReply("object of plain settings");
    }
  }
  return WriteMessage(message, bytes);
}

}  // namespace verdict
