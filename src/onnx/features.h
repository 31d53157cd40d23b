#pragma once

#include "onnx/node_translation.h"

namespace verdict {

/// Input 0 of an operator of ai.onnx.ml as a matrix [N, F] of f32 (or of f64, where it is that and
/// `keep_double`): casts other numbers, and makes one row of a vector, as ONNX Runtime does.
/// Errors: kInvalidArgument for other types and ranks.
Result<ValueId> FeatureMatrix(NodeTranslation& translation, bool keep_double);

/// The labels of a classifier's two or more classes, [C] i64 or str, from whichever of the two
/// attributes has them. Errors: kInvalidArgument unless exactly one does; kUnimplemented for a
/// single class.
Result<Constant> TakeLabels(NodeTranslation& translation, std::string_view ints_name,
                            std::string_view strings_name);

}  // namespace verdict
