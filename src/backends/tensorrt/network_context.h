#pragma once

#include <NvInfer.h>

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tensorrt/network_builder.h"
#include "ir/graph.h"

namespace verdict::tensorrt {

using nvinfer1::ITensor;
/// TensorRT's element types; `DataType` stays ours.
using Type = nvinfer1::DataType;

/// What Shape layers give and what int64 becomes.
#if NV_TENSORRT_MAJOR >= 10
inline constexpr Type kIndexType = Type::kINT64;
#else
inline constexpr Type kIndexType = Type::kINT32;
#endif

/// The element type that stands for ours on the device: int64 as kIndexType.
/// Errors: kUnimplemented: none does (f64, strings, the smaller integers; bf16 below TensorRT 10).
Result<Type> DeviceType(DataType dtype);

/// Extents for TensorRT, symbols as -1. Errors: kUnimplemented: an extent beyond int32.
Result<nvinfer1::Dims> DeviceDims(const Shape& shape);
nvinfer1::Dims MakeDims(std::span<const int64_t> dims);

/// A network while it is being built: which tensor stands for which value, and makers of the small
/// layers that the builders of all operators share. Makers check for null layers, and name what
/// they add after the current node; their errors are kInternal unless said otherwise.
///
/// All computing is in float32 (as in our operators); a tensor of halves comes out of Cast alone.
class NetworkContext {
 public:
  NetworkContext(const Graph& graph, const NetworkOptions& options,
                 nvinfer1::INetworkDefinition& network, NetworkStorage& storage)
      : graph_(graph), options_(options), network_(network), storage_(storage) {}

  const Graph& graph() const { return graph_; }
  const NetworkOptions& options() const { return options_; }
  nvinfer1::INetworkDefinition& network() { return network_; }

  /// Whose layers are added from now on (BuildNetwork calls it); null: none's.
  void SetNode(const Node* node);

  // Values.

  /// The tensor of a value that was computed, or of a constant (a constant layer, added at its
  /// first use: int64 as kIndexType, bool by a cast). Errors: kUnimplemented: DeviceType has none
  /// for it, or an int64 does not fit.
  Result<ITensor*> Tensor(ValueId id);
  /// Tensor of the current node's input, which must not be left out.
  Result<ITensor*> Input(size_t index);
  bool HasInput(size_t index) const;
  /// The IR's shape of the current node's input or output.
  const Shape& InputShape(size_t index) const;
  const Shape& OutputShape(size_t index) const;

  /// From now on `tensor` is the value. kNoValue is ignored.
  void Set(ValueId id, ITensor* tensor);
  /// Set for the current node's output.
  Status SetOutput(size_t index, Result<ITensor*> tensor);

  // Weights.

  /// A constant as weights of a layer, in its own type (f32, f16, i8, i32; bf16 from TensorRT 10),
  /// without a copy: refit can replace it. Errors: kUnimplemented (no constant, or of another
  /// type).
  Result<nvinfer1::Weights> ConstantWeights(ValueId id);
  /// Weights with a copy of `values`, which lives as long as the storage. Refit cannot replace
  /// them.
  nvinfer1::Weights StoredWeights(std::span<const float> values);
  nvinfer1::Weights StoredWeights(std::span<const int32_t> values);
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::Weights StoredWeights(std::span<const int64_t> values);
#endif
  nvinfer1::Weights StoredBytes(Type type, const void* data, size_t bytes, int64_t count);

  Result<ITensor*> AddConstant(const nvinfer1::Dims& dims, nvinfer1::Weights weights);
  Result<ITensor*> Floats(std::span<const int64_t> dims, std::span<const float> values);
  /// `values` as a list (rank 1) of kIndexType.
  Result<ITensor*> Indices(std::span<const int64_t> values);
  /// One number of `type` (kFLOAT, kINT32, kINT64) with `rank` extents of 1.
  Result<ITensor*> Scalar(Type type, double value, int rank);

  // Layers.

  /// The layer's output, after naming the layer; a null layer is an error.
  Result<ITensor*> Output(nvinfer1::ILayer* layer, int index = 0);

  /// Those from the first one on compute in float32 also where the engine may take halves or int8.
  void KeepFloat32(int first_layer);

