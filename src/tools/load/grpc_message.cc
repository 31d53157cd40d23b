#include "tools/load/grpc_message.h"

#include "inference.pb.h"
#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"

namespace verdict::load {

Result<std::string> GrpcInferRequest(const RequestInputs& inputs,
                                     const GrpcRequestOptions& options) {
  inference::ModelInferRequest request;
  request.set_model_name(options.model);
  request.set_model_version(options.version);
  auto& parameters = *request.mutable_parameters();
  if (options.priority > 0) parameters["priority"].set_uint64_param(options.priority);
  for (const auto& [name, tensor] : inputs) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype(std::string(WireTypeName(tensor.dtype)));
    for (const Dim dim : tensor.shape.dims()) input.add_shape(dim);
    VERDICT_RETURN_IF_ERROR(AppendRawTensor(request.add_raw_input_contents(), tensor.view()));
  }
  return request.SerializeAsString();
}

std::string GrpcTimeoutParameter(int64_t timeout_us) {
  inference::ModelInferRequest request;
  (*request.mutable_parameters())["timeout"].set_int64_param(timeout_us);
  return request.SerializeAsString();
}

std::string GrpcMetadataRequest(const std::string& model, const std::string& version) {
  inference::ModelMetadataRequest request;
  request.set_name(model);
  request.set_version(version);
  return request.SerializeAsString();
}

Result<std::vector<InputSpec>> ParseGrpcMetadata(std::string_view bytes) {
  inference::ModelMetadataResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument("the model's metadata are no ModelMetadataResponse");
  }
  std::vector<InputSpec> specs;
  for (const auto& input : response.inputs()) {
    InputSpec spec{.name = input.name(),
                   .dtype = DataTypeFromWireName(input.datatype()),
                   .shape = {input.shape().begin(), input.shape().end()}};
    const bool valid = spec.shape.size() <= Shape::kMaxRank &&
                       std::ranges::all_of(spec.shape, [](int64_t dim) { return dim >= -1; });
    if (spec.dtype == DataType::kUndefined || !valid) {
      return InvalidArgument("the model's metadata: input " + Quoted(spec.name) +
                             ": an unknown datatype " + Quoted(input.datatype()) +
                             " or a shape that is none");
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::string GrpcStreamError(std::string_view bytes) {
  // The error is the first field, and fields are written in order: the rest is not looked at.
  constexpr char kErrorTag = 1 << 3 | 2;
  if (bytes.empty() || bytes.front() != kErrorTag) return {};
  inference::ModelStreamInferResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return "not a ModelStreamInferResponse";
  }
  return response.error_message();
}

}  // namespace verdict::load
