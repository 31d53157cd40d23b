#pragma once

#include "ir/graph.h"

namespace verdict {

/// Checks that `graph` is well formed: every id in range, every value made once and before it is
/// read, names unique, operators known, their numbers of inputs and outputs and their attributes as
/// the schema says, constants' contents as operators need them. Errors: kInvalidArgument naming the
/// node and value (kUnimplemented for an unknown operator). Threads: pure. Cost: O(graph).
Status VerifyGraph(const Graph& graph);

/// The part of VerifyGraph that concerns one node alone: its operator, its numbers of inputs and
/// outputs, and its attributes. Shape rules and kernels rely on it.
Status VerifyNode(const Node& node);

}  // namespace verdict
