#include "serve/endpoints/datatype.h"

#include <array>
#include <utility>

namespace verdict {
namespace {

constexpr std::array<std::pair<DataType, std::string_view>, 14> kWireNames = {{
    {DataType::kFloat32, "FP32"},
    {DataType::kFloat64, "FP64"},
    {DataType::kFloat16, "FP16"},
    {DataType::kBFloat16, "BF16"},
    {DataType::kInt8, "INT8"},
    {DataType::kInt16, "INT16"},
    {DataType::kInt32, "INT32"},
    {DataType::kInt64, "INT64"},
    {DataType::kUInt8, "UINT8"},
    {DataType::kUInt16, "UINT16"},
    {DataType::kUInt32, "UINT32"},
    {DataType::kUInt64, "UINT64"},
    {DataType::kBool, "BOOL"},
    {DataType::kString, "BYTES"},
}};

}  // namespace

std::string_view WireTypeName(DataType dtype) {
  for (const auto& [type, name] : kWireNames) {
    if (type == dtype) return name;
  }
  return {};
}

DataType DataTypeFromWireName(std::string_view name) {
  for (const auto& [type, wire_name] : kWireNames) {
    if (wire_name == name) return type;
  }
  return DataType::kUndefined;
}

std::string ConfigTypeName(DataType dtype) {
  return "TYPE_" + std::string(dtype == DataType::kString ? "STRING" : WireTypeName(dtype));
}

}  // namespace verdict
