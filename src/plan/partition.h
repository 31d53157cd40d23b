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

/// A part as a graph of its own: its inputs and outputs are the values that cross its border, by
/// their names in the whole graph; constants are shared.
struct PartGraph {
  Graph graph;
  std::vector<ValueId> inputs;   // per input of `graph`, its id in the whole graph
  std::vector<ValueId> outputs;  // per output
};

/// Errors: kDataLoss: the parts are not each node once, in an order that can run.
Result<std::vector<PartGraph>> ExtractParts(const Graph& graph, std::span<const Part> parts);

/// The profiles of a part: shapes of its inputs where the whole graph runs at the profile's shapes.
/// Errors: as ResolveShapes.
Result<std::vector<Profile>> PartProfiles(const Graph& graph, const PartGraph& part,
                                          std::span<const Profile> profiles);

}  // namespace verdict
