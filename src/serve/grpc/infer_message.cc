#include "serve/grpc/infer_message.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

using google::protobuf::Map;
using google::protobuf::RepeatedField;
using inference::InferParameter;
using inference::InferTensorContents;
using InputTensor = inference::ModelInferRequest::InferInputTensor;
using Parameters = Map<std::string, InferParameter>;

std::string FieldOf(const char* list, int position) {
  return std::string(list) + "[" + std::to_string(position) + "]";
}

/// A whole number that is not negative, whichever type carries it.
std::optional<uint64_t> WholeNumber(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kInt64Param:
      if (parameter.int64_param() < 0) return std::nullopt;
      return static_cast<uint64_t>(parameter.int64_param());
    case InferParameter::kUint64Param:
      return parameter.uint64_param();
    default:
      return std::nullopt;
  }
}

/// field: whose parameter it is, "inputs[0]"; empty: the request's.
Status WrongType(const std::string& field, const std::string& key, const char* wanted) {
  return InvalidArgument("field " + (field.empty() ? field : field + ".") + "parameters." + key +
                         " must be " + wanted);
}

/// The parameters of the request that say how it is run; others are passed over.
Status ReadRunParameters(const Parameters& parameters, InferRequest* request) {
  for (const auto& [key, value] : parameters) {
    const std::optional<uint64_t> number = WholeNumber(value);
    if (key == "priority" || key == "timeout") {
      if (!number.has_value()) return WrongType("", key, "a whole number that is not negative");
      if (key == "priority") {
        VERDICT_RETURN_IF_ERROR(ReadPriority(*number, "parameters", &request->priority));
      } else {
        request->timeout_us = *number;
      }
    } else if (key == "sequence_id") {
      if (number.has_value()) {
        request->sequence = *number == 0 ? "" : std::to_string(*number);
      } else if (value.parameter_choice_case() == InferParameter::kStringParam) {
        VERDICT_RETURN_IF_ERROR(
            ReadSequenceId(value.string_param(), "parameters", &request->sequence));
      } else {
        return WrongType("", key, "a string or a whole number that is not negative");
      }
    } else if (key == "sequence_start" || key == "sequence_end") {
      if (value.parameter_choice_case() != InferParameter::kBoolParam) {
        return WrongType("", key, "true or false");
      }
      (key == "sequence_start" ? request->sequence_start : request->sequence_end) =
          value.bool_param();
    }
  }
  return OkStatus();
}

bool IsSharedMemoryKey(std::string_view key) {
  return key == "shared_memory_region" || key == "shared_memory_byte_size" ||
         key == "shared_memory_offset";
}

/// Reads where a tensor is in shared memory, if it is; refuses what nobody offers.
Status ReadTensorParameters(const Parameters& parameters, const std::string& field,
                            SharedMemoryParameters* shared_memory) {
  for (const auto& [key, value] : parameters) {
    if (key == "shared_memory_region") {
      if (value.parameter_choice_case() != InferParameter::kStringParam) {
        return WrongType(field, key, "a string");
      }
      shared_memory->region = value.string_param();
    } else if (key == "shared_memory_byte_size" || key == "shared_memory_offset") {
      auto& number =
          key == "shared_memory_offset" ? shared_memory->offset : shared_memory->byte_size;
      number = WholeNumber(value);
      if (!number.has_value()) {
        return WrongType(field, key, "a whole number that is not negative");
      }
    } else if (key == "classification" && WholeNumber(value).value_or(1) != 0) {
      return ClassificationNotOffered(field + ".parameters");
    }
  }
  return OkStatus();
}

/// Raw contents are those of the inputs that are not in shared memory, in their order.
Status CheckRawCount(const inference::ModelInferRequest& message) {
  const int raw = message.raw_input_contents_size();
  if (raw == 0) return OkStatus();
  const auto here = std::ranges::count_if(message.inputs(), [](const InputTensor& tensor) {
    return std::ranges::none_of(tensor.parameters(), [](const auto& parameter) {
      return IsSharedMemoryKey(parameter.first);
    });
  });
  if (raw == here) return OkStatus();
  return InvalidArgument("raw_input_contents has " + std::to_string(raw) + " tensors, inputs has " +
                         std::to_string(here) + ": all inputs go this way, or none");
}

/// The field of InferTensorContents for a type; null for types that only travel as raw bytes.
const char* ContentsField(DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return "bool_contents";
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
      return "int_contents";
    case DataType::kInt64:
      return "int64_contents";
    case DataType::kUInt8:
    case DataType::kUInt16:
    case DataType::kUInt32:
      return "uint_contents";
    case DataType::kUInt64:
      return "uint64_contents";
    case DataType::kFloat32:
      return "fp32_contents";
    case DataType::kFloat64:
      return "fp64_contents";
    case DataType::kString:
      return "bytes_contents";
    case DataType::kFloat16:
    case DataType::kBFloat16:
    case DataType::kUndefined:
      return nullptr;
  }
  return nullptr;
}

