#include "serve/grpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>

#include "health.pb.h"
#include "inference.pb.h"
#include "serve/endpoints/json_text.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::FileDescriptorResponse;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

/// The files whose services are offered. Only these and what they import are shown: the process
/// knows others, such as the engine file's, which are not for clients.
std::array<const FileDescriptor*, 3> ServedFiles() {
  return {inference::ModelInferRequest::descriptor()->file(),
          grpc::health::v1::HealthCheckRequest::descriptor()->file(),
          ServerReflectionRequest::descriptor()->file()};
}

/// file and what it imports, each once.
void Collect(const FileDescriptor* file, std::set<const FileDescriptor*>* files) {
  if (!files->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) Collect(file->dependency(i), files);
}

bool IsServed(const FileDescriptor* file) {
  std::set<const FileDescriptor*> served;
  for (const FileDescriptor* const root : ServedFiles()) Collect(root, &served);
  return served.contains(file);
}

void SetError(grpc::StatusCode code, const std::string& message,
              ServerReflectionResponse* response) {
  auto* const error = response->mutable_error_response();
  error->set_error_code(code);
  error->set_error_message(message);
}

void SetFile(const FileDescriptor* file, const std::string& name,
             ServerReflectionResponse* response) {
  if (file == nullptr || !IsServed(file)) {
    return SetError(grpc::NOT_FOUND, "this server does not know " + Quoted(name), response);
  }
  std::set<const FileDescriptor*> files;
  Collect(file, &files);
  files.erase(file);
  FileDescriptorResponse* const out = response->mutable_file_descriptor_response();
  const auto add = [out](const FileDescriptor* each) {
    google::protobuf::FileDescriptorProto proto;
    each->CopyTo(&proto);
    out->add_file_descriptor_proto(proto.SerializeAsString());
  };
  add(file);  // first, as clients expect
  for (const FileDescriptor* const import : files) add(import);
}

class Reflection final : public GrpcHandler {
 public:
  explicit Reflection(GenericCall& call) : call_(call) {}

  void OnStart() override { Read(); }

  void OnRead(bool ok, const grpc::ByteBuffer& bytes) override {
    reading_ = false;
    if (!ok) return Finish(OkStatus());
    if (finished_) return;
    ServerReflectionRequest request;
    grpc::ByteBuffer answer;
    Status status = ReadMessage(bytes, &request);
    if (status.ok()) status = WriteMessage(Reflect(request), &answer);
    status.ok() ? call_.Write(answer) : Finish(status);
  }

  // Also where the write failed: the read fails then, and ends the call.
  void OnWritten(bool) override { Read(); }

  // A client that keeps its stream open must not hold up the server's end.
  void OnTick() override {
    if (!reading_ || !call_.worker().shared.stopping.load()) return;
    Finish(Unavailable("the server is shutting down"));
  }

 private:
  void Read() {
    reading_ = true;
    call_.Read();
  }
  void Finish(const Status& status) {
    if (finished_) return;
    finished_ = true;
    call_.Finish(status);
  }

  GenericCall& call_;
  bool reading_ = false;
  bool finished_ = false;
};

}  // namespace

ServerReflectionResponse Reflect(const ServerReflectionRequest& request) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool* const pool = DescriptorPool::generated_pool();
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const FileDescriptor* const file : ServedFiles()) {
        for (int i = 0; i < file->service_count(); ++i) {
          response.mutable_list_services_response()->add_service()->set_name(
              file->service(i)->full_name());
        }
      }
      break;
    case ServerReflectionRequest::kFileByFilename:
      SetFile(pool->FindFileByName(request.file_by_filename()), request.file_by_filename(),
              &response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      SetFile(pool->FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), &response);
      break;
    case ServerReflectionRequest::kFileContainingExtension:
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      SetError(grpc::NOT_FOUND, "this server's messages have no extensions", &response);
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::INVALID_ARGUMENT, "the request asks for nothing", &response);
      break;
  }
  return response;
}

std::unique_ptr<GrpcHandler> MakeReflection(GenericCall& call) {
  return std::make_unique<Reflection>(call);
}

}  // namespace verdict
