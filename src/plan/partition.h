#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace verdict {

/// A part of a graph that runs in one place.
struct Part {
  bool on_device = false;
  std::vector<int32_t> nodes;  // indices into Graph::nodes, ascending
};

/// Whether a node can run on the device; OK or why not.
using DeviceRule = std::function<Status(const Node& node)>;

/// Divides a graph's nodes into parts, device and host in turn, each of which needs only values of
/// the graph's inputs, constants and parts before it. As few parts as a greedy walk finds; what is
/// too little work for the copies that it would cost stays on the host. Empty if nothing is worth
/// the device.
///
/// log: one line per node that is not supported, with the reason; may be empty.
std::vector<Part> PartitionGraph(const Graph& graph, const DeviceRule& supported,
                                 const std::function<void(const std::string&)>& log = {});

/// Whether the parts are each node once, ascending within a part, in an order that can run. What
/// they are read from is hostile: this is what ExtractParts relies on. Errors: kDataLoss. O(graph).
Status CheckParts(const Graph& graph, std::span<const Part> parts);

/// A part as a graph of its own: its inputs and outputs are the values that cross its border, by
/// their names in the whole graph, in the order of their ids there; constants are shared. What only
/// makes shapes (plan/shape_values.h) is computed again in each part that reads it, so that shapes
/// do not cross.
struct PartGraph {
  Graph graph;
  std::vector<ValueId> inputs;   // per input of `graph`, its id in the whole graph
  std::vector<ValueId> outputs;  // per output
};

/// Errors: as CheckParts; kDataLoss: a part computes nothing, or more shapes would be computed
/// again than the graph has nodes.
Result<std::vector<PartGraph>> ExtractParts(const Graph& graph, std::span<const Part> parts);

/// The profiles of a part: shapes of its inputs where the whole graph runs at the profile's shapes
/// (MeasuredShapes of it), which are in order although an extent may fall while another grows.
/// Errors: as ResolveShapes.
Result<std::vector<Profile>> PartProfiles(const Graph& graph, const PartGraph& part,
                                          std::span<const Profile> profiles);

}  // namespace verdict