/// Elements in all fields together.
int64_t CountOf(const InferTensorContents& contents) {
  return int64_t{contents.bool_contents_size()} + contents.int_contents_size() +
         contents.int64_contents_size() + contents.uint_contents_size() +
         contents.uint64_contents_size() + contents.fp32_contents_size() +
         contents.fp64_contents_size() + contents.bytes_contents_size();
}

/// The elements of one field as a tensor: in place where the field's type is the tensor's.
class ContentsReader {
 public:
  ContentsReader(const InferTensorContents& contents, const TensorSpec& spec, const Shape& shape,
                 TensorBuffer* buffer)
      : contents_(contents), dtype_(spec.dtype), shape_(shape), buffer_(buffer) {}

  Result<TensorView> Read() const {
    switch (dtype_) {
      case DataType::kBool:
        return InPlace(contents_.bool_contents());
      case DataType::kInt8:
        return Narrowed<int8_t>(contents_.int_contents());
      case DataType::kInt16:
        return Narrowed<int16_t>(contents_.int_contents());
      case DataType::kInt32:
        return InPlace(contents_.int_contents());
      case DataType::kInt64:
        return InPlace(contents_.int64_contents());
      case DataType::kUInt8:
        return Narrowed<uint8_t>(contents_.uint_contents());
      case DataType::kUInt16:
        return Narrowed<uint16_t>(contents_.uint_contents());
      case DataType::kUInt32:
        return InPlace(contents_.uint_contents());
      case DataType::kUInt64:
        return InPlace(contents_.uint64_contents());
      case DataType::kFloat32:
        return InPlace(contents_.fp32_contents());
      case DataType::kFloat64:
        return InPlace(contents_.fp64_contents());
      case DataType::kString:
        return Strings();
      case DataType::kFloat16:
      case DataType::kBFloat16:
      case DataType::kUndefined:
        break;
    }
    return InvalidArgument("contents: " + std::string(WireTypeName(dtype_)) +
                           " has no typed contents; send the tensor in raw_input_contents");
  }

 private:
  /// Errors: not as many as the shape needs, or some in another field.
  Status CheckCount(int count) const {
    if (CountOf(contents_) != count) {
      return InvalidArgument("contents: elements of " + std::string(WireTypeName(dtype_)) +
                             " belong in " + ContentsField(dtype_) + ", others are not empty");
    }
    VERDICT_ASSIGN_OR_RETURN(const int64_t wanted, NumElements(shape_));
    if (count == wanted) return OkStatus();
    return InvalidArgument("contents: has " + std::to_string(count) + " elements, the shape " +
                           ToString(shape_) + " needs " + std::to_string(wanted));
  }

  template <typename T>
  Result<TensorView> InPlace(const RepeatedField<T>& field) const {
    VERDICT_RETURN_IF_ERROR(CheckCount(field.size()));
    if (field.empty()) return Memory();
    return TensorView{dtype_, shape_, const_cast<T*>(field.data())};
  }

  template <typename To, typename From>
  Result<TensorView> Narrowed(const RepeatedField<From>& field) const {
    VERDICT_RETURN_IF_ERROR(CheckCount(field.size()));
    VERDICT_ASSIGN_OR_RETURN(const TensorView view, Memory());
    const std::span<To> elements = view.as<To>();
    for (int i = 0; i < field.size(); ++i) {
      if (!std::in_range<To>(field[i])) {
        return InvalidArgument("contents: element " + std::to_string(i) +
                               " is out of the range of " + std::string(WireTypeName(dtype_)));
      }
      elements[static_cast<size_t>(i)] = static_cast<To>(field[i]);
    }
    return view;
  }

  Result<TensorView> Strings() const {
    const auto& field = contents_.bytes_contents();
    VERDICT_RETURN_IF_ERROR(CheckCount(field.size()));
    VERDICT_ASSIGN_OR_RETURN(const TensorView view, Memory());
    std::copy(field.begin(), field.end(), view.as<std::string_view>().begin());
    return view;
  }

  Result<TensorView> Memory() const {
    VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, TensorMemory(dtype_, shape_, buffer_));
    return TensorView{dtype_, shape_, memory};
  }

  const InferTensorContents& contents_;
  DataType dtype_;
  const Shape& shape_;
  TensorBuffer* buffer_;
};

/// Where an input's bytes are, and the memory for those that cannot be used where they are.
struct InputSource {
  const std::string* raw;  // null: not in raw contents
  const SharedMemoryParameters& shared_memory;
  const SharedMemorySource& memory;
  TensorBuffer* buffer;
  TensorBuffer* strings;  // only where it is in shared memory
};

