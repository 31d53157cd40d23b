#pragma once

#include <string_view>

namespace verdict {

/// What layers can compute in instead of float32.
enum class Precision { kInt8, kBFloat16, kFloat16 };

/// "int8", "bfloat16", "float16".
constexpr std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kInt8:
      return "int8";
    case Precision::kBFloat16:
      return "bfloat16";
    case Precision::kFloat16:
      return "float16";
  }
  return "";
}

}  // namespace verdict
