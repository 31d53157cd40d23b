#include "serve/endpoints/infer_request.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "serve/endpoints/json_error.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"
#include "serve/endpoints/tensor_json.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

/// Memory that a reader keeps between requests, per tensor.
constexpr size_t kKeepTensorBytes = size_t{1} << 20;
/// JSON text for which the parser keeps its memory, about 14 times as much.
constexpr size_t kKeepJsonBytes = size_t{256} << 10;

Status WrongType(const std::string& field, const char* wanted) {
  return InvalidArgument("field " + field + " must be " + wanted);
}

/// The "parameters" that have a meaning here; all others are passed over.
struct Parameters {
  std::optional<uint64_t> binary_data_size;
  std::optional<bool> binary_data;         // of an output
  std::optional<bool> binary_data_output;  // of the request
  SharedMemoryParameters shared_memory;
  uint32_t run_parameters = 0;  // a bit for each of kRunParameters that was there
};

/// The parameters of the request itself that say how it is run.
constexpr std::array<std::string_view, 5> kRunParameters = {"priority", "timeout", "sequence_id",
                                                            "sequence_start", "sequence_end"};

/// key: begins with "shared_memory_".
Status ReadSharedMemoryParameter(std::string_view key, const dom::element& value,
                                 const std::string& field, SharedMemoryParameters* out) {
  const std::string name = field + "." + std::string(key);
  if (key == "shared_memory_region") {
    if (out->region.has_value()) return InvalidArgument("field " + name + " is given twice");
    std::string_view region;
    if (value.get(region) != simdjson::SUCCESS) return WrongType(name, "a string");
    out->region = region;
  } else if (key == "shared_memory_byte_size" || key == "shared_memory_offset") {
    auto& number = key == "shared_memory_offset" ? out->offset : out->byte_size;
    if (number.has_value()) return InvalidArgument("field " + name + " is given twice");
    uint64_t bytes = 0;
    if (value.get(bytes) != simdjson::SUCCESS) {
      return WrongType(name, "a whole number that is not negative");
    }
    number = bytes;
  }
  return OkStatus();
}

/// key: one of kRunParameters.
Status ReadRunParameter(std::string_view key, const dom::element& value, const std::string& field,
                        InferRequest* request) {
  if (key == "priority" || key == "timeout") {
    uint64_t number = 0;
    if (value.get(number) != simdjson::SUCCESS) {
      return WrongType(field + "." + std::string(key), "a whole number that is not negative");
    }
    if (key == "priority") return ReadPriority(number, field, &request->priority);
    request->timeout_us = number;
  } else if (key == "sequence_id") {
    uint64_t number = 0;
    std::string_view text;
    if (value.get(number) == simdjson::SUCCESS) {
      request->sequence = number == 0 ? "" : std::to_string(number);
    } else if (value.get(text) == simdjson::SUCCESS) {
      return ReadSequenceId(text, field, &request->sequence);
    } else {
      return WrongType(field + ".sequence_id", "a string or a whole number that is not negative");
    }
  } else if (key == "sequence_start" || key == "sequence_end") {
    bool& flag = key == "sequence_start" ? request->sequence_start : request->sequence_end;
    if (value.get(flag) != simdjson::SUCCESS) {
      return WrongType(field + "." + std::string(key), "true or false");
    }
  }
  return OkStatus();
}