Result<TensorView> ReadFromSharedMemory(DataType dtype, const Shape& shape,
                                        const InputSource& source) {
  VERDICT_ASSIGN_OR_RETURN(const SharedMemoryRange range,
                           FindSharedMemory(source.memory.registry, source.shared_memory));
  // An element of a BYTES tensor takes at least 4 bytes there, and a string_view here.
  constexpr uint64_t kViews = sizeof(std::string_view) / 4;
  const uint64_t bytes = range.byte_size * (dtype == DataType::kString ? 1 + kViews : 1);
  if (source.memory.share != nullptr && !source.memory.share->Take(bytes)) {
    return ResourceExhausted("too many requests are held at this moment; try again later");
  }
  return ReadSharedMemoryTensor(dtype, shape, range, source.buffer, source.strings);
}

Result<TensorView> ReadTensor(const InputTensor& tensor, const TensorSpec& spec,
                              const InputSource& source) {
  if (tensor.datatype().empty()) return InvalidArgument("datatype is missing");
  VERDICT_RETURN_IF_ERROR(CheckDatatype(spec, tensor.datatype()));
  VERDICT_ASSIGN_OR_RETURN(
      const Shape shape,
      CheckShape({tensor.shape().data(), static_cast<size_t>(tensor.shape().size())}, spec));
  if (source.shared_memory.given()) {
    if (CountOf(tensor.contents()) > 0) {
      return InvalidArgument("has both data and a shared memory region");
    }
    return ReadFromSharedMemory(spec.dtype, shape, source);
  }
  if (source.raw == nullptr) {
    return ContentsReader(tensor.contents(), spec, shape, source.buffer).Read();
  }
  if (CountOf(tensor.contents()) > 0) {
    return InvalidArgument("has both contents and raw_input_contents");
  }
  return ReadRawTensor(spec.dtype, shape, std::as_bytes(std::span(*source.raw)),
                       "the size of its raw_input_contents", source.buffer);
}

}  // namespace

Status ReadInferMessage(const inference::ModelInferRequest& message,
                        std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs,
                        const SharedMemorySource& memory, std::vector<TensorBuffer>* buffers,
                        InferRequest* request, bool pass_over_others) {
  request->Clear();
  if (!message.id().empty()) request->id = message.id();
  VERDICT_RETURN_IF_ERROR(ReadRunParameters(message.parameters(), request));
  request->inputs.assign(inputs.size(), TensorView{});
  if (buffers->size() < inputs.size()) buffers->resize(inputs.size());

  VERDICT_RETURN_IF_ERROR(CheckRawCount(message));
  int raw_used = 0;
  for (int i = 0; i < message.inputs_size(); ++i) {
    const InputTensor& tensor = message.inputs(i);
    const std::string field = FieldOf("inputs", i);
    SharedMemoryParameters shared_memory;
    if (!tensor.parameters().empty()) {
      VERDICT_RETURN_IF_ERROR(ReadTensorParameters(tensor.parameters(), field, &shared_memory));
    }
    if (pass_over_others && !HasSpec(inputs, tensor.name())) {
      if (!shared_memory.given() && message.raw_input_contents_size() > 0) ++raw_used;
      continue;
    }
    VERDICT_ASSIGN_OR_RETURN(const size_t index,
                             ChooseInput(inputs, tensor.name(), field, request->inputs));
    const std::string* raw = nullptr;
    TensorBuffer* strings = nullptr;
    if (shared_memory.given()) {
      if (buffers->size() < 2 * inputs.size()) buffers->resize(2 * inputs.size());
      strings = &(*buffers)[inputs.size() + index];
    } else if (message.raw_input_contents_size() > 0) {
      raw = &message.raw_input_contents(raw_used++);
    }
    const auto view = ReadTensor(tensor, inputs[index],
                                 {raw, shared_memory, memory, &(*buffers)[index], strings});
    if (!view.ok()) return view.status().WithContext(InputContext(inputs[index]));
    request->inputs[index] = *view;
  }
  VERDICT_RETURN_IF_ERROR(CheckComplete(inputs, request->inputs));

  for (int i = 0; i < message.outputs_size(); ++i) {
    const auto& output = message.outputs(i);
    const std::string field = FieldOf("outputs", i);
    SharedMemoryParameters shared_memory;
    VERDICT_RETURN_IF_ERROR(ReadTensorParameters(output.parameters(), field, &shared_memory));
    VERDICT_RETURN_IF_ERROR(AddOutput(outputs, output.name(), field, true, &request->outputs));
    if (shared_memory.given()) {
      auto range = FindSharedMemory(memory.registry, shared_memory);
      if (!range.ok()) return range.status().WithContext("output " + Quoted(output.name()));
      request->outputs.back().shared_memory = *std::move(range);
    }
  }
  if (request->outputs.empty()) AddAllOutputs(outputs, true, &request->outputs);
  return OkStatus();
}

}  // namespace verdict
