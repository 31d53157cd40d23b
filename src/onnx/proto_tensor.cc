#include "onnx/proto_tensor.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/cast.h"
#include "ops/infer.h"

namespace verdict {
namespace {

// ONNX stores raw data in little-endian order; so does every machine we run on.
static_assert(std::endian::native == std::endian::little);

constexpr size_t kInPlaceAlignment = 64;  // as Constant::Allocate gives

Result<Shape> ShapeOf(const onnx::TensorProto& tensor) {
  if (tensor.dims_size() > Shape::kMaxRank) {
    return Unimplemented("has " + std::to_string(tensor.dims_size()) +
                         " dimensions; at most 8 are supported");
  }
  Shape shape;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0) return InvalidArgument("has the negative extent " + std::to_string(dim));
    if (dim > kMaxExtent) return InvalidArgument("has the extent " + std::to_string(dim));
    shape.push_back(dim);
  }
  return shape;
}

Status CheckCount(const char* field, int64_t have, const Shape& shape, int64_t need) {
  if (have == need) return OkStatus();
  return InvalidArgument(std::string(field) + " has " + std::to_string(have) +
                         " elements, but the shape " + ToString(shape) + " needs " +
                         std::to_string(need));
}

/// Copies `field` to elements of T, each of which must be representable.
template <typename T, typename Field>
Result<Constant> FromField(const char* name, const Field& field, DataType dtype, const Shape& shape,
                           int64_t count) {
  VERDICT_RETURN_IF_ERROR(CheckCount(name, field.size(), shape, count));
  auto [constant, data] = Constant::Allocate(dtype, shape);
  T* out = static_cast<T*>(data);
  for (const auto value : field) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (!std::in_range<T>(value)) {
        return InvalidArgument("has the value " + std::to_string(value) + ", which " +
                               std::string(DataTypeName(dtype)) + " cannot hold");
      }
    }
    *out++ = static_cast<T>(value);
  }
  return constant;
}

Result<Constant> FromFields(const onnx::TensorProto& tensor, DataType dtype, const Shape& shape,
                            int64_t count) {
  switch (dtype) {
    case DataType::kFloat32:
      return FromField<float>("float_data", tensor.float_data(), dtype, shape, count);
    case DataType::kFloat64:
      return FromField<double>("double_data", tensor.double_data(), dtype, shape, count);
    case DataType::kInt64:
      return FromField<int64_t>("int64_data", tensor.int64_data(), dtype, shape, count);
    case DataType::kUInt64:
      return FromField<uint64_t>("uint64_data", tensor.uint64_data(), dtype, shape, count);
    case DataType::kUInt32:
      return FromField<uint32_t>("uint64_data", tensor.uint64_data(), dtype, shape, count);
    case DataType::kFloat16:
    case DataType::kBFloat16:  // the bits of the number
    case DataType::kUInt16:
      return FromField<uint16_t>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kInt8:
      return FromField<int8_t>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kInt16:
      return FromField<int16_t>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kInt32:
      return FromField<int32_t>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kUInt8:
      return FromField<uint8_t>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kBool:
      return FromField<bool>("int32_data", tensor.int32_data(), dtype, shape, count);
    case DataType::kString:
    case DataType::kUndefined:
      break;
  }
  return Internal("element type without a field");
}

Constant CopyOf(std::span<const std::byte> bytes, DataType dtype, const Shape& shape) {
  auto [constant, data] = Constant::Allocate(dtype, shape);
  if (dtype == DataType::kBool) {
    // A bool that is neither 0 nor 1 would be undefined behaviour in every kernel.
    std::ranges::transform(bytes, static_cast<bool*>(data),
                           [](std::byte byte) { return byte != std::byte{0}; });
  } else if (!bytes.empty()) {
    std::memcpy(data, bytes.data(), bytes.size());
  }
  return constant;
}

