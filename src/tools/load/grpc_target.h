#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/load/connection_options.h"
#include "tools/load/infer_inputs.h"

namespace verdict::load {

inline constexpr const char* kModelInferMethod = "/inference.GRPCInferenceService/ModelInfer";
inline constexpr const char* kModelStreamInferMethod =
    "/inference.GRPCInferenceService/ModelStreamInfer";

/// A server's address, and what goes with every call. Threads: any.
class GrpcTarget {
 public:
  /// headers: sent as metadata, their names in lower case. Errors: those of reading a file of
  /// `options`.
  static Result<std::unique_ptr<GrpcTarget>> Make(
      const ConnectionOptions& options, std::vector<std::pair<std::string, std::string>> headers);

  /// A channel with a connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const;
  void AddHeaders(grpc::ClientContext& context) const;
  const std::string& authority() const { return authority_; }

  /// Asks for the model's inputs. Errors: kUnavailable, kDeadlineExceeded, kFailedPrecondition with
  /// what the server said.
  Result<std::vector<InputSpec>> AskMetadata(const std::string& model, const std::string& version,
                                             int timeout_ms) const;

 private:
  GrpcTarget() = default;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::string authority_;
};

/// A message of these bytes. The bytes of a message.
grpc::ByteBuffer ToByteBuffer(const std::string& bytes);
std::string ToBytes(const grpc::ByteBuffer& buffer);

}  // namespace verdict::load
