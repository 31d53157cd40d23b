#include "tools/samples/sample_number.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "ops/half.h"
#include "tools/npy.h"

namespace verdict {
namespace {

std::string Text(const Number& number) {
  if (const auto* real = std::get_if<double>(&number)) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", *real);
    return text;
  }
  if (const auto* whole = std::get_if<int64_t>(&number)) return std::to_string(*whole);
  return std::to_string(std::get<uint64_t>(number));
}

double Real(const Number& number) {
  return std::visit([](auto value) { return static_cast<double>(value); }, number);
}

Status OutOfRange(const Number& number, DataType dtype) {
  return InvalidArgument(Text(number) + " is out of the range of " + std::string(NumpyName(dtype)));
}

/// The least magnitude that rounds to infinity.
double RangeOf(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat16:
      return 65520.0;
    case DataType::kBFloat16:
      return 0x1.ffp+127;
    case DataType::kFloat32:
      return 0x1.ffffffp+127;
    default:
      return std::numeric_limits<double>::infinity();
  }
}

template <typename T>
void Put(T value, void* element) {
  std::memcpy(element, &value, sizeof value);
}

Status StoreFloat(const Number& number, DataType dtype, bool allow_nan, void* element) {
  const double value = Real(number);
  if (std::isnan(value)) {
    if (!allow_nan) return InvalidArgument("NaN or missing; fill it in or leave the sample out");
  } else if (std::isinf(value)) {
    return InvalidArgument("an infinite value; correct it or leave the sample out");
  } else if (!(std::fabs(value) < RangeOf(dtype))) {
    return OutOfRange(number, dtype);
  }
  switch (dtype) {
    case DataType::kFloat16:
      Put(Float16::Of(static_cast<float>(value)), element);
      break;
    case DataType::kBFloat16:
      Put(BFloat16::Of(static_cast<float>(value)), element);
      break;
    case DataType::kFloat32:
      Put(static_cast<float>(value), element);
      break;
    default:
      Put(value, element);
  }
  return OkStatus();
}

/// A float that is whole becomes an integer. Errors: it is not, or 64 bits do not hold it.
Result<Number> Whole(const Number& number, DataType dtype) {
  const auto* real = std::get_if<double>(&number);
  if (real == nullptr) return number;
  if (std::isnan(*real)) {
    return InvalidArgument("NaN or missing, which " + std::string(NumpyName(dtype)) +
                           " cannot hold; fill it in or leave the sample out");
  }
  if (*real >= -0x1p63 && *real < 0x1p64 && std::trunc(*real) != *real) {
    return InvalidArgument(Text(number) + " is not a whole number, as " +
                           std::string(NumpyName(dtype)) + " needs");
  }
  if (*real >= -0x1p63 && *real < 0x1p63) return Number(static_cast<int64_t>(*real));
  if (*real >= 0x1p63 && *real < 0x1p64) return Number(static_cast<uint64_t>(*real));
  return OutOfRange(number, dtype);
}

template <typename T>
Status StoreInteger(const Number& number, DataType dtype, void* element) {
  VERDICT_ASSIGN_OR_RETURN(const Number whole, Whole(number, dtype));
  if (const auto* value = std::get_if<int64_t>(&whole); value != nullptr) {
    if (!std::in_range<T>(*value)) return OutOfRange(number, dtype);
    Put(static_cast<T>(*value), element);
  } else {
    const uint64_t wide = std::get<uint64_t>(whole);
    if (!std::in_range<T>(wide)) return OutOfRange(number, dtype);
    Put(static_cast<T>(wide), element);
  }
  return OkStatus();
}

}  // namespace

