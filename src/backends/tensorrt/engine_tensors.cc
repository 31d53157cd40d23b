#include "backends/tensorrt/engine_tensors.h"

#include <cstring>
#include <limits>

#include "backends/tensorrt/network_context.h"

namespace verdict::tensorrt {

std::string InputName(size_t index) { return "in" + std::to_string(index); }
std::string OutputName(size_t index) { return "out" + std::to_string(index); }

nvinfer1::Dims ToDims(const Shape& shape) {
  static_assert(Shape::kMaxRank <= nvinfer1::Dims::MAX_DIMS);
  nvinfer1::Dims dims{};
  dims.nbDims = shape.rank();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    dims.d[axis] = static_cast<std::remove_reference_t<decltype(dims.d[0])>>(
        IsSymbol(shape[axis]) ? -1 : shape[axis]);
  }
  return dims;
}

Result<Shape> ToShape(const nvinfer1::Dims& dims) {
  if (dims.nbDims < 0 || dims.nbDims > Shape::kMaxRank) {
    return Internal("TensorRT: a tensor of " + std::to_string(dims.nbDims) + " axes");
  }
  Shape shape;
  for (int axis = 0; axis < dims.nbDims; ++axis) shape.push_back(dims.d[axis]);
  return shape;
}

Result<Conversion> ConversionOf(DataType ours, nvinfer1::DataType theirs) {
  if (ours == DataType::kInt64 && theirs == nvinfer1::DataType::kINT32) {
    return Conversion::kInt64AsInt32;
  }
  const auto same = DeviceType(ours);
  if (same.ok() && *same == theirs) return Conversion::kNone;
  return Internal("a tensor of type " + std::string(DataTypeName(ours)) +
                  " has TensorRT's type number " + std::to_string(static_cast<int>(theirs)));
}

Status CopyToDeviceForm(const void* from, DataType dtype, Conversion conversion, int64_t count,
                        void* to) {
  if (conversion == Conversion::kNone) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * ElementSize(dtype));
    return OkStatus();
  }
  const auto* source = static_cast<const int64_t*>(from);
  auto* target = static_cast<int32_t*>(to);
  bool fits = true;
  for (int64_t i = 0; i < count; ++i) {
    target[i] = static_cast<int32_t>(source[i]);
    fits &= target[i] == source[i];
  }
  if (!fits) {
    return InvalidArgument("a 64-bit integer does not fit into TensorRT's 32 bits");
  }
  return OkStatus();
}

void CopyFromDeviceForm(const void* from, DataType dtype, Conversion conversion, int64_t count,
                        void* to) {
  if (conversion == Conversion::kNone) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * ElementSize(dtype));
    return;
  }
  const auto* source = static_cast<const int32_t*>(from);
  auto* target = static_cast<int64_t*>(to);
  for (int64_t i = 0; i < count; ++i) target[i] = source[i];
}

size_t DeviceElementSize(DataType dtype, Conversion conversion) {
  return conversion == Conversion::kNone ? ElementSize(dtype) : sizeof(int32_t);
}

}  // namespace verdict::tensorrt
