#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// "float32", "int64", "bool", "str", …: what a Python user calls an element type.
std::string_view NumpyName(DataType dtype);

/// Reads one array in numpy's .npy format, versions 1 to 3. Arrays in Fortran order are transposed;
/// strings ('<U', '|S') lose their padding of NULs, '<U' becomes UTF-8. Nothing is allocated before
/// the bytes for it are known to be there: no more than `bytes` has, and for strings a view each,
/// which counts against max_bytes together with `bytes`. Errors: kInvalidArgument, kUnimplemented
/// for element types that have no equal here, kResourceExhausted; each says what to do in Python.
Result<Constant> ParseNpy(std::span<const std::byte> bytes, uint64_t max_bytes = UINT64_MAX);

/// The array as a .npy file: version 1.0, row-major, strings as '<U' wide enough for the longest,
/// bytes that are not UTF-8 as U+FFFD. tensor: any type but bf16. Errors: kUnimplemented for bf16;
/// kResourceExhausted if padding strings to one width would take over 4 GiB.
Result<std::vector<std::byte>> SerializeNpy(const TensorView& tensor);

}  // namespace verdict
