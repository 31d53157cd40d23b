#pragma once

#include <NvInfer.h>

#include <string>
#include <vector>

#include "ir/graph.h"

namespace verdict::tensorrt {

/// Names of a network's inputs and outputs, as BuildNetwork gives them.
std::string InputName(size_t index);
std::string OutputName(size_t index);

nvinfer1::Dims ToDims(const Shape& shape);
/// Extents below 0 stay so. Errors: kInternal: more axes than we have.
Result<Shape> ToShape(const nvinfer1::Dims& dims);

/// How an element of the graph's type looks on the device.
enum class Conversion {
  kNone,
  kInt64AsInt32,  // below TensorRT 10
};
/// Errors: kInternal: the engine's type is no form of the graph's.
Result<Conversion> ConversionOf(DataType ours, nvinfer1::DataType theirs);

/// Converts `count` elements for the device. Errors: kInvalidArgument: one does not fit into 32
/// bits. Cost: O(count).
Status CopyToDeviceForm(const void* from, DataType dtype, Conversion conversion, int64_t count,
                        void* to);
void CopyFromDeviceForm(const void* from, DataType dtype, Conversion conversion, int64_t count,
                        void* to);
/// Bytes of an element on the device.
size_t DeviceElementSize(DataType dtype, Conversion conversion);

}  // namespace verdict::tensorrt
