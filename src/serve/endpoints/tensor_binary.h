#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "ir/types.h"

namespace verdict {

/// True if raw little-endian bytes of this type can serve as the tensor itself.
bool IsFixedSize(DataType dtype);

/// OK if `bytes` are exactly a dense tensor of that type and shape and every element is one that
/// the type allows (a BOOL is 0 or 1). what: what the client calls the number of bytes. Errors:
/// kInvalidArgument.
Status CheckRawTensor(std::span<const std::byte> bytes, DataType dtype, const Shape& shape,
                      const char* what);

/// Reads a BYTES tensor: per element its length as 4 bytes, little-endian, then that many bytes.
///
/// elements: one view per element of the tensor, set to point into `bytes`.
/// Errors: kInvalidArgument that says which element is cut off, or how many bytes are left over.
Status ReadRawStrings(std::span<const std::byte> bytes, std::span<std::string_view> elements);

/// Appends a tensor as raw bytes; strings as ReadRawStrings reads them. Errors: kInternal for a
/// string over 4 GiB.
Status AppendRawTensor(std::string* out, const TensorView& tensor);

}  // namespace verdict
