#include "serve/endpoints/infer_request.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include "base/checked_math.h"
#include "serve/endpoints/datatype.h"
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
};

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

Status ReadParameters(const dom::element& value, const std::string& field, Parameters* out) {
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
        return Unimplemented("field " + field +
                             ".classification: the classification extension is not offered; sort "
                             "the returned scores instead");
      }
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
      VERDICT_RETURN_IF_ERROR(ReadParameters(entry.value, field + ".parameters", &out->parameters));
    }
  }
  if (!out->name.has_value()) return InvalidArgument("field " + field + ".name is missing");
  return OkStatus();
}

template <typename Specs>
std::optional<size_t> FindSpec(const Specs& specs, std::string_view name) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return i;
  }
  return std::nullopt;
}

std::string NamesOf(std::span<const TensorSpec> specs) {
  constexpr size_t kMaxNames = 20;
  std::string names;
  for (size_t i = 0; i < specs.size() && i < kMaxNames; ++i) {
    names += (i == 0 ? "" : ", ") + Quoted(specs[i].name);
  }
  return specs.size() > kMaxNames ? names + ", …" : names;
}

/// Reads "shape" and checks it against the model's.
Status ReadShape(const dom::array& array, const TensorSpec& spec, Shape* shape) {
  for (const dom::element value : array) {
    int64_t dim = 0;
    if (value.get(dim) != simdjson::SUCCESS) {
      return InvalidArgument("shape: must be whole numbers");
    }
    if (dim < 0) {
      return InvalidArgument("shape: the extent " + std::to_string(dim) + " is negative");
    }
    if (shape->rank() == Shape::kMaxRank) {
      return InvalidArgument("shape: more than " + std::to_string(Shape::kMaxRank) + " extents");
    }
    shape->push_back(dim);
  }
  std::string wanted;
  AppendJsonShape(&wanted, spec.shape.dims());
  bool fits = shape->rank() == spec.shape.rank();
  for (int axis = 0; fits && axis < shape->rank(); ++axis) {
    fits = spec.shape[axis] < 0 || spec.shape[axis] == (*shape)[axis];
  }
  if (!fits) {
    return InvalidArgument("shape: " + ToString(*shape) + " does not fit the model's " + wanted +
                           " (-1 may be any extent)");
  }
  return ByteSize(spec.dtype, *shape).ok()
             ? OkStatus()
             : InvalidArgument("shape: " + ToString(*shape) + " has more elements than memory");
}

/// What both forms of one input need.
struct InputSource {
  const TensorSpec& spec;
  Shape shape;
  size_t elements = 0;
  TensorBuffer* buffer;

  Result<std::byte*> Memory() const {
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(spec.dtype, shape));
    std::byte* memory = buffer->Reserve(bytes);
    if (memory == nullptr) {
      return ResourceExhausted("no memory for " + std::to_string(bytes) + " bytes");
    }
    return memory;
  }
};

Result<TensorView> ReadFromJson(const InputSource& source, const dom::element& data,
                                size_t json_bytes) {
  // An element takes at least one byte of JSON: no memory is taken for a shape that only claims.
  if (source.elements > json_bytes) {
    return InvalidArgument("data: fewer elements than the shape " + ToString(source.shape) +
                           " needs");
  }
  VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, source.Memory());
  const TensorView view{source.spec.dtype, source.shape, memory};
  if (Status status = ReadJsonTensor(data, view); !status.ok()) return status.WithContext("data");
  return view;
}

Result<TensorView> ReadFromBinary(const InputSource& source, std::span<const std::byte> bytes) {
  const DataType dtype = source.spec.dtype;
  if (!IsFixedSize(dtype)) {
    // An element takes at least its length's 4 bytes.
    if (source.elements > bytes.size() / 4) {
      return InvalidArgument("binary_data_size is " + std::to_string(bytes.size()) +
                             ", too little for the shape " + ToString(source.shape));
    }
    VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, source.Memory());
    const TensorView view{dtype, source.shape, memory};
    VERDICT_RETURN_IF_ERROR(ReadRawStrings(bytes, view.as<std::string_view>()));
    return view;
  }
  VERDICT_RETURN_IF_ERROR(CheckRawTensor(bytes, dtype, source.shape));
  const bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % ElementSize(dtype) == 0;
  if (aligned) {
    return TensorView{dtype, source.shape, const_cast<std::byte*>(bytes.data())};
  }
  VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, source.Memory());
  std::copy(bytes.begin(), bytes.end(), memory);
  return TensorView{dtype, source.shape, memory};
}

