#pragma once

#include <string>

#include "ir/types.h"

namespace verdict {

/// Compares an output with what a golden vector has. tolerance: how far float32 and float64 may be
/// off, relative plus absolute; f16 and bf16 at least 1e-3 and 1e-2, about one unit in their last
/// place. Other types must be equal. Errors: kDataLoss with the output's name and the difference.
Status CompareGolden(const TensorView& expected, const TensorView& actual, double tolerance,
                     const std::string& name);

}  // namespace verdict
