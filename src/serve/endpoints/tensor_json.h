#pragma once

#include <simdjson.h>

#include <cstddef>
#include <span>
#include <string>

#include "base/status.h"
#include "ir/types.h"

namespace verdict {

/// Writes the elements of a JSON "data" field to a tensor.
///
/// data: a flat array of all elements in row-major order, or arrays nested exactly as the shape
///   says. Integers are welcome in float tensors; 0 and 1 in BOOL tensors.
/// tensor: where the elements go; sized by its type and shape. Strings (kString) become views into
///   the parser's memory.
/// Errors: kInvalidArgument that says which element: wrong JSON type, out of range, too many, too
/// few, nested otherwise than the shape; FP16 or BF16, which JSON does not carry.
Status ReadJsonTensor(const simdjson::dom::element& data, const TensorView& tensor);

}  // namespace verdict
