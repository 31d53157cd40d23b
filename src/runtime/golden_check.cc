#include "runtime/golden_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/half.h"

namespace verdict {
namespace {

double ToDouble(double value) { return value; }
double ToDouble(Float16 value) { return static_cast<double>(value.ToFloat()); }
double ToDouble(BFloat16 value) { return static_cast<double>(value.ToFloat()); }

/// Empty, or the first element that is further off than the tolerance, relative plus absolute.
template <typename T>
std::string FloatDifference(const TensorView& expected, const TensorView& actual,
                            double tolerance) {
  const auto wanted = expected.as<const T>();
  const auto gotten = actual.as<const T>();
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double want = ToDouble(wanted[i]), got = ToDouble(gotten[i]);
    if (want == got || (std::isnan(want) && std::isnan(got))) continue;
    if (!std::isfinite(want) || !(std::fabs(want - got) <= tolerance * (1 + std::fabs(want)))) {
      return "element " + std::to_string(i) + " is " + std::to_string(got) + ", expected " +
             std::to_string(want);
    }
  }
  return {};
}

std::string Difference(const TensorView& expected, const TensorView& actual, double tolerance) {
  switch (expected.dtype) {
    case DataType::kFloat32:
      return FloatDifference<float>(expected, actual, tolerance);
    case DataType::kFloat64:
      return FloatDifference<double>(expected, actual, tolerance);
    case DataType::kFloat16:
      return FloatDifference<Float16>(expected, actual, std::max(tolerance, 1e-3));
    case DataType::kBFloat16:
      return FloatDifference<BFloat16>(expected, actual, std::max(tolerance, 1e-2));
    case DataType::kString: {
      const auto want = expected.as<const std::string_view>();
      const auto got = actual.as<const std::string_view>();
      return std::equal(want.begin(), want.end(), got.begin()) ? "" : "a string";
    }
    default: {
      const size_t bytes = ByteSize(expected.dtype, expected.shape).value();
      const bool equal = bytes == 0 || std::memcmp(expected.data, actual.data, bytes) == 0;
      return equal ? "" : "not equal";
    }
  }
}

}  // namespace

Status CompareGolden(const TensorView& expected, const TensorView& actual, double tolerance,
                     const std::string& name) {
  if (expected.dtype != actual.dtype || !(expected.shape == actual.shape)) {
    return DataLoss("golden vector: output '" + name + "' has another type or shape");
  }
  const std::string difference = Difference(expected, actual, tolerance);
  if (difference.empty()) return OkStatus();
  return DataLoss("golden vector: output '" + name + "' differs from the reference: " + difference +
                  "; rebuild the engine on this machine");
}

}  // namespace verdict
