#include "serve/grpc/infer_answer.h"

#include <google/protobuf/arena.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <limits>
#include <string>

#include "inference.pb.h"
#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {
namespace {

using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;

Status Fill(std::string_view model, std::string_view version, const InferRequest& request,
            std::span<const TensorSpec> specs, std::span<const TensorView> results,
            ModelInferResponse* response) {
  response->set_model_name(model.data(), model.size());
  response->set_model_version(version.data(), version.size());
  if (request.id.has_value()) response->set_id(request.id->data(), request.id->size());
  for (const RequestedOutput& output : request.outputs) {
    const TensorSpec& spec = specs[output.index];
    const TensorView& result = results[output.index];
    ModelInferResponse::InferOutputTensor* const tensor = response->add_outputs();
    tensor->set_name(spec.name);
    const std::string_view datatype = WireTypeName(result.dtype);
    tensor->set_datatype(datatype.data(), datatype.size());
    for (const Dim extent : result.shape.dims()) tensor->add_shape(extent);
    // One each, empty for a tensor in shared memory: clients count them.
    std::string* const raw = response->add_raw_output_contents();
    Status status = output.shared_memory.region == nullptr
                        ? AppendRawTensor(raw, result)
                        : output.shared_memory.WriteTensor(result).status();
    if (!status.ok()) {
      return status.WithContext("output " + Quoted(spec.name));
    }
  }
  return OkStatus();
}

}  // namespace

Status WriteInferAnswer(std::string_view model, std::string_view version,
                        const InferRequest& request, std::span<const TensorSpec> specs,
                        std::span<const TensorView> results, InferAnswerForm form,
                        std::string_view served_by, grpc::ByteBuffer* answer) {
  std::array<char, 2048> block;  // enough for most: no memory is taken from the heap
  google::protobuf::Arena arena(block.data(), block.size());
  if (form == InferAnswerForm::kUnary) {
    auto* const response = google::protobuf::Arena::CreateMessage<ModelInferResponse>(&arena);
    VERDICT_RETURN_IF_ERROR(Fill(model, version, request, specs, results, response));
    return WriteMessage(*response, answer);
  }
  auto* const message = google::protobuf::Arena::CreateMessage<ModelStreamInferResponse>(&arena);
  ModelInferResponse* const response = message->mutable_infer_response();
  VERDICT_RETURN_IF_ERROR(Fill(model, version, request, specs, results, response));
  if (!served_by.empty()) {
    (*response->mutable_parameters())["served_by"].set_string_param(served_by.data(),
                                                                    served_by.size());
  }
  if (form == InferAnswerForm::kStreamFinal) {
    (*response->mutable_parameters())["triton_final_response"].set_bool_param(true);
  }
  return WriteMessage(*message, answer);
}

void WriteInferError(const Status& status, std::string_view id, grpc::ByteBuffer* answer) {
  ModelStreamInferResponse message;
  message.set_error_message(status.message());
  message.mutable_infer_response()->set_id(id.data(), id.size());
  VERDICT_CHECK(WriteMessage(message, answer).ok());  // an error's text is short
}

}  // namespace verdict
