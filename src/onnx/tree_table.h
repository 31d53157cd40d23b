#pragma once

#include <set>
#include <string>

#include "onnx/node_translation.h"
#include "onnx/tree_layout.h"

namespace verdict {

/// A numeric attribute that is a list of floats, or a tensor of doubles under NAME_as_tensor.
struct Numbers {
  std::vector<double> values;
  bool is_double = false;
};
Result<Numbers> TakeNumbers(NodeTranslation& translation, const std::string& name);

/// What the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor (versions 1 to 3) say.
struct TreeTable {
  Forest forest;
  bool double_splits = false;
  bool double_weights = false;
  bool has_negative_weight = false;
  std::set<int64_t> targets;  // those that leaves add to
  Numbers base_values;
};

/// Takes the attributes nodes_*, PREFIX_* ("class" or "target") and base_values. A weight of an
/// inner node is ignored, as ONNX Runtime does for old converters' sake. Errors: kInvalidArgument
/// where lists do not match, a node comes twice, or a child is missing.
Result<TreeTable> TakeTreeTable(NodeTranslation& translation, const std::string& prefix);

/// The raw scores [N, targets] of `forest` for `x`, as a node of its own. They go to the output
/// `scores` where that is set. Weights are f64 where x or the splits are, as ONNX Runtime adds them
/// then. base_values: one a target, or empty. Errors: those of LayOutTrees.
Result<ValueId> EmitTrees(NodeTranslation& translation, ValueId x, const TreeTable& table,
                          int64_t targets, const std::vector<double>& base_values,
                          const std::string& aggregate, ValueId scores = kNoValue);

}  // namespace verdict