/// strings: memory for the bytes that the views of a BYTES tensor point into.
Result<TensorView> ReadFromSharedMemory(const InputSource& source, const RegionRegistry* registry,
                                        const SharedMemoryParameters& parameters,
                                        TensorBuffer* strings) {
  VERDICT_ASSIGN_OR_RETURN(const SharedMemoryRange range, FindSharedMemory(registry, parameters));
  const DataType dtype = source.spec.dtype;
  TensorBuffer* buffer = strings;
  if (IsFixedSize(dtype)) {
    VERDICT_ASSIGN_OR_RETURN(const size_t needed, ByteSize(dtype, source.shape));
    if (range.byte_size != needed) {
      return InvalidArgument("shared_memory_byte_size is " + std::to_string(range.byte_size) +
                             ", the datatype and the shape " + ToString(source.shape) + " need " +
                             std::to_string(needed) + " bytes");
    }
    buffer = source.buffer;
  }
  // The owner may go on writing: what is checked, and then used, is a copy.
  std::byte* const memory = buffer->Reserve(range.byte_size);
  if (memory == nullptr) {
    return ResourceExhausted("no memory for " + std::to_string(range.byte_size) + " bytes");
  }
  const std::span<std::byte> bytes(memory, range.byte_size);
  VERDICT_RETURN_IF_ERROR(range.Read(bytes));
  return ReadFromBinary(source, bytes);
}

/// The request's top-level fields.
struct RequestFields {
  std::optional<std::string_view> id;
  std::optional<dom::array> inputs, outputs;
  Parameters parameters;
};

Status ReadRequestFields(const dom::element& root, RequestFields* out) {
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
      VERDICT_RETURN_IF_ERROR(ReadParameters(entry.value, "parameters", &out->parameters));
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
      const std::optional<size_t> index = FindSpec(specs, *tensor.name);
      if (!index.has_value()) {
        return InvalidArgument("field " + field + ": the model has no output " +
                               Quoted(*tensor.name) + "; it has " + NamesOf(specs));
      }
      for (const RequestedOutput& other : *outputs) {
        if (other.index == *index) {
          return InvalidArgument("field " + field + ": output " + Quoted(*tensor.name) +
                                 " is asked for twice");
        }
      }
      outputs->push_back({*index, tensor.parameters.binary_data.value_or(binary), {}});
      if (tensor.parameters.shared_memory.given()) {
        auto range = FindSharedMemory(registry, tensor.parameters.shared_memory);
        if (!range.ok()) return range.status().WithContext("output " + Quoted(*tensor.name));
        outputs->back().binary = false;
        outputs->back().shared_memory = *std::move(range);
      }
    }
  }
  if (outputs->empty()) {
    for (size_t i = 0; i < specs.size(); ++i) outputs->push_back({i, binary, {}});
  }
  return OkStatus();
}

}  // namespace

void TensorBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

std::byte* TensorBuffer::Reserve(size_t bytes) {
  constexpr size_t kAlignment = 64;
  if (bytes > SIZE_MAX - kAlignment) return nullptr;
  if (memory_ == nullptr || bytes > capacity_) {
    const size_t capacity = AlignUp(bytes == 0 ? 1 : bytes, kAlignment);
    memory_.reset();  // before the new one is taken: never both
    capacity_ = 0;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, capacity)));
    if (memory_ != nullptr) capacity_ = capacity;
  }
  return memory_.get();
}

