#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/status.h"
#include "ir/types.h"

namespace verdict {

/// A number as a file has it, before it takes an input's type.
using Number = std::variant<int64_t, uint64_t, double>;

/// Reads a decimal number, "nan" or "inf"; blanks around it are passed over, and nothing at all is
/// NaN: that is how CSV files leave a value out. Errors: kInvalidArgument quoting the text.
Result<Number> ParseNumber(std::string_view text);

/// One element of a tensor of any type but kString.
Number NumberAt(const TensorView& tensor, int64_t index);

/// Writes `number` as one element of a type other than kString. Floats round to nearest; a whole
/// number that is written as a float ("3.0") fits an integer.
/// allow_nan: whether a float may be NaN.
/// Errors: kInvalidArgument: NaN, infinite, a fraction for an integer, out of the type's range;
/// for kBool all but 0 and 1.
Status StoreNumber(const Number& number, DataType dtype, bool allow_nan, void* element);

/// A label: 0 or 1. Errors: kInvalidArgument for any other number.
Result<float> LabelOf(const Number& number);

/// `text` in quotes, cut where it is long: for messages about hostile files.
std::string Excerpt(std::string_view text);

}  // namespace verdict
