// gRPC inference requests, from their bytes on, against models of all types. The first byte says
// which model.

#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>

#include "serve/grpc/infer_answer.h"
#include "serve/grpc/infer_message.h"
#include "serve/grpc/message_bytes.h"

namespace {

using verdict::DataType;
using verdict::TensorSpec;

std::vector<TensorSpec> SpecsOf(uint8_t model) {
  const auto dtype = static_cast<DataType>(1 + model % 14);
  if ((model & 16) != 0) return {{"x", dtype, {-1, 2}}, {"y", DataType::kFloat32, {-1}}};
  return {{"x", dtype, {-1}}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  google::protobuf::SetLogHandler(nullptr);
  if (size < 1) return 0;
  const std::vector<TensorSpec> specs = SpecsOf(data[0]);
  const grpc::Slice slice(data + 1, size - 1);
  const grpc::ByteBuffer bytes(&slice, 1);
  inference::ModelInferRequest message;
  if (!verdict::ReadMessage(bytes, &message).ok()) return 0;

  static std::vector<verdict::TensorBuffer> buffers;
  verdict::InferRequest request;
  const verdict::Status status =
      verdict::ReadInferMessage(message, specs, specs, {}, &buffers, &request);
  if (!status.ok()) {
    if (status.message().empty()) std::abort();
    grpc::ByteBuffer answer;
    verdict::WriteInferError(status, message.id(), &answer);
    return 0;
  }
  // What was accepted can be read to the last byte: send it back.
  grpc::ByteBuffer answer;
  if (!verdict::WriteInferAnswer("m", "1", request, specs, request.inputs,
                                 verdict::InferAnswerForm::kStreamFinal, "cpu", &answer)
           .ok()) {
    std::abort();
  }
  return 0;
}