/// request: null where the parameters are those of a tensor.
Status ReadParameters(const dom::element& value, const std::string& field, Parameters* out,
                      InferRequest* request) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return WrongType(field, "an object");
  for (const dom::key_value_pair entry : object) {
    const std::string_view key = entry.key;
    const auto flag = [&](std::optional<bool>* flag_out) -> Status {
      bool flag_value = false;
      if (entry.value.get(flag_value) != simdjson::SUCCESS) {
        return WrongType(field + "." + std::string(key), "true or false");
      }
      *flag_out = flag_value;
      return OkStatus();
    };
    if ((key == "binary_data_size" && out->binary_data_size) ||
        (key == "binary_data" && out->binary_data) ||
        (key == "binary_data_output" && out->binary_data_output)) {
      return InvalidArgument("field " + field + "." + std::string(key) + " is given twice");
    }
    if (key == "binary_data_size") {
      uint64_t size = 0;
      if (entry.value.get(size) != simdjson::SUCCESS) {
        return WrongType(field + ".binary_data_size", "a whole number that is not negative");
      }
      out->binary_data_size = size;
    } else if (key == "binary_data") {
      VERDICT_RETURN_IF_ERROR(flag(&out->binary_data));
    } else if (key == "binary_data_output") {
      VERDICT_RETURN_IF_ERROR(flag(&out->binary_data_output));
    } else if (key.starts_with("shared_memory_")) {
      VERDICT_RETURN_IF_ERROR(
          ReadSharedMemoryParameter(key, entry.value, field, &out->shared_memory));
    } else if (key == "classification") {
      uint64_t classes = 0;
      if (entry.value.get(classes) != simdjson::SUCCESS || classes != 0) {
        return ClassificationNotOffered(field);
      }
    } else if (const auto* const run = std::ranges::find(kRunParameters, key);
               request != nullptr && run != kRunParameters.end()) {
      const uint32_t bit = uint32_t{1} << (run - kRunParameters.begin());
      if ((out->run_parameters & bit) != 0) {
        return InvalidArgument("field " + field + "." + std::string(key) + " is given twice");
      }
      out->run_parameters |= bit;
      VERDICT_RETURN_IF_ERROR(ReadRunParameter(key, entry.value, field, request));
    }
  }
  return OkStatus();
}

/// One element of "inputs" or "outputs" as the request has it, before it is checked.
struct TensorFields {
  std::optional<std::string_view> name, datatype;
  std::optional<dom::array> shape;
  std::optional<dom::element> data;
  Parameters parameters;
};

/// field: where it is, for example "inputs[0]".
Status ReadTensorFields(const dom::element& value, const std::string& field, TensorFields* out) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return WrongType(field, "an object");
  bool has_parameters = false;
  const auto twice = [&](std::string_view key) {
    return InvalidArgument("field " + field + "." + std::string(key) + " is given twice");
  };
  for (const dom::key_value_pair entry : object) {
    const std::string_view key = entry.key;
    if (key == "name" || key == "datatype") {
      auto& text = key == "name" ? out->name : out->datatype;
      std::string_view string;
      if (text.has_value()) return twice(key);
      if (entry.value.get(string) != simdjson::SUCCESS) {
        return WrongType(field + "." + std::string(key), "a string");
      }
      text = string;
    } else if (key == "shape") {
      dom::array array;
      if (out->shape.has_value()) return twice(key);
      if (entry.value.get(array) != simdjson::SUCCESS) {
        return WrongType(field + ".shape", "an array of whole numbers");
      }
      out->shape = array;
    } else if (key == "data") {
      if (out->data.has_value()) return twice(key);
      out->data = entry.value;
    } else if (key == "parameters") {
      if (std::exchange(has_parameters, true)) return twice(key);
      VERDICT_RETURN_IF_ERROR(
          ReadParameters(entry.value, field + ".parameters", &out->parameters, nullptr));
    }
  }
  if (!out->name.has_value()) return InvalidArgument("field " + field + ".name is missing");
  return OkStatus();
}

/// Reads "shape" and checks it against the model's.
Result<Shape> ReadShape(const dom::array& array, const TensorSpec& spec) {
  std::array<int64_t, Shape::kMaxRank + 1> extents;  // one more, which is then refused
  size_t count = 0;
  for (const dom::element value : array) {
    if (value.get(extents[count]) != simdjson::SUCCESS) {
      return InvalidArgument("shape: must be whole numbers");
    }
    if (++count == extents.size()) break;
  }
  return CheckShape({extents.data(), count}, spec);
}

