#include "plan/partition.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "plan/shape_values.h"

namespace verdict {
namespace {

/// What is enough work for a device to be worth the copies.
constexpr std::array<std::string_view, 11> kHeavyOps = {
    "Attention", "Conv", "Einsum", "FusedGemm", "GRU",          "Gemm",
    "HalfGemm",  "LSTM", "MatMul", "RNN",       "QuantizedGemm"};

bool IsHeavy(const Node& node) { return std::ranges::find(kHeavyOps, node.op) != kHeavyOps.end(); }

/// Where a node may run. What only makes shapes runs wherever it is read.
enum class Place { kHost, kDevice, kAnywhere };

class Partitioner {
 public:
  Partitioner(const Graph& graph, const DeviceRule& supported,
              const std::function<void(const std::string&)>& log)
      : graph_(graph),
        producers_(graph.Producers()),
        is_shape_(FindShapeValues(graph)),
        host_shapes_(static_cast<size_t>(graph.num_values()), false) {
    for (const Node& node : graph.nodes) places_.push_back(PlaceOf(node, supported, log));
  }

  std::vector<Part> Run() {
    // What is too little for the device goes to the host, which may join parts and so on.
    while (true) {
      std::vector<Part> parts = FewerParts();
      if (!DemoteLightParts(parts)) {
        const bool any = std::ranges::any_of(parts, &Part::on_device);
        return any ? WithShapeNodes(std::move(parts)) : std::vector<Part>();
      }
    }
  }

 private:
  Place PlaceOf(const Node& node, const DeviceRule& supported,
                const std::function<void(const std::string&)>& log) {
    const auto host = [&](const std::string& reason) {
      if (log) log(Graph::Describe(node) + " stays on the host: " + reason);
      return Place::kHost;
    };
    const auto reads_host_shape = [&](ValueId id) {
      return id != kNoValue && host_shapes_[static_cast<size_t>(id)];
    };
    const Status status = supported(node);
    if (IsShapeNode(node)) {
      if (!status.ok()) host(status.message());
      const bool on_host = !status.ok() || std::ranges::any_of(node.inputs, reads_host_shape);
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) host_shapes_[static_cast<size_t>(id)] = on_host;
      }
      return Place::kAnywhere;
    }
    if (!status.ok()) return host(status.message());
    if (std::ranges::any_of(node.inputs, reads_host_shape)) {
      return host("it reads a shape that is computed there");
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id == kNoValue || !IsShapeOperand(node, i)) continue;
      if (graph_.constant(id) == nullptr && !is_shape_[static_cast<size_t>(id)]) {
        return host("a shape in it is not known before the run");
      }
    }
    return Place::kDevice;
  }

  bool IsShapeNode(const Node& node) const {
    return std::ranges::any_of(node.outputs, [&](ValueId id) {
      return id != kNoValue && is_shape_[static_cast<size_t>(id)];
    });
  }

  /// Takes what can run in one place, then in the other, and so on.
  std::vector<Part> Walk(bool device_first) const {
    std::vector<int> waits(graph_.nodes.size(), 0);  // for how many inputs
    std::vector<std::vector<int32_t>> readers(graph_.nodes.size());
    std::vector<int32_t> ready;
    for (size_t index = 0; index < graph_.nodes.size(); ++index) {
      for (const ValueId id : graph_.nodes[index].inputs) {
        const int32_t maker = id == kNoValue ? -1 : producers_[static_cast<size_t>(id)];
        if (maker < 0) continue;
        readers[static_cast<size_t>(maker)].push_back(static_cast<int32_t>(index));
        ++waits[index];
      }
      if (waits[index] == 0) ready.push_back(static_cast<int32_t>(index));
    }
    std::vector<Part> parts;
    std::vector<int32_t> later;
    for (bool on_device = device_first; !ready.empty(); on_device = !on_device) {
      Part part;
      part.on_device = on_device;
      while (!ready.empty()) {
        const int32_t index = ready.back();
        ready.pop_back();
        const Place place = places_[static_cast<size_t>(index)];
        if (place == (on_device ? Place::kHost : Place::kDevice)) {
          later.push_back(index);
          continue;
        }
        if (place != Place::kAnywhere) part.nodes.push_back(index);
        for (const int32_t reader : readers[static_cast<size_t>(index)]) {
          if (--waits[static_cast<size_t>(reader)] == 0) ready.push_back(reader);
        }
      }
      ready.swap(later);
      std::ranges::sort(part.nodes);
      if (!part.nodes.empty()) parts.push_back(std::move(part));
    }
    return parts;
  }

  std::vector<Part> FewerParts() const {
    std::vector<Part> device_first = Walk(true), host_first = Walk(false);
    return host_first.size() < device_first.size() ? host_first : device_first;
  }

  /// False if there was nothing to do.
  bool DemoteLightParts(std::span<const Part> parts) {
    bool demoted = false;
    for (const Part& part : parts) {
      const auto heavy = [&](int32_t index) {
        return IsHeavy(graph_.nodes[static_cast<size_t>(index)]);
      };
      if (!part.on_device || std::ranges::any_of(part.nodes, heavy)) continue;
      for (const int32_t index : part.nodes) places_[static_cast<size_t>(index)] = Place::kHost;
      demoted = true;
    }
    return demoted;
  }

  /// Puts each node that makes a shape into the first part that reads it; what is an output of the
  /// graph, or is not read, into a part of the host.
  std::vector<Part> WithShapeNodes(std::vector<Part> parts) const {
    const size_t none = parts.size() + 1;
    std::vector<size_t> part_of(graph_.nodes.size(), none);
    for (size_t i = 0; i < parts.size(); ++i) {
      for (const int32_t index : parts[i].nodes) part_of[static_cast<size_t>(index)] = i;
    }
    std::vector<size_t> first_reader(static_cast<size_t>(graph_.num_values()), none);
    for (size_t index = graph_.nodes.size(); index-- > 0;) {
      const Node& node = graph_.nodes[index];
      if (places_[index] == Place::kAnywhere) {
        part_of[index] = PartOfShapeNode(node, first_reader, parts);
        parts[part_of[index]].nodes.push_back(static_cast<int32_t>(index));
      }
      for (const ValueId id : node.inputs) {
        if (id == kNoValue) continue;
        size_t& first = first_reader[static_cast<size_t>(id)];
        first = std::min(first, part_of[index]);
      }
    }
    for (Part& part : parts) std::ranges::sort(part.nodes);
    return parts;
  }

  size_t PartOfShapeNode(const Node& node, std::span<const size_t> first_reader,
                         std::vector<Part>& parts) const {
    size_t part = parts.size() + 1;
    bool is_output = false;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      part = std::min(part, first_reader[static_cast<size_t>(id)]);
      is_output = is_output || std::ranges::count(graph_.outputs, id) > 0;
    }
    if (!is_output && part < parts.size()) return part;
    // The last of the host is behind all that the shape may be of, or there is none.
    size_t last = parts.size() - 1;
    if (parts[last].on_device) {
      parts.emplace_back();
      ++last;
    }
    return last;
  }

  const Graph& graph_;
  const std::vector<int32_t> producers_;
  const std::vector<bool> is_shape_;  // per value
  /// Per value: a shape that the device cannot compute.
  std::vector<bool> host_shapes_;
  std::vector<Place> places_;  // per node
};

}  // namespace

std::vector<Part> PartitionGraph(const Graph& graph, const DeviceRule& supported,
                                 const std::function<void(const std::string&)>& log) {
  return Partitioner(graph, supported, log).Run();
}

}  // namespace verdict
