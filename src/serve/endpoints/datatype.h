#pragma once

#include <string>
#include <string_view>

#include "ir/types.h"

namespace verdict {

/// The inference protocol's name of an element type: "FP32", "INT64", "BOOL", "BYTES", …; empty for
/// kUndefined.
std::string_view WireTypeName(DataType dtype);

/// Inverse of WireTypeName; kUndefined for an unknown name.
DataType DataTypeFromWireName(std::string_view name);

/// As the model configuration writes it: "TYPE_FP32", "TYPE_STRING", …
std::string ConfigTypeName(DataType dtype);

}  // namespace verdict
