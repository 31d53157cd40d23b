#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// Who makes and who reads each value: what rewrites match against. A snapshot that costs O(nodes),
/// so that a pass takes one for all its rewrites. A rewrite moves no node: what it replaces it
/// leaves in place without an operator (Drop), and the pass sweeps those out at its end. Counts may
/// then be too high for values that a rewrite has dropped a reader of: a later rewrite declines.
class Uses {
 public:
  explicit Uses(const Graph& graph);

  /// `index` now makes `id`.
  void SetProducer(ValueId id, int32_t index) { producers_[static_cast<size_t>(id)] = index; }

  /// The node that makes `id`, or null.
  const Node* Producer(ValueId id) const {
    const int32_t index = ProducerIndex(id);
    return index < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(index)];
  }
  int32_t ProducerIndex(ValueId id) const {
    // A constant that a rewrite has added since has no producer.
    return id < 0 || id >= std::ssize(producers_) ? -1 : producers_[static_cast<size_t>(id)];
  }
  /// How often nodes and graph outputs read `id`.
  int32_t Count(ValueId id) const { return counts_[static_cast<size_t>(id)]; }
  /// True if exactly one node (and no graph output) reads `id`, once.
  bool HasSingleUse(ValueId id) const { return Count(id) == 1; }
  /// The node that alone reads `id`, once; null where there is none such.
  const Node* OnlyReader(ValueId id) const {
    const int32_t index = readers_[static_cast<size_t>(id)];
    return index < 0 || !HasSingleUse(id) ? nullptr : &graph_.nodes[static_cast<size_t>(index)];
  }

 private:
  const Graph& graph_;
  std::vector<int32_t> producers_;
  std::vector<int32_t> counts_;
  std::vector<int32_t> readers_;  // per value: a node that reads it, or -1
};

/// Takes a node out; its place stays until Sweep.
void Drop(Node& node);
/// Removes what was dropped.
void Sweep(Graph& graph);

/// The constant's elements as doubles, for f32 and f64 constants; nothing for everything else.
std::optional<std::vector<double>> FloatConstant(const Graph& graph, ValueId id);

/// The value of a float constant that has exactly one element.
std::optional<double> ScalarConstant(const Graph& graph, ValueId id);

/// A constant that scales or shifts the last axis: [C], [1,C], …, or one element, which is
/// repeated. Returns `channels` doubles, or nothing if `id` is no such constant.
std::optional<std::vector<double>> ChannelConstant(const Graph& graph, ValueId id,
                                                   int64_t channels);

/// y = x * scale + shift per channel, in double.
struct Affine {
  std::vector<double> scale, shift;
  bool IsFinite() const;
};

/// What a BatchNormalization of `channels` channels does; nothing where its parameters are no float
/// constants, or make an infinity or NaN.
std::optional<Affine> BatchNormAffine(const Graph& graph, const Node& node, int64_t channels);

/// True if every value can be a float: none becomes infinite, and none but 0 becomes 0.
bool FitFloat(std::span<const double> values);

/// A new f32 constant.
ValueId AddFloats(Graph& graph, std::string_view name, const Shape& shape,
                  std::span<const double> values);

}  // namespace verdict
