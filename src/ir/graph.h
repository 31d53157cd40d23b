#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/types.h"

namespace verdict {

/// Constant bytes with an owner: heap, or a mapped file that stays mapped as long as somebody holds
/// this. Immutable and shared between threads. For kString, `data` holds std::string_view elements.
struct Constant {
  DataType dtype = DataType::kUndefined;
  Shape shape;  // static
  const void* data = nullptr;
  std::shared_ptr<const void> owner;

  TensorView view() const { return {dtype, shape, const_cast<void*>(data)}; }

  /// Uninitialised heap storage aligned to 64 bytes; `shape` must be static and its size must have
  /// been checked. Returns the constant and where to write its elements. Throws std::bad_alloc.
  static std::pair<Constant, void*> Allocate(DataType dtype, const Shape& shape);

  /// A numeric constant with a copy of `values`.
  template <typename T>
  static Constant Of(const Shape& shape, std::span<const T> values) {
    VERDICT_CHECK(static_cast<int64_t>(values.size()) == NumElements(shape).value());
    auto [constant, data] = Allocate(kDataTypeOf<T>, shape);
    std::copy(values.begin(), values.end(), static_cast<T*>(data));
    return constant;
  }

  /// A kString constant that owns copies of `values`.
  static Constant OfStrings(const Shape& shape, std::vector<std::string> values);
};

/// An attribute of a node. Big arrays (weights, trees) are constants among the inputs, never
/// attributes.
using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

using ValueId = int32_t;
/// Stands for an optional input or output that is left out.
inline constexpr ValueId kNoValue = -1;

/// One SSA value: a graph input, a constant, or an output of exactly one node.
struct Value {
  std::string name;  // unique in the graph, not empty
  DataType dtype = DataType::kUndefined;
  Shape shape;                               // may hold symbols
  std::shared_ptr<const Constant> constant;  // set for constants only
};

/// One operation. Which inputs, outputs and attributes it has, the operator's schema in ops/ says.
struct Node {
  std::string name;  // for messages; may be empty
  std::string op;    // an operator of ops/list.cc, for example "Gemm"
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attributes attributes;
};

/// A typed SSA graph. Nodes are kept in an order in which each comes after its inputs' producers.
/// Passes change it in place; once an engine is made of it, it is immutable and shared between
/// threads.
class Graph {
 public:
  std::string name;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<Node> nodes;

  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  Value& value(ValueId id) { return values_[static_cast<size_t>(id)]; }
  int32_t num_values() const { return static_cast<int32_t>(values_.size()); }

  /// Adds a value. A name that is empty or taken is made unique by a suffix.
  ValueId AddValue(std::string_view name, DataType dtype, const Shape& shape);
  ValueId AddConstant(std::string_view name, Constant constant);
  /// Adds a value that is also a graph input.
  ValueId AddInput(std::string_view name, DataType dtype, const Shape& shape);

  /// The value of that name, or kNoValue.
  ValueId FindValue(std::string_view name) const;
  void RenameValue(ValueId id, std::string_view name);

  /// The constant behind `id`, or null (also for kNoValue).
  const Constant* constant(ValueId id) const;

  /// The symbol of that name, made on first use; a negative Dim.
  Dim Symbol(std::string_view name);
  /// A symbol nobody has used: an extent about which nothing is known.
  Dim NewSymbol();
  /// The name of a symbol of this graph.
  const std::string& SymbolName(Dim symbol) const;
  int32_t num_symbols() const { return static_cast<int32_t>(symbols_.size()); }
  /// "[N,16]" with this graph's symbol names.
  std::string ShapeText(const Shape& shape) const;

  /// Index of the node that makes each value, -1 for inputs and constants. O(nodes).
  std::vector<int32_t> Producers() const;
  /// How often each value is read by nodes and by the graph's outputs. O(nodes).
  std::vector<int32_t> UseCounts() const;
  /// Bytes of all numeric constants. O(values).
  uint64_t ConstantBytes() const;
  /// Makes every node input and graph output that reads `from` read `to`.
  void ReplaceUses(ValueId from, ValueId to);
  /// Drops every value that is neither a graph input, a graph output nor touched by a node, and
  /// every symbol that no remaining shape uses. Ids change.
  void RemoveUnusedValues();
  /// "node 'dense1/MatMul' (MatMul)": how messages name a node.
  static std::string Describe(const Node& node);

 private:
  std::string UniqueName(std::string_view name);

  std::vector<Value> values_;
  std::map<std::string, ValueId, std::less<>> names_;
  std::map<std::string, size_t, std::less<>> next_suffix_;  // per base name, of UniqueName
  std::vector<std::string> symbols_;
  std::map<std::string, Dim, std::less<>> symbol_ids_;
  size_t next_symbol_ = 0;  // of NewSymbol
};

}  // namespace verdict