void TensorBuffer::ShrinkTo(size_t bytes) {
  if (capacity_ <= bytes) return;
  memory_.reset();
  capacity_ = 0;
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

void InferRequestReader::Shrink() {
  if (parser_->capacity > kKeepJsonBytes) parser_->Release();
  for (TensorBuffer& buffer : buffers_) buffer.ShrinkTo(kKeepTensorBytes);
  for (TensorBuffer& buffer : string_buffers_) buffer.ShrinkTo(kKeepTensorBytes);
}

Status InferRequestReader::Read(std::string_view json, std::span<const std::byte> binary,
                                std::span<const TensorSpec> inputs,
                                std::span<const TensorSpec> outputs, InferRequest* request) {
  if (json.empty()) return InvalidArgument("the request has no JSON text");
  dom::element root;
  VERDICT_RETURN_IF_ERROR(parser_->Parse(json, &root));
  RequestFields fields;
  VERDICT_RETURN_IF_ERROR(ReadRequestFields(root, &fields));
  request->id = fields.id;
  request->inputs.assign(inputs.size(), TensorView{});
  if (buffers_.size() < inputs.size()) buffers_.resize(inputs.size());

  size_t position = 0;
  size_t used = 0;  // bytes of `binary`
  for (const dom::element value : *fields.inputs) {
    const std::string field = "inputs[" + std::to_string(position++) + "]";
    TensorFields tensor;
    VERDICT_RETURN_IF_ERROR(ReadTensorFields(value, field, &tensor));
    const std::optional<size_t> index = FindSpec(inputs, *tensor.name);
    if (!index.has_value()) {
      return InvalidArgument("field " + field + ": the model has no input " + Quoted(*tensor.name) +
                             "; it has " + NamesOf(inputs));
    }
    const TensorSpec& spec = inputs[*index];
    const std::string context = "input " + Quoted(spec.name);
    if (request->inputs[*index].dtype != DataType::kUndefined) {
      return InvalidArgument(context + " is given twice");
    }
    if (!tensor.datatype.has_value()) return InvalidArgument(context + ": datatype is missing");
    if (DataTypeFromWireName(*tensor.datatype) != spec.dtype) {
      return InvalidArgument(context + ": datatype is " + Quoted(*tensor.datatype) +
                             ", the model takes " + std::string(WireTypeName(spec.dtype)));
    }
    if (!tensor.shape.has_value()) return InvalidArgument(context + ": shape is missing");

    InputSource source{spec, {}, 0, &buffers_[*index]};
    if (Status shape = ReadShape(*tensor.shape, spec, &source.shape); !shape.ok()) {
      return shape.WithContext(context);
    }
    VERDICT_ASSIGN_OR_RETURN(const int64_t elements, NumElements(source.shape));
    source.elements = static_cast<size_t>(elements);

    const std::optional<uint64_t> raw = tensor.parameters.binary_data_size;
    if (tensor.parameters.shared_memory.given()) {
      if (raw.has_value() || tensor.data.has_value()) {
        return InvalidArgument(context + ": has both data and a shared memory region");
      }
      if (string_buffers_.size() < inputs.size()) string_buffers_.resize(inputs.size());
      auto view = ReadFromSharedMemory(source, registry_, tensor.parameters.shared_memory,
                                       &string_buffers_[*index]);
      if (!view.ok()) return view.status().WithContext(context);
      request->inputs[*index] = *view;
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
    auto view = raw.has_value() ? ReadFromBinary(source, binary.subspan(used, *raw))
                                : ReadFromJson(source, *tensor.data, json.size());
    if (!view.ok()) return view.status().WithContext(context);
    if (raw.has_value()) used += *raw;
    request->inputs[*index] = *view;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (request->inputs[i].dtype == DataType::kUndefined) {
      return InvalidArgument("input " + Quoted(inputs[i].name) + " is missing");
    }
  }
  if (used != binary.size()) {
    return InvalidArgument(std::to_string(binary.size() - used) +
                           " bytes after the JSON text belong to no input: binary_data_size is "
                           "missing or too small");
  }
  return ReadOutputs(fields, outputs, registry_, &request->outputs);
}

}  // namespace verdict