Result<TensorView> ReadFromJson(const TensorSpec& spec, const Shape& shape,
                                const dom::element& data, size_t json_bytes, TensorBuffer* buffer) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t elements, NumElements(shape));
  // An element takes at least one byte of JSON: no memory is taken for a shape that only claims.
  if (static_cast<uint64_t>(elements) > json_bytes) {
    return InvalidArgument("data: fewer elements than the shape " + ToString(shape) + " needs");
  }
  VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, TensorMemory(spec.dtype, shape, buffer));
  const TensorView view{spec.dtype, shape, memory};
  if (Status status = ReadJsonTensor(data, view); !status.ok()) return status.WithContext("data");
  return view;
}

Result<TensorView> ReadFromSharedMemory(DataType dtype, const Shape& shape,
                                        const RegionRegistry* registry,
                                        const SharedMemoryParameters& parameters,
                                        TensorBuffer* tensor, TensorBuffer* strings) {
  VERDICT_ASSIGN_OR_RETURN(const SharedMemoryRange range, FindSharedMemory(registry, parameters));
  return ReadSharedMemoryTensor(dtype, shape, range, tensor, strings);
}

/// The request's top-level fields.
struct RequestFields {
  std::optional<std::string_view> id;
  std::optional<dom::array> inputs, outputs;
  Parameters parameters;
};

Status ReadRequestFields(const dom::element& root, RequestFields* out, InferRequest* request) {
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return InvalidArgument("the request must be a JSON object");
  }
  bool has_parameters = false;
  const auto twice = [](std::string_view key) {
    return InvalidArgument("field " + std::string(key) + " is given twice");
  };
  for (const dom::key_value_pair entry : object) {
    const std::string_view key = entry.key;
    if (key == "id") {
      std::string_view id;
      if (out->id.has_value()) return twice(key);
      if (entry.value.get(id) != simdjson::SUCCESS) return WrongType("id", "a string");
      out->id = id;
    } else if (key == "inputs" || key == "outputs") {
      auto& list = key == "inputs" ? out->inputs : out->outputs;
      dom::array array;
      if (list.has_value()) return twice(key);
      if (entry.value.get(array) != simdjson::SUCCESS) {
        return WrongType(std::string(key), "an array");
      }
      list = array;
    } else if (key == "parameters") {
      if (std::exchange(has_parameters, true)) return twice(key);
      VERDICT_RETURN_IF_ERROR(ReadParameters(entry.value, "parameters", &out->parameters, request));
    }
  }
  if (!out->inputs.has_value()) return InvalidArgument("field inputs is missing");
  return OkStatus();
}

/// Which outputs are wanted, and how; all where the request names none.
Status ReadOutputs(const RequestFields& fields, std::span<const TensorSpec> specs,
                   const RegionRegistry* registry, std::vector<RequestedOutput>* outputs) {
  const bool binary = fields.parameters.binary_data_output.value_or(false);
  outputs->clear();
  if (fields.outputs.has_value()) {
    size_t position = 0;
    for (const dom::element value : *fields.outputs) {
      const std::string field = "outputs[" + std::to_string(position++) + "]";
      TensorFields tensor;
      VERDICT_RETURN_IF_ERROR(ReadTensorFields(value, field, &tensor));
      VERDICT_RETURN_IF_ERROR(AddOutput(specs, *tensor.name, field,
                                        tensor.parameters.binary_data.value_or(binary), outputs));
      if (tensor.parameters.shared_memory.given()) {
        auto range = FindSharedMemory(registry, tensor.parameters.shared_memory);
        if (!range.ok()) return range.status().WithContext("output " + Quoted(*tensor.name));
        outputs->back().binary = false;
        outputs->back().shared_memory = *std::move(range);
      }
    }
  }
  if (outputs->empty()) AddAllOutputs(specs, binary, outputs);
  return OkStatus();
}

}  // namespace

