#include "serve/endpoints/request_checks.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>

#include "base/checked_math.h"
#include "serve/endpoints/datatype.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"

namespace verdict {
namespace {

std::optional<size_t> FindSpec(std::span<const TensorSpec> specs, std::string_view name) {
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
  used_ = memory_ != nullptr ? bytes : 0;
  return memory_.get();
}

void TensorBuffer::ShrinkTo(size_t bytes) {
  used_ = 0;
  if (capacity_ <= bytes) return;
  memory_.reset();
  capacity_ = 0;
}

std::string InputContext(const TensorSpec& spec) { return "input " + Quoted(spec.name); }

bool HasSpec(std::span<const TensorSpec> specs, std::string_view name) {
  return FindSpec(specs, name).has_value();
}

Result<size_t> ChooseInput(std::span<const TensorSpec> specs, std::string_view name,
                           const std::string& field, std::span<const TensorView> views) {
  const std::optional<size_t> index = FindSpec(specs, name);
  if (!index.has_value()) {
    return InvalidArgument("field " + field + ": the model has no input " + Quoted(name) +
                           "; it has " + NamesOf(specs));
  }
  if (views[*index].dtype != DataType::kUndefined) {
    return InvalidArgument(InputContext(specs[*index]) + " is given twice");
  }
  return *index;
}

Status CheckComplete(std::span<const TensorSpec> specs, std::span<const TensorView> views) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (views[i].dtype == DataType::kUndefined && !specs[i].is_state) {
      return InvalidArgument(InputContext(specs[i]) + " is missing");
    }
  }
  return OkStatus();
}

Status CheckDatatype(const TensorSpec& spec, std::string_view datatype) {
  if (DataTypeFromWireName(datatype) == spec.dtype) return OkStatus();
  return InvalidArgument("datatype is " + Quoted(datatype) + ", the model takes " +
                         std::string(WireTypeName(spec.dtype)));
}

Result<Shape> CheckShape(std::span<const int64_t> extents, const TensorSpec& spec) {
  Shape shape;
  for (const int64_t extent : extents) {
    if (extent < 0) {
      return InvalidArgument("shape: the extent " + std::to_string(extent) + " is negative");
    }
    if (shape.rank() == Shape::kMaxRank) {
      return InvalidArgument("shape: more than " + std::to_string(Shape::kMaxRank) + " extents");
    }
    shape.push_back(extent);
  }
  bool fits = shape.rank() == spec.shape.rank();
  for (int axis = 0; fits && axis < shape.rank(); ++axis) {
    fits = spec.shape[axis] < 0 || spec.shape[axis] == shape[axis];
  }
  if (!fits) {
    std::string wanted;
    AppendJsonShape(&wanted, spec.shape.dims());
    return InvalidArgument("shape: " + ToString(shape) + " does not fit the model's " + wanted +
                           " (-1 may be any extent)");
  }
  if (!ByteSize(spec.dtype, shape).ok()) {
    return InvalidArgument("shape: " + ToString(shape) + " has more elements than memory");
  }
  return shape;
}

Result<std::byte*> TensorMemory(DataType dtype, const Shape& shape, TensorBuffer* buffer) {
  VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(dtype, shape));
  std::byte* memory = buffer->Reserve(bytes);
  if (memory == nullptr) {
    return ResourceExhausted("no memory for " + std::to_string(bytes) + " bytes");
  }
  return memory;
}

Result<TensorView> ReadRawTensor(DataType dtype, const Shape& shape,
                                 std::span<const std::byte> bytes, const char* what,
                                 TensorBuffer* buffer) {
  if (!IsFixedSize(dtype)) {
    VERDICT_ASSIGN_OR_RETURN(const int64_t elements, NumElements(shape));
    // An element takes at least its length's 4 bytes.
    if (static_cast<uint64_t>(elements) > bytes.size() / 4) {
      return InvalidArgument(std::string(what) + " is " + std::to_string(bytes.size()) +
                             ", too little for the shape " + ToString(shape));
    }
    VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, TensorMemory(dtype, shape, buffer));
    const TensorView view{dtype, shape, memory};
    VERDICT_RETURN_IF_ERROR(ReadRawStrings(bytes, view.as<std::string_view>()));
    return view;
  }
  VERDICT_RETURN_IF_ERROR(CheckRawTensor(bytes, dtype, shape, what));
  if (reinterpret_cast<uintptr_t>(bytes.data()) % ElementSize(dtype) == 0) {
    return TensorView{dtype, shape, const_cast<std::byte*>(bytes.data())};
  }
  VERDICT_ASSIGN_OR_RETURN(std::byte* const memory, TensorMemory(dtype, shape, buffer));
  std::copy(bytes.begin(), bytes.end(), memory);
  return TensorView{dtype, shape, memory};
}

Result<TensorView> ReadSharedMemoryTensor(DataType dtype, const Shape& shape,
                                          const SharedMemoryRange& range, TensorBuffer* tensor,
                                          TensorBuffer* strings) {
  TensorBuffer* buffer = strings;
  if (IsFixedSize(dtype)) {
    VERDICT_ASSIGN_OR_RETURN(const size_t needed, ByteSize(dtype, shape));
    if (range.byte_size != needed) {
      return InvalidArgument("shared_memory_byte_size is " + std::to_string(range.byte_size) +
                             ", the datatype and the shape " + ToString(shape) + " need " +
                             std::to_string(needed) + " bytes");
    }
    buffer = tensor;
  }
  std::byte* const memory = buffer->Reserve(range.byte_size);
  if (memory == nullptr) {
    return ResourceExhausted("no memory for " + std::to_string(range.byte_size) + " bytes");
  }
  const std::span<std::byte> bytes(memory, range.byte_size);
  VERDICT_RETURN_IF_ERROR(range.Read(bytes));
  return ReadRawTensor(dtype, shape, bytes, "shared_memory_byte_size", tensor);
}

Status AddOutput(std::span<const TensorSpec> specs, std::string_view name, const std::string& field,
                 bool binary, std::vector<RequestedOutput>* outputs) {
  const std::optional<size_t> index = FindSpec(specs, name);
  if (!index.has_value()) {
    return InvalidArgument("field " + field + ": the model has no output " + Quoted(name) +
                           "; it has " + NamesOf(specs));
  }
  for (const RequestedOutput& other : *outputs) {
    if (other.index == *index) {
      return InvalidArgument("field " + field + ": output " + Quoted(name) + " is asked for twice");
    }
  }
  outputs->push_back({*index, binary});
  return OkStatus();
}

void AddAllOutputs(std::span<const TensorSpec> specs, bool binary,
                   std::vector<RequestedOutput>* outputs) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].is_state) outputs->push_back({i, binary, {}});
  }
}

Status ClassificationNotOffered(const std::string& field) {
  return Unimplemented("field " + field +
                       ".classification: the classification extension is not offered; sort "
                       "the returned scores instead");
}

Status ReadPriority(uint64_t value, const std::string& field, uint32_t* priority) {
  if (value > std::numeric_limits<uint32_t>::max()) {
    return InvalidArgument("field " + field + ".priority: " + std::to_string(value) +
                           " is no priority level");
  }
  *priority = static_cast<uint32_t>(value);
  return OkStatus();
}

Status ReadSequenceId(std::string_view text, const std::string& field, std::string* sequence) {
  if (text.size() > kMaxSequenceIdBytes) {
    return InvalidArgument("field " + field + ".sequence_id has " + std::to_string(text.size()) +
                           " bytes, at most " + std::to_string(kMaxSequenceIdBytes) + " are taken");
  }
  *sequence = text;
  return OkStatus();
}

}  // namespace verdict
