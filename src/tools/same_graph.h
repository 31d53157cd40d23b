#pragma once

#include <string>

#include "ir/graph.h"

namespace verdict {

/// In a few words, where the second graph differs from the first in anything but the contents of
/// its constants and the names of its nodes; empty where it does not. Values are told apart by
/// their ids.
std::string DifferenceOfGraphs(const Graph& a, const Graph& b);

}  // namespace verdict