  Result<ITensor*> Activation(ITensor* input, nvinfer1::ActivationType type);
  Result<ITensor*> Activation(ITensor* input, nvinfer1::ActivationType type, float alpha,
                              float beta);
  Result<ITensor*> Unary(ITensor* input, nvinfer1::UnaryOperation operation);
  /// Broadcasts as ONNX does: the tensor of lower rank gets leading extents of 1.
  Result<ITensor*> Elementwise(ITensor* a, ITensor* b, nvinfer1::ElementWiseOperation operation);
  /// With a number of a's type at b's place (or at a's: `number_first`).
  Result<ITensor*> Elementwise(ITensor* a, double b, nvinfer1::ElementWiseOperation operation,
                               bool number_first = false);
  /// a where condition (a bool), else b; broadcasts like Elementwise.
  Result<ITensor*> Select(ITensor* condition, ITensor* a, ITensor* b);
  /// Reduces the axes of `axes` (one bit each).
  Result<ITensor*> Reduce(ITensor* input, nvinfer1::ReduceOperation operation, uint32_t axes,
                          bool keep_dimensions);
  /// To another element type, as our Cast computes it where TensorRT's does too (see
  /// build_cast.cc). The same tensor where the type is the same.
  Result<ITensor*> Cast(ITensor* input, Type type);

  Result<ITensor*> Transpose(ITensor* input, std::span<const int> permutation);
  /// Extents of 0 are the input's at the same place, at most one may be -1.
  Result<ITensor*> Reshape(ITensor* input, std::span<const int64_t> dims);
  /// To what a list of kIndexType says; 0 means 0 there, and at most one element may be -1.
  Result<ITensor*> Reshape(ITensor* input, ITensor* dims);
  /// To a shape of the IR with the same number of elements: by whichever of the above it takes.
  /// `from` is the IR's shape of `input`. Errors: kUnimplemented, as CanReshape.
  Result<ITensor*> ReshapeTo(ITensor* input, const Shape& from, const Shape& to);
  /// Leading extents of 1 until the rank is `rank`.
  Result<ITensor*> RaiseRank(ITensor* input, int rank);
  /// Extents of 1 put in where the result has the axes of `axes` (one bit each).
  Result<ITensor*> Unsqueeze(ITensor* input, uint32_t axes);
  /// Takes out the axes of `axes`, whose extents are 1.
  Result<ITensor*> Squeeze(ITensor* input, uint32_t axes);
  /// Static bounds; sizes of -1 are not allowed.
  Result<ITensor*> Slice(ITensor* input, std::span<const int64_t> starts,
                         std::span<const int64_t> sizes, std::span<const int64_t> strides);
  /// Any of them computed: lists of kIndexType that TensorRT knows from shapes alone.
  Result<ITensor*> Slice(ITensor* input, ITensor* starts, ITensor* sizes, ITensor* strides);
  Result<ITensor*> Concat(std::span<ITensor* const> inputs, int axis);

  // Shapes as tensors of kIndexType, rank 1, from shapes alone: what Reshape, Slice, Expand take.

  Result<ITensor*> ShapeOf(ITensor* input);
  /// One extent, [1]: a number, or a symbol that some tensor of the network has as an extent.
  /// Errors: kUnimplemented: no tensor has the symbol.
  Result<ITensor*> Extent(Dim dim);
  Result<ITensor*> ShapeTensor(const Shape& shape);

  /// After the last node: names the weights where the options say so.
  Status NameWeights();

 private:
  struct SymbolSource {
    ITensor* tensor;
    int axis;
  };

  Status Refused(std::string_view what) const;  // kInternal, naming the node

  const Graph& graph_;
  const NetworkOptions& options_;
  nvinfer1::INetworkDefinition& network_;
  NetworkStorage& storage_;
  const Node* node_ = nullptr;
  std::map<std::string, int> layers_of_name_;
  std::map<ValueId, ITensor*> tensors_;
  std::map<Dim, SymbolSource> symbols_;
  std::map<Dim, ITensor*> extents_;
  std::set<ValueId> named_weights_;
};

/// How one operator's nodes become layers.
struct NodeBuilder {
  std::string_view op;
  /// OK, or kUnimplemented with the reason in a few words (Decline). The element types of all
  /// inputs and outputs have been checked to have a DeviceType.
  Status (*supports)(const Graph& graph, const Node& node);
  /// Adds layers for a node that is supported and sets its outputs.
  Status (*add)(NetworkContext& context, const Node& node);
};

}  // namespace verdict::tensorrt
