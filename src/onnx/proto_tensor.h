#pragma once

#include <cstdint>
#include <string>

#include "ir/graph.h"
#include "onnx/external_data.h"
#include "onnx/proto.h"

namespace verdict {

/// The name of a TensorProto.DataType number, for messages: "FLOAT8E4M3FN", or "type 99".
std::string OnnxTypeName(int32_t onnx_type);

/// The TensorProto.DataType number of an element type; 0 for kUndefined.
int32_t OnnxTypeOf(DataType dtype);

/// A constant as a tensor of that name: numbers as raw data.
onnx::TensorProto TensorFromConstant(const std::string& name, const Constant& constant);

/// A tensor's contents as a constant. They are copied, except that external data is used in place
/// where it is aligned. Nothing is allocated before the sizes are known to agree.
/// Errors: kInvalidArgument naming the tensor, where shape and data do not agree or a size is
/// negative or too large; kUnimplemented for an element type or storage we do not have; those of
/// ExternalData.
Result<Constant> ConstantFromProto(const onnx::TensorProto& tensor, ExternalData& external);

}  // namespace verdict
