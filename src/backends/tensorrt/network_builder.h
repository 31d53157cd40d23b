#pragma once

#include <NvInfer.h>

#include <deque>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace verdict::tensorrt {

/// OK, or why TensorRT cannot compute the node as ours does; on this TensorRT's headers.
Status SupportsNode(const Graph& graph, const Node& node);

struct NetworkOptions {
  /// Names each constant's weights ("value:<id>") so that they can be refitted.
  bool name_weights = false;
  /// As Trials::parser_forms.
  bool parser_forms = false;
  /// What reads the graph's inputs stays in float32 (see ReadsRawInputs): for engines that may
  /// choose halves or int8 themselves.
  bool keep_inputs_float32 = false;
};

/// Memory that must live until the network has been built: converted weights.
struct NetworkStorage {
  std::deque<std::vector<std::byte>> buffers;
};

/// A graph input of integers that are used as indices: what they must lie in, else the program
/// would read elsewhere. Runs with others are refused.
struct IndexRange {
  size_t input = 0;  // of the graph
  int64_t least = 0, greatest = 0;
  /// Only elements at [begin, end) of this axis of the input (columns for tables of their own); -1:
  /// all. Who checks all against each range refuses more than need be, but nothing too little.
  int axis = -1;
  int64_t begin = 0, end = 0;
};

/// Adds all nodes of `graph` to an empty network; its inputs and outputs get the names
/// "in<index>" and "out<index>", and element types that this TensorRT has (int64 as int32 below 10,
/// bool as it is).
/// Errors: kUnimplemented with the node, as SupportsNode; kInternal: TensorRT refused a layer.
Status BuildNetwork(const Graph& graph, const NetworkOptions& options,
                    nvinfer1::INetworkDefinition& network, NetworkStorage& storage);

/// By node: whether it reads numbers in the senders' units: the graph's inputs, and what moves
/// them, adds to them or scales them, up to the first layer that sums over features. Amounts and
/// times are often beyond 65,504, where halves end, and a scaler of the model is folded into the
/// first product's weights, so that this product is the first to see numbers around 1.
std::vector<bool> ReadsRawInputs(const Graph& graph);

/// The index ranges of a graph's inputs, which depend on the graph alone.
std::vector<IndexRange> IndexRanges(const Graph& graph);

}  // namespace verdict::tensorrt
