#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "ir/graph.h"

namespace verdict {

/// Typed look-up of a node's attributes; the default stands where the attribute is absent or has
/// another type (VerifyGraph has reported a wrong type before any kernel runs). Never allocates.
class AttributeReader {
 public:
  explicit AttributeReader(const Node& node) : node_(node) {}
  int64_t Int(std::string_view name, int64_t fallback) const;
  float Float(std::string_view name, float fallback) const;
  std::string_view String(std::string_view name, std::string_view fallback) const;
  std::span<const int64_t> Ints(std::string_view name) const;
  std::span<const float> Floats(std::string_view name) const;
  std::span<const std::string> Strings(std::string_view name) const;
  bool Has(std::string_view name) const;

 private:
  const Node& node_;
};

/// What a shape rule sees. An input that is left out has dtype kUndefined. An input's `data` is
/// null where its contents are not known (yet); rules that need contents (Reshape's target) then
/// answer new symbols.
struct InferContext {
  const Node& node;
  std::span<const TensorView> inputs;
  std::span<TensorView> outputs;  // the rule sets dtype and shape of each
  /// The graph that hands out symbols; null at run time, where every extent is known.
  Graph* graph = nullptr;

  AttributeReader attributes() const { return AttributeReader(node); }
  bool has_input(size_t index) const {
    return index < inputs.size() && inputs[index].dtype != DataType::kUndefined;
  }
  /// Sets an output that the node has; does nothing for one it leaves out.
  void SetOutput(size_t index, DataType dtype, const Shape& shape) {
    if (index < outputs.size()) outputs[index] = {dtype, shape, nullptr};
  }
  /// An extent that cannot be told before the contents are known. At run time that is an error the
  /// caller of the rule reports (the shape is not static).
  Dim UnknownDim() const { return graph != nullptr ? graph->NewSymbol() : Dim{-1}; }
  /// kInvalidArgument with the node's description before `message`.
  Status Error(const std::string& message,
               std::source_location place = std::source_location::current()) const;
};

/// What a kernel sees: dense row-major tensors that the caller has allocated. Kernels never
/// allocate.
struct KernelContext {
  const Node& node;
  std::span<const TensorView> inputs;   // dtype kUndefined where left out
  std::span<const TensorView> outputs;  // data null where left out
  /// Scratch of at least what the operator's (or tactic's) scratch rule asked for, 64-byte aligned.
  std::span<std::byte> scratch;
  /// A tactic's packed weights, 64-byte aligned; empty for reference kernels.
  std::span<const std::byte> packed;

  AttributeReader attributes() const { return AttributeReader(node); }
  bool has_input(size_t index) const {
    return index < inputs.size() && inputs[index].dtype != DataType::kUndefined;
  }
  bool has_output(size_t index) const {
    return index < outputs.size() && outputs[index].data != nullptr;
  }
  template <typename T>
  std::span<const T> in(size_t index) const {
    return inputs[index].as<const T>();
  }
  template <typename T>
  std::span<T> out(size_t index) const {
    return outputs[index].as<T>();
  }
  /// `count` elements of scratch starting `offset_bytes` in; both must fit (a scratch rule that
  /// asked too little is our bug).
  template <typename T>
  std::span<T> Scratch(size_t count, size_t offset_bytes = 0) const {
    VERDICT_CHECK(offset_bytes + count * sizeof(T) <= scratch.size());
    return {reinterpret_cast<T*>(scratch.data() + offset_bytes), count};
  }
  /// kInvalidArgument with the node's description before `message`.
  Status Error(const std::string& message,
               std::source_location place = std::source_location::current()) const;
};

enum class AttributeType : uint8_t { kInt, kFloat, kString, kInts, kFloats, kStrings };

struct AttributeSpec {
  std::string_view name;
  AttributeType type;
  bool required = false;
};

inline constexpr int kVariadic = 1 << 30;

/// One operator: its schema, shape rule and reference kernel. One constant a file, listed in
/// ops/list.cc. Semantics are ONNX's newest version of the operator of that name unless the comment
/// above it says otherwise; the importer translates older versions. Operators of our own are listed
/// in ops/README.md.
struct OpDef {
  std::string_view name;
  int min_inputs;
  int max_inputs;  // or kVariadic
  int min_outputs;
  int max_outputs;
  std::span<const AttributeSpec> attributes;

  /// Sets outputs' types and shapes; refuses inputs whose types, ranks or extents do not fit, by
  /// name. Must not allocate when it succeeds. Extents may be symbols, except at run time.
  Status (*infer)(InferContext& context);

  /// The reference kernel: plain and obviously right. Must not allocate.
  Status (*run)(KernelContext& context);

  /// Bytes of scratch for these (static) shapes; null: none. Must grow with the extents.
  size_t (*scratch_bytes)(const Node& node, std::span<const TensorView> inputs,
                          std::span<const TensorView> outputs) = nullptr;

  /// Output 0 has input 0's elements in the same order (Reshape, Identity): the planner gives both
  /// one buffer and `run` is not called. `run` still must work (it copies).
  bool is_view = false;

  /// Checks what the kernel trusts about constant inputs' contents (ids in range, keys sorted);
  /// VerifyGraph calls it once a graph. Null: the kernel trusts nothing.
  Status (*verify)(const Graph& graph, const Node& node) = nullptr;
};

/// All operators, sorted by name.
std::span<const OpDef* const> AllOps();
/// The operator of that name, or null.
const OpDef* FindOp(std::string_view name);

}  // namespace verdict