void InferRequest::Clear() {
  id.reset();
  inputs.clear();
  outputs.clear();
  priority = 0;
  timeout_us = 0;
  sequence.clear();
  sequence_start = false;
  sequence_end = false;
}

struct InferRequestReader::Parser {
  dom::parser parser;
  size_t capacity = 0;

  /// Errors: kInvalidArgument for what is not JSON, kResourceExhausted.
  Status Parse(std::string_view json, dom::element* root) {
    VERDICT_RETURN_IF_ERROR(Reserve(json.size()));
    auto error = parser.parse(json.data(), json.size(), false).get(*root);
    if (error == simdjson::NUMBER_ERROR) {
      std::string text = WithWideIntegersAsFloats(json);
      if (const size_t size = text.size(); size > 0) {
        text.append(kJsonPadding, '\0');
        VERDICT_RETURN_IF_ERROR(Reserve(size));
        error = parser.parse(text.data(), size, false).get(*root);
      }
    }
    if (error == simdjson::SUCCESS) return OkStatus();
    if (error == simdjson::MEMALLOC) return ResourceExhausted("no memory for the request");
    return InvalidArgument("the request is not JSON: " +
                           DescribeJsonError(json, kMaxJsonDepth, simdjson::error_message(error)));
  }

  /// For a text of so many bytes. Errors: kResourceExhausted.
  Status Reserve(size_t bytes) {
    if (bytes <= capacity) return OkStatus();
    const size_t wanted = std::max<size_t>(bytes, 4096);
    if (parser.allocate(wanted, kMaxJsonDepth) != simdjson::SUCCESS) {
      Release();
      return ResourceExhausted("no memory for a request of " + std::to_string(bytes) + " bytes");
    }
    capacity = wanted;
    return OkStatus();
  }

  void Release() {
    parser = dom::parser();
    capacity = 0;
  }
};

InferRequestReader::InferRequestReader() : parser_(std::make_unique<Parser>()) {}
InferRequestReader::~InferRequestReader() = default;

void InferRequestReader::HandOnParser(InferRequestReader* next, InferRequest* request) {
  const auto each_string = [&](const auto& visit) {
    if (request->id.has_value()) visit(&*request->id);
    for (const size_t index : json_strings_) {
      for (std::string_view& text : request->inputs[index].as<std::string_view>()) visit(&text);
    }
  };
  size_t bytes = 0;
  each_string([&](const std::string_view* text) { bytes += text->size(); });
  kept_strings_.clear();
  kept_strings_.reserve(bytes);  // it stays where it is
  each_string([&](std::string_view* text) {
    const char* const place = kept_strings_.data() + kept_strings_.size();
    kept_strings_.append(*text);
    *text = {place, text->size()};
  });
  json_strings_.clear();
  std::swap(parser_, next->parser_);
}

size_t InferRequestReader::held_bytes() const {
  size_t bytes = kept_strings_.size();
  for (const TensorBuffer& buffer : buffers_) bytes += buffer.used();
  for (const TensorBuffer& buffer : string_buffers_) bytes += buffer.used();
  return bytes;
}

void InferRequestReader::Shrink() {
  kept_strings_.clear();
  if (kept_strings_.capacity() > kKeepTensorBytes) kept_strings_.shrink_to_fit();
  if (parser_->capacity > kKeepJsonBytes) parser_->Release();
  for (TensorBuffer& buffer : buffers_) buffer.ShrinkTo(kKeepTensorBytes);
  for (TensorBuffer& buffer : string_buffers_) buffer.ShrinkTo(kKeepTensorBytes);
}

