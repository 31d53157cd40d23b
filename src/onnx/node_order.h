#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "onnx/proto.h"

namespace verdict {

using NodeProtos = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

/// "node 'dense1/MatMul' (MatMul)"; a node without a name goes by its first output.
std::string DescribeProto(const onnx::NodeProto& node);
/// What a node goes by in messages: its name, or that of its first output.
std::string NameOf(const onnx::NodeProto& node);

/// An order of `nodes` in which each comes after the makers of what it reads, as near to the given
/// order as that allows. is_defined: whether a name is known before any of the nodes ran.
/// Errors: kInvalidArgument naming the node where an input is made by nobody, a name is made twice,
/// or nodes wait for each other. Cost: O(n log n).
Result<std::vector<int>> OrderNodes(const NodeProtos& nodes,
                                    const std::function<bool(const std::string&)>& is_defined);

}  // namespace verdict