Result<Number> ParseNumber(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return Number(std::numeric_limits<double>::quiet_NaN());
  text = text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
  std::string_view digits = text;  // std::from_chars knows no plus
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  const char* const begin = digits.data();
  const char* const end = begin + digits.size();
  int64_t whole = 0;
  if (const auto [stop, error] = std::from_chars(begin, end, whole);
      stop == end && error == std::errc()) {
    return Number(whole);
  }
  uint64_t wide = 0;
  if (const auto [stop, error] = std::from_chars(begin, end, wide);
      stop == end && error == std::errc()) {
    return Number(wide);
  }
  double real = 0;
  const auto [stop, error] = std::from_chars(begin, end, real);
  if (stop == end && error == std::errc()) return Number(real);
  if (stop == end && error == std::errc::result_out_of_range) {
    return Number(std::strtod(std::string(digits).c_str(), nullptr));  // 0 or infinite
  }
  return InvalidArgument(Excerpt(text) + " is not a number");
}

Number NumberAt(const TensorView& tensor, int64_t index) {
  const auto at = [&]<typename T>(T) -> T { return static_cast<const T*>(tensor.data)[index]; };
  switch (tensor.dtype) {
    case DataType::kFloat32:
      return double{at(float{})};
    case DataType::kFloat64:
      return at(double{});
    case DataType::kFloat16:
      return double{at(Float16{}).ToFloat()};
    case DataType::kBFloat16:
      return double{at(BFloat16{}).ToFloat()};
    case DataType::kInt8:
      return int64_t{at(int8_t{})};
    case DataType::kInt16:
      return int64_t{at(int16_t{})};
    case DataType::kInt32:
      return int64_t{at(int32_t{})};
    case DataType::kInt64:
      return at(int64_t{});
    case DataType::kUInt8:
      return uint64_t{at(uint8_t{})};
    case DataType::kUInt16:
      return uint64_t{at(uint16_t{})};
    case DataType::kUInt32:
      return uint64_t{at(uint32_t{})};
    case DataType::kUInt64:
      return at(uint64_t{});
    case DataType::kBool:
      return int64_t{at(uint8_t{}) != 0 ? 1 : 0};  // a file's byte need not be 0 or 1
    case DataType::kString:
    case DataType::kUndefined:
      break;
  }
  VERDICT_CHECK(false && "not a tensor of numbers");
  return int64_t{0};
}

Status StoreNumber(const Number& number, DataType dtype, bool allow_nan, void* element) {
  switch (dtype) {
    case DataType::kFloat32:
    case DataType::kFloat64:
    case DataType::kFloat16:
    case DataType::kBFloat16:
      return StoreFloat(number, dtype, allow_nan, element);
    case DataType::kInt8:
      return StoreInteger<int8_t>(number, dtype, element);
    case DataType::kInt16:
      return StoreInteger<int16_t>(number, dtype, element);
    case DataType::kInt32:
      return StoreInteger<int32_t>(number, dtype, element);
    case DataType::kInt64:
      return StoreInteger<int64_t>(number, dtype, element);
    case DataType::kUInt8:
      return StoreInteger<uint8_t>(number, dtype, element);
    case DataType::kUInt16:
      return StoreInteger<uint16_t>(number, dtype, element);
    case DataType::kUInt32:
      return StoreInteger<uint32_t>(number, dtype, element);
    case DataType::kUInt64:
      return StoreInteger<uint64_t>(number, dtype, element);
    case DataType::kBool: {
      const double value = Real(number);
      if (value != 0 && value != 1) return InvalidArgument(Text(number) + " is neither 0 nor 1");
      Put(value == 1, element);
      return OkStatus();
    }
    case DataType::kString:
    case DataType::kUndefined:
      break;
  }
  return InvalidArgument("a number, the model takes text");
}

Result<float> LabelOf(const Number& number) {
  const double value = Real(number);
  if (value == 0 || value == 1) return static_cast<float>(value);
  return InvalidArgument("the label is " + (std::isnan(value) ? "missing" : Text(number)) +
                         "; it must be 1 (fraud) or 0");
}

std::string Excerpt(std::string_view text) {
  constexpr size_t kMaxBytes = 40;
  if (text.size() <= kMaxBytes) return "'" + std::string(text) + "'";
  return "'" + std::string(text.substr(0, kMaxBytes)) + "…'";
}

}  // namespace verdict