Status InferRequestReader::Read(std::string_view json, std::span<const std::byte> binary,
                                std::span<const TensorSpec> inputs,
                                std::span<const TensorSpec> outputs, InferRequest* request,
                                Others others) {
  if (json.empty()) return InvalidArgument("the request has no JSON text");
  dom::element root;
  VERDICT_RETURN_IF_ERROR(parser_->Parse(json, &root));
  RequestFields fields;
  request->Clear();
  VERDICT_RETURN_IF_ERROR(ReadRequestFields(root, &fields, request));
  request->id = fields.id;
  request->inputs.assign(inputs.size(), TensorView{});
  if (buffers_.size() < inputs.size()) buffers_.resize(inputs.size());
  json_strings_.clear();

  size_t position = 0;
  size_t used = 0;  // bytes of `binary`
  for (const dom::element value : *fields.inputs) {
    const std::string field = "inputs[" + std::to_string(position++) + "]";
    TensorFields tensor;
    VERDICT_RETURN_IF_ERROR(ReadTensorFields(value, field, &tensor));
    if (others == Others::kPassOver && !HasSpec(inputs, *tensor.name)) {
      const uint64_t size = tensor.parameters.binary_data_size.value_or(0);
      if (size > binary.size() - used) {
        return InvalidArgument("field " + field + ".parameters.binary_data_size is " +
                               std::to_string(size) + ", only " +
                               std::to_string(binary.size() - used) +
                               " bytes are left after the JSON text");
      }
      used += size;
      continue;
    }
    VERDICT_ASSIGN_OR_RETURN(const size_t index,
                             ChooseInput(inputs, *tensor.name, field, request->inputs));
    const TensorSpec& spec = inputs[index];
    const std::string context = InputContext(spec);
    if (!tensor.datatype.has_value()) return InvalidArgument(context + ": datatype is missing");
    if (Status datatype = CheckDatatype(spec, *tensor.datatype); !datatype.ok()) {
      return datatype.WithContext(context);
    }
    if (!tensor.shape.has_value()) return InvalidArgument(context + ": shape is missing");
    const auto shape = ReadShape(*tensor.shape, spec);
    if (!shape.ok()) return shape.status().WithContext(context);

    const std::optional<uint64_t> raw = tensor.parameters.binary_data_size;
    if (tensor.parameters.shared_memory.given()) {
      if (raw.has_value() || tensor.data.has_value()) {
        return InvalidArgument(context + ": has both data and a shared memory region");
      }
      if (string_buffers_.size() < inputs.size()) string_buffers_.resize(inputs.size());
      auto view =
          ReadFromSharedMemory(spec.dtype, *shape, registry_, tensor.parameters.shared_memory,
                               &buffers_[index], &string_buffers_[index]);
      if (!view.ok()) return view.status().WithContext(context);
      request->inputs[index] = *view;
      continue;
    }
    if (raw.has_value() == tensor.data.has_value()) {
      return InvalidArgument(context + (raw.has_value()
                                            ? ": has both data and binary_data_size"
                                            : ": data is missing (or binary_data_size, or a "
                                              "shared memory region)"));
    }
    if (raw.has_value() && *raw > binary.size() - used) {
      return InvalidArgument(context + ": binary_data_size is " + std::to_string(*raw) + ", only " +
                             std::to_string(binary.size() - used) +
                             " bytes are left after the JSON text");
    }
    TensorBuffer* const buffer = &buffers_[index];
    const auto view = raw.has_value()
                          ? ReadRawTensor(spec.dtype, *shape, binary.subspan(used, *raw),
                                          "binary_data_size", buffer)
                          : ReadFromJson(spec, *shape, *tensor.data, json.size(), buffer);
    if (!view.ok()) return view.status().WithContext(context);
    if (raw.has_value()) {
      used += *raw;
    } else if (spec.dtype == DataType::kString) {
      json_strings_.push_back(index);
    }
    request->inputs[index] = *view;
  }
  VERDICT_RETURN_IF_ERROR(CheckComplete(inputs, request->inputs));
  if (used != binary.size()) {
    return InvalidArgument(std::to_string(binary.size() - used) +
                           " bytes after the JSON text belong to no input: binary_data_size is "
                           "missing or too small");
  }
  return ReadOutputs(fields, outputs, registry_, &request->outputs);
}

}  // namespace verdict
