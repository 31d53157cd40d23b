#include "serve/endpoints/infer_response.h"

#include <simdjson.h>

#include <cmath>
#include <type_traits>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"

namespace verdict {
namespace {

/// The client's to mend, who chose the form.
Status NotInJson(const std::string& what) {
  return InvalidArgument(what +
                         ", which JSON cannot carry; ask for this output with \"parameters\": "
                         "{\"binary_data\": true}");
}

Status NotInJson(size_t element, const char* what) {
  return NotInJson("element " + std::to_string(element) + " is " + what);
}

template <typename T>
Status AppendElements(std::string* out, const TensorView& tensor) {
  const std::span<const T> elements = tensor.as<const T>();
  for (size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) out->push_back(',');
    const T value = elements[i];
    if constexpr (std::is_same_v<T, bool>) {
      out->append(value ? "true" : "false");
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) {
        return NotInJson(i, std::isnan(value) ? "NaN" : "infinite");
      }
      AppendJsonNumber(out, value);
    } else if constexpr (std::is_same_v<T, std::string_view>) {
      if (!simdjson::validate_utf8(value)) return NotInJson(i, "not UTF-8 text");
      AppendJsonString(out, value);
    } else if constexpr (std::is_signed_v<T>) {
      AppendJsonInteger(out, int64_t{value});
    } else {
      AppendJsonInteger(out, uint64_t{value});
    }
  }
  return OkStatus();
}

Status AppendData(std::string* out, const TensorView& tensor) {
  switch (tensor.dtype) {
    case DataType::kFloat32:
      return AppendElements<float>(out, tensor);
    case DataType::kFloat64:
      return AppendElements<double>(out, tensor);
    case DataType::kInt8:
      return AppendElements<int8_t>(out, tensor);
    case DataType::kInt16:
      return AppendElements<int16_t>(out, tensor);
    case DataType::kInt32:
      return AppendElements<int32_t>(out, tensor);
    case DataType::kInt64:
      return AppendElements<int64_t>(out, tensor);
    case DataType::kUInt8:
      return AppendElements<uint8_t>(out, tensor);
    case DataType::kUInt16:
      return AppendElements<uint16_t>(out, tensor);
    case DataType::kUInt32:
      return AppendElements<uint32_t>(out, tensor);
    case DataType::kUInt64:
      return AppendElements<uint64_t>(out, tensor);
    case DataType::kBool:
      return AppendElements<bool>(out, tensor);
    case DataType::kString:
      return AppendElements<std::string_view>(out, tensor);
    case DataType::kFloat16:
    case DataType::kBFloat16:
    case DataType::kUndefined:
      break;
  }
  return NotInJson("is " + std::string(WireTypeName(tensor.dtype)));
}

Result<size_t> RawBytes(const TensorView& tensor) {
  if (IsFixedSize(tensor.dtype)) return ByteSize(tensor.dtype, tensor.shape);
  size_t bytes = 0;
  for (const std::string_view element : tensor.as<std::string_view>()) bytes += 4 + element.size();
  return bytes;
}

Status AppendOutput(std::string* out, const TensorView& tensor, const RequestedOutput& output) {
  out->append("\"datatype\":\"");
  out->append(WireTypeName(tensor.dtype));
  out->append("\",\"shape\":");
  AppendJsonShape(out, tensor.shape.dims());
  if (output.shared_memory.region != nullptr) {
    // Without "parameters", as Triton has it: its C++ client takes any for those of a raw tensor.
    return output.shared_memory.WriteTensor(tensor).status();
  }
  if (output.binary) {
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, RawBytes(tensor));
    out->append(",\"parameters\":{\"binary_data_size\":");
    AppendJsonInteger(out, uint64_t{bytes});
    out->push_back('}');
    return OkStatus();
  }
  out->append(",\"data\":[");
  VERDICT_RETURN_IF_ERROR(AppendData(out, tensor));
  out->push_back(']');
  return OkStatus();
}

}  // namespace

Status AppendJsonElements(std::string* out, const TensorView& tensor) {
  return AppendData(out, tensor);
}

Status WriteInferResponse(std::string_view model, std::string_view version,
                          const InferRequest& request, std::span<const TensorSpec> specs,
                          std::span<const TensorView> results, std::string* body,
                          std::optional<size_t>* json_bytes) {
  const size_t start = body->size();
  body->append("{\"model_name\":");
  AppendJsonString(body, model);
  body->append(",\"model_version\":");
  AppendJsonString(body, version);
  if (request.id.has_value()) {
    body->append(",\"id\":");
    AppendJsonString(body, *request.id);
  }
  body->append(",\"outputs\":[");
  bool any_binary = false;
  bool first = true;
  for (const RequestedOutput& output : request.outputs) {
    body->append(first ? "{\"name\":" : ",{\"name\":");
    first = false;
    AppendJsonString(body, specs[output.index].name);
    body->push_back(',');
    if (Status status = AppendOutput(body, results[output.index], output); !status.ok()) {
      return status.WithContext("output " + Quoted(specs[output.index].name));
    }
    body->push_back('}');
    any_binary = any_binary || output.binary;
  }
  body->append("]}");
  json_bytes->reset();
  if (!any_binary) return OkStatus();
  *json_bytes = body->size() - start;
  for (const RequestedOutput& output : request.outputs) {
    if (!output.binary) continue;
    if (Status status = AppendRawTensor(body, results[output.index]); !status.ok()) {
      return status.WithContext("output " + Quoted(specs[output.index].name));
    }
  }
  return OkStatus();
}

}  // namespace verdict