Result<Constant> FromRaw(const std::string& raw, DataType dtype, const Shape& shape, size_t size) {
  if (raw.size() != size) {
    return InvalidArgument("raw_data has " + std::to_string(raw.size()) + " bytes, but the shape " +
                           ToString(shape) + " needs " + std::to_string(size));
  }
  return CopyOf(std::as_bytes(std::span(raw)), dtype, shape);
}

Result<Constant> FromExternal(const onnx::TensorProto& tensor, DataType dtype, const Shape& shape,
                              size_t size, ExternalData& external) {
  if (size == 0) return CopyOf({}, dtype, shape);
  VERDICT_ASSIGN_OR_RETURN(const auto data, external.Read(tensor, size));
  const bool aligned = reinterpret_cast<uintptr_t>(data.bytes.data()) % kInPlaceAlignment == 0;
  if (!aligned || dtype == DataType::kBool) {
    VERDICT_RETURN_IF_ERROR(external.CountCopy(size));
    return CopyOf(data.bytes, dtype, shape);
  }
  return Constant{dtype, shape, data.bytes.data(), data.file};
}

Result<Constant> Convert(const onnx::TensorProto& tensor, ExternalData& external) {
  const DataType dtype = DataTypeFromOnnx(tensor.data_type());
  if (dtype == DataType::kUndefined) {
    return Unimplemented("has the element type " + OnnxTypeName(tensor.data_type()) +
                         ", which is not supported");
  }
  if (tensor.has_segment()) return Unimplemented("is stored in segments");
  VERDICT_ASSIGN_OR_RETURN(const Shape shape, ShapeOf(tensor));
  VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  VERDICT_ASSIGN_OR_RETURN(const size_t size, ByteSize(dtype, shape));
  const bool is_external = tensor.data_location() == onnx::TensorProto::EXTERNAL;
  if (dtype == DataType::kString) {
    if (is_external || !tensor.raw_data().empty()) {
      return InvalidArgument("holds strings, which must be in string_data");
    }
    VERDICT_RETURN_IF_ERROR(CheckCount("string_data", tensor.string_data_size(), shape, count));
    return Constant::OfStrings(shape, {tensor.string_data().begin(), tensor.string_data().end()});
  }
  if (is_external) return FromExternal(tensor, dtype, shape, size, external);
  if (!tensor.raw_data().empty()) return FromRaw(tensor.raw_data(), dtype, shape, size);
  return FromFields(tensor, dtype, shape, count);
}

}  // namespace

std::string OnnxTypeName(int32_t onnx_type) {
  if (!onnx::TensorProto::DataType_IsValid(onnx_type)) {
    return "type " + std::to_string(onnx_type);
  }
  return onnx::TensorProto::DataType_Name(static_cast<onnx::TensorProto::DataType>(onnx_type));
}

int32_t OnnxTypeOf(DataType dtype) {
  for (int32_t number = 1; number <= onnx::TensorProto::DataType_MAX; ++number) {
    if (DataTypeFromOnnx(number) == dtype) return dtype == DataType::kUndefined ? 0 : number;
  }
  return 0;
}

onnx::TensorProto TensorFromConstant(const std::string& name, const Constant& constant) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(OnnxTypeOf(constant.dtype));
  for (Dim dim : constant.shape.dims()) tensor.add_dims(dim);
  if (constant.dtype == DataType::kString) {
    for (const std::string_view text : constant.view().as<const std::string_view>()) {
      tensor.add_string_data(text.data(), text.size());
    }
  } else {
    const size_t size = ByteSize(constant.dtype, constant.shape).value();
    tensor.set_raw_data(size == 0 ? "" : constant.data, size);
  }
  return tensor;
}

Result<Constant> ConstantFromProto(const onnx::TensorProto& tensor, ExternalData& external) {
  auto constant = Convert(tensor, external);
  if (!constant.ok()) return constant.status().WithContext("tensor '" + tensor.name() + "'");
  return constant;
}

}  // namespace verdict
