#include "onnx/node_order.h"

#include <queue>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace verdict {
namespace {

/// Collects the names that the subgraphs of `node` read from outside. Recursion ends where
/// protobuf's nesting limit did.
void CollectCaptured(const onnx::NodeProto& node, std::vector<std::string_view>& captured) {
  for (const auto& attribute : node.attribute()) {
    if (!attribute.has_g()) continue;
    const onnx::GraphProto& graph = attribute.g();
    std::unordered_set<std::string_view> local;
    for (const auto& input : graph.input()) local.insert(input.name());
    for (const auto& tensor : graph.initializer()) local.insert(tensor.name());
    for (const auto& inner : graph.node()) {
      for (const auto& output : inner.output()) local.insert(output);
    }
    std::vector<std::string_view> names;
    for (const auto& inner : graph.node()) {
      for (const auto& input : inner.input()) names.push_back(input);
      CollectCaptured(inner, names);
    }
    for (const auto& output : graph.output()) names.push_back(output.name());
    for (std::string_view name : names) {
      if (!local.contains(name)) captured.push_back(name);
    }
  }
}

}  // namespace

std::string NameOf(const onnx::NodeProto& node) {
  if (!node.name().empty() || node.output_size() == 0) return node.name();
  return node.output(0);
}

std::string DescribeProto(const onnx::NodeProto& node) {
  return "node '" + NameOf(node) + "' (" + node.op_type() + ")";
}

Result<std::vector<int>> OrderNodes(const NodeProtos& nodes,
                                    const std::function<bool(const std::string&)>& is_defined) {
  std::unordered_map<std::string_view, int> makers;
  for (int index = 0; index < nodes.size(); ++index) {
    for (const std::string& output : nodes[index].output()) {
      if (output.empty()) continue;
      if (is_defined(output) || !makers.emplace(output, index).second) {
        return InvalidArgument(DescribeProto(nodes[index]) + ": makes '" + output +
                               "', which exists already");
      }
    }
  }
  std::vector<std::vector<int>> readers(static_cast<size_t>(nodes.size()));
  std::vector<int> waiting_for(static_cast<size_t>(nodes.size()), 0);
  for (int index = 0; index < nodes.size(); ++index) {
    std::vector<std::string_view> reads(nodes[index].input().begin(), nodes[index].input().end());
    CollectCaptured(nodes[index], reads);
    for (std::string_view name : reads) {
      if (name.empty()) continue;
      const auto maker = makers.find(name);
      if (maker != makers.end()) {
        readers[static_cast<size_t>(maker->second)].push_back(index);
        ++waiting_for[static_cast<size_t>(index)];
      } else if (!is_defined(std::string(name))) {
        return InvalidArgument(DescribeProto(nodes[index]) + ": reads '" + std::string(name) +
                               "', which is neither an input, nor an initializer, nor made by a "
                               "node");
      }
    }
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int index = 0; index < nodes.size(); ++index) {
    if (waiting_for[static_cast<size_t>(index)] == 0) ready.push(index);
  }
  std::vector<int> order;
  while (!ready.empty()) {
    const int index = ready.top();
    ready.pop();
    order.push_back(index);
    for (int reader : readers[static_cast<size_t>(index)]) {
      if (--waiting_for[static_cast<size_t>(reader)] == 0) ready.push(reader);
    }
  }
  for (int index = 0; index < nodes.size(); ++index) {
    if (waiting_for[static_cast<size_t>(index)] != 0) {
      return InvalidArgument(DescribeProto(nodes[index]) +
                             ": is part of a cycle, or reads from one; an ONNX graph has none");
    }
  }
  return order;
}

}  // namespace verdict
