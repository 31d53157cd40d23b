#include "tools/load/grpc_target.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <chrono>

#include "base/file.h"
#include "tools/load/grpc_message.h"

namespace verdict::load {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;

Result<std::string> ReadPem(const char* flag, const std::string& path) {
  if (path.empty()) return std::string();
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status().WithContext(flag);
  const auto bytes = (*file)->bytes();
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.find("-----BEGIN ") == std::string::npos) {
    return InvalidArgument(std::string(flag) + " " + path + ": not in PEM");
  }
  return text;
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

std::string ToBytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

Result<std::unique_ptr<GrpcTarget>> GrpcTarget::Make(
    const ConnectionOptions& options, std::vector<std::pair<std::string, std::string>> headers) {
  std::unique_ptr<GrpcTarget> target(new GrpcTarget());
  for (auto& [name, value] : headers) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  }
  target->headers_ = std::move(headers);
  const bool v6 = options.host.find(':') != std::string::npos;
  target->authority_ =
      (v6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
  if (!options.tls) {
    target->credentials_ = grpc::InsecureChannelCredentials();
    return target;
  }
  grpc::SslCredentialsOptions pem;
  VERDICT_ASSIGN_OR_RETURN(pem.pem_root_certs, ReadPem("--tls-ca", options.ca_file));
  VERDICT_ASSIGN_OR_RETURN(pem.pem_cert_chain, ReadPem("--cert", options.cert_file));
  VERDICT_ASSIGN_OR_RETURN(pem.pem_private_key, ReadPem("--key", options.key_file));
  target->credentials_ = grpc::SslCredentials(pem);
  return target;
}

std::shared_ptr<grpc::Channel> GrpcTarget::NewChannel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Without it every call builds and sends a list of the compressions it knows.
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Also how long one attempt may take: a server that has a backlog is not out of reach.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // a retry would hide a failure
  return grpc::CreateCustomChannel(authority_, credentials_, arguments);
}

void GrpcTarget::AddHeaders(grpc::ClientContext& context) const {
  for (const auto& [name, value] : headers_) context.AddMetadata(name, value);
}

Result<std::vector<InputSpec>> GrpcTarget::AskMetadata(const std::string& model,
                                                       const std::string& version,
                                                       int timeout_ms) const {
  grpc::GenericStub stub(NewChannel());
  grpc::ClientContext context;
  AddHeaders(context);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareUnaryCall(&context, "/inference.GRPCInferenceService/ModelMetadata",
                            ToByteBuffer(GrpcMetadataRequest(model, version)), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  const std::string where = "the server at " + authority_;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return Unavailable(where + " cannot be reached: " + status.error_message() +
                       "; is `verdict serve` running there, and is --url its address for gRPC?");
  }
  if (!status.ok()) {
    const auto code = static_cast<StatusCode>(status.error_code());
    return FailedPrecondition(where + " answered " + std::string(StatusCodeName(code)) +
                              " to ModelMetadata: " + status.error_message());
  }
  return ParseGrpcMetadata(ToBytes(response));
}

}  // namespace verdict::load
