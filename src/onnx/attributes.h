#pragma once

#include <string>
#include <unordered_map>

#include "onnx/external_data.h"
#include "onnx/node_translation.h"
#include "onnx/proto.h"

namespace verdict {

inline constexpr char kNoSubgraphs[] =
    "operators with subgraphs are not supported; export without loops (unroll them, or use the "
    "LSTM, GRU and RNN operators), and with conditions that are constant";

/// What the attributes of a function stand for in one call of it.
using AttributeBinding = std::unordered_map<std::string, const onnx::AttributeProto*>;

/// The attribute that `attribute` stands for: itself, or what the call binds it to; null where the
/// call leaves it out.
const onnx::AttributeProto* ResolveAttribute(const onnx::AttributeProto& attribute,
                                             const AttributeBinding* binding);

/// Reads a node's attributes into `translation`. Errors: kInvalidArgument where an attribute comes
/// twice or is malformed; kUnimplemented for subgraphs, sparse tensors and lists of tensors.
Status ReadAttributes(const onnx::NodeProto& node, const AttributeBinding* binding,
                      ExternalData& external, NodeTranslation& translation);

}  // namespace verdict
