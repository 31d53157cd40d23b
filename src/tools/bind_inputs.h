#pragma once

#include <string>
#include <vector>

#include "tools/npz.h"

namespace verdict {

/// One view per graph input, in order, into `tensors`. file: name of the .npz file, for messages.
/// Errors: kInvalidArgument naming the tensor: missing, unknown, of another element type, rank or
/// fixed extent than the model's input; each says what is expected and what is there.
Result<std::vector<TensorView>> BindInputs(const Graph& graph, const NamedTensors& tensors,
                                           const std::string& file);

}  // namespace verdict
