#include "backends/tensorrt/network_context.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <numeric>

#include "backends/tensorrt/builders.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::Dims;

/// TensorRT refuses names of over 4,095 bytes, and people do not read them.
constexpr size_t kMaxName = 200;

bool HasBit(uint32_t axes, int axis) { return (axes >> axis & 1U) != 0; }

int Rank(const ITensor* tensor) { return tensor->getDimensions().nbDims; }

nvinfer1::Permutation MakePermutation(std::span<const int> order) {
  nvinfer1::Permutation permutation{};
  std::ranges::copy(order, permutation.order);
  return permutation;
}

#if NV_TENSORRT_MAJOR < 11
/// Not what carries a loop, a constant or a cast: their types are given.
bool Computes(nvinfer1::LayerType type) {
  using nvinfer1::LayerType;
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
  if (type == LayerType::kCAST) return false;
#endif
  return type != LayerType::kCONSTANT && type != LayerType::kIDENTITY &&
         type != LayerType::kTRIP_LIMIT && type != LayerType::kRECURRENCE &&
         type != LayerType::kITERATOR && type != LayerType::kLOOP_OUTPUT;
}
#endif

}  // namespace

Result<Type> DeviceType(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat32:
      return Type::kFLOAT;
    case DataType::kFloat16:
      return Type::kHALF;
#if NV_TENSORRT_MAJOR >= 10
    case DataType::kBFloat16:
      return Type::kBF16;
#endif
    case DataType::kInt8:
      return Type::kINT8;
    case DataType::kInt32:
      return Type::kINT32;
    case DataType::kInt64:
      return kIndexType;
    case DataType::kBool:
      return Type::kBOOL;
    default:
      return Unimplemented("TensorRT has no tensors of " + std::string(DataTypeName(dtype)));
  }
}

Result<Dims> DeviceDims(const Shape& shape) {
  Dims dims{};
  dims.nbDims = shape.rank();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] > std::numeric_limits<int32_t>::max()) {
      return Unimplemented("an extent of " + std::to_string(shape[axis]) +
                           " is beyond what TensorRT takes");
    }
    dims.d[axis] = IsSymbol(shape[axis]) ? -1 : static_cast<int32_t>(shape[axis]);
  }
  return dims;
}

Dims MakeDims(std::span<const int64_t> values) {
  VERDICT_CHECK(values.size() <= static_cast<size_t>(Dims::MAX_DIMS));
  Dims dims{};
  dims.nbDims = static_cast<int32_t>(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    VERDICT_CHECK(values[i] >= std::numeric_limits<int32_t>::min() &&
                  values[i] <= std::numeric_limits<int32_t>::max());
    dims.d[i] = static_cast<int32_t>(values[i]);
  }
  return dims;
}

void NetworkContext::SetNode(const Node* node) { node_ = node; }

Status NetworkContext::Refused(std::string_view what) const {
  const std::string where = node_ == nullptr ? "the network" : Graph::Describe(*node_);
  return Internal(where + ": TensorRT refused " + std::string(what) +
                  "; its own message is in the log");
}

Result<ITensor*> NetworkContext::Tensor(ValueId id) {
  if (const auto found = tensors_.find(id); found != tensors_.end()) return found->second;
  const verdict::Constant* constant = graph_.constant(id);
  if (constant == nullptr) {
    return Internal("value '" + graph_.value(id).name + "' has no tensor in the network yet");
  }
  VERDICT_ASSIGN_OR_RETURN(const Dims dims, DeviceDims(constant->shape));
  const auto count = constant->view().size();
  ITensor* tensor = nullptr;
  if (constant->dtype == DataType::kBool) {
    const auto* flags = static_cast<const bool*>(constant->data);
    const std::vector<int32_t> numbers(flags, flags + count);
    VERDICT_ASSIGN_OR_RETURN(tensor, AddConstant(dims, StoredWeights(numbers)));
    VERDICT_ASSIGN_OR_RETURN(tensor, Cast(tensor, Type::kBOOL));
  } else if (constant->dtype == DataType::kInt64 && kIndexType == Type::kINT32) {
    const auto* numbers = static_cast<const int64_t*>(constant->data);
    std::vector<int32_t> narrow;
    narrow.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      if (numbers[i] != static_cast<int32_t>(numbers[i])) {
        return Unimplemented("constant '" + graph_.value(id).name + "' holds " +
                             std::to_string(numbers[i]) +
                             ", and this TensorRT has no integers of 64 bits");
      }
      narrow.push_back(static_cast<int32_t>(numbers[i]));
    }
    VERDICT_ASSIGN_OR_RETURN(tensor, AddConstant(dims, StoredWeights(narrow)));
  } else {
    VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Weights weights, ConstantWeights(id));
    VERDICT_ASSIGN_OR_RETURN(tensor, AddConstant(dims, weights));
  }
  tensors_[id] = tensor;
  return tensor;
}

Result<ITensor*> NetworkContext::Input(size_t index) {
  VERDICT_CHECK(HasInput(index));
  return Tensor(node_->inputs[index]);
}

bool NetworkContext::HasInput(size_t index) const {
  return node_ != nullptr && tensorrt::HasInput(*node_, index);
}

const Shape& NetworkContext::InputShape(size_t index) const {
  return graph_.value(node_->inputs[index]).shape;
}

const Shape& NetworkContext::OutputShape(size_t index) const {
  return graph_.value(node_->outputs[index]).shape;
}

void NetworkContext::Set(ValueId id, ITensor* tensor) {
  if (id == kNoValue) return;
  tensors_[id] = tensor;
  const Shape& shape = graph_.value(id).shape;
  if (shape.rank() != Rank(tensor)) return;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (IsSymbol(shape[axis])) symbols_.try_emplace(shape[axis], SymbolSource{tensor, axis});
  }
}

Status NetworkContext::SetOutput(size_t index, Result<ITensor*> tensor) {
  if (!tensor.ok()) return tensor.status();
  if (index < node_->outputs.size()) Set(node_->outputs[index], *tensor);
  return OkStatus();
}

Result<nvinfer1::Weights> NetworkContext::ConstantWeights(ValueId id) {
  const verdict::Constant* constant = graph_.constant(id);
  if (constant == nullptr) {
    return Unimplemented("'" + (id == kNoValue ? "an input" : graph_.value(id).name) +
                         "' must be a constant");
  }
  if (constant->dtype == DataType::kBool ||
      (constant->dtype == DataType::kInt64 && kIndexType == Type::kINT32)) {
    return Unimplemented("TensorRT takes no weights of " +
                         std::string(DataTypeName(constant->dtype)));
  }
  VERDICT_ASSIGN_OR_RETURN(const Type type, DeviceType(constant->dtype));
  named_weights_.insert(id);
  return nvinfer1::Weights{type, constant->data, constant->view().size()};
}

nvinfer1::Weights NetworkContext::StoredBytes(Type type, const void* data, size_t bytes,
                                              int64_t count) {
  const auto* begin = static_cast<const std::byte*>(data);
  const auto& buffer = storage_.buffers.emplace_back(begin, begin + bytes);
  return {type, buffer.data(), count};
}

nvinfer1::Weights NetworkContext::StoredWeights(std::span<const float> values) {
  return StoredBytes(Type::kFLOAT, values.data(), values.size_bytes(), std::ssize(values));
}

nvinfer1::Weights NetworkContext::StoredWeights(std::span<const int32_t> values) {
  return StoredBytes(Type::kINT32, values.data(), values.size_bytes(), std::ssize(values));
}

#if NV_TENSORRT_MAJOR >= 10
nvinfer1::Weights NetworkContext::StoredWeights(std::span<const int64_t> values) {
  return StoredBytes(Type::kINT64, values.data(), values.size_bytes(), std::ssize(values));
}
#endif

Result<ITensor*> NetworkContext::AddConstant(const Dims& dims, nvinfer1::Weights weights) {
  return Output(network_.addConstant(dims, weights));
}

Result<ITensor*> NetworkContext::Floats(std::span<const int64_t> dims,
                                        std::span<const float> values) {
  return AddConstant(MakeDims(dims), StoredWeights(values));
}

Result<ITensor*> NetworkContext::Indices(std::span<const int64_t> values) {
  Dims dims{};
  dims.nbDims = 1;
  dims.d[0] = static_cast<int32_t>(values.size());
#if NV_TENSORRT_MAJOR >= 10
  return AddConstant(dims, StoredWeights(values));
#else
  std::vector<int32_t> narrow;
  for (const int64_t value : values) {
    if (value != static_cast<int32_t>(value)) {
      return Unimplemented("an index of " + std::to_string(value) + " does not fit 32 bits");
    }
    narrow.push_back(static_cast<int32_t>(value));
  }
  return AddConstant(dims, StoredWeights(narrow));
#endif
}

Result<ITensor*> NetworkContext::Scalar(Type type, double value, int rank) {
  Dims dims{};
  dims.nbDims = rank;
  std::fill_n(dims.d, rank, 1);
  if (type == Type::kINT32) {
    const auto number = static_cast<int32_t>(value);
    return AddConstant(dims, StoredWeights(std::span(&number, 1)));
  }
#if NV_TENSORRT_MAJOR >= 10
  if (type == Type::kINT64) {
    const auto number = static_cast<int64_t>(value);
    return AddConstant(dims, StoredWeights(std::span(&number, 1)));
  }
#endif
  if (type != Type::kFLOAT) return Refused("a number of a type that has none");
  const auto number = static_cast<float>(value);
  return AddConstant(dims, StoredWeights(std::span(&number, 1)));
}

Result<ITensor*> NetworkContext::Output(nvinfer1::ILayer* layer, int index) {
  if (layer == nullptr) return Refused("a layer");
  if (index == 0) {
    std::string name = "constant";
    if (node_ != nullptr) {
      name = (node_->name.empty() ? node_->op : node_->name).substr(0, kMaxName);
    }
    if (node_ != nullptr && node_->name.empty() && !node_->outputs.empty() &&
        node_->outputs[0] != kNoValue) {
      name += ":" + graph_.value(node_->outputs[0]).name.substr(0, kMaxName);
    }
    // TensorRT wants no two alike; nodes, and layers of one node, may share a name.
    const int same = layers_of_name_[name]++;
    if (same > 0) name += "#" + std::to_string(same);
    layer->setName(name.c_str());
  }
  ITensor* tensor = layer->getOutput(index);
  if (tensor == nullptr || tensor->getDimensions().nbDims < 0) return Refused("a layer's shapes");
  return tensor;
}

Result<ITensor*> NetworkContext::Activation(ITensor* input, nvinfer1::ActivationType type) {
  return Activation(input, type, 0.0F, 0.0F);
}

Result<ITensor*> NetworkContext::Activation(ITensor* input, nvinfer1::ActivationType type,
                                            float alpha, float beta) {
  const bool is_scalar = Rank(input) == 0;  // the layer wants an axis
  if (is_scalar) {
    VERDICT_ASSIGN_OR_RETURN(input, Unsqueeze(input, 1));
  }
  nvinfer1::IActivationLayer* layer = network_.addActivation(*input, type);
  if (layer != nullptr) {
    layer->setAlpha(alpha);
    layer->setBeta(beta);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const output, Output(layer));
  return is_scalar ? Squeeze(output, 1) : output;
}

Result<ITensor*> NetworkContext::Unary(ITensor* input, nvinfer1::UnaryOperation operation) {
  const bool is_scalar = Rank(input) == 0;  // the layer wants an axis
  if (is_scalar) {
    VERDICT_ASSIGN_OR_RETURN(input, Unsqueeze(input, 1));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const output, Output(network_.addUnary(*input, operation)));
  return is_scalar ? Squeeze(output, 1) : output;
}

Result<ITensor*> NetworkContext::Elementwise(ITensor* a, ITensor* b,
                                             nvinfer1::ElementWiseOperation operation) {
  const int rank = std::max(Rank(a), Rank(b));
  VERDICT_ASSIGN_OR_RETURN(a, RaiseRank(a, rank));
  VERDICT_ASSIGN_OR_RETURN(b, RaiseRank(b, rank));
  return Output(network_.addElementWise(*a, *b, operation));
}

Result<ITensor*> NetworkContext::Elementwise(ITensor* a, double b,
                                             nvinfer1::ElementWiseOperation operation,
                                             bool number_first) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const number, Scalar(a->getType(), b, Rank(a)));
  return number_first ? Elementwise(number, a, operation) : Elementwise(a, number, operation);
}

Result<ITensor*> NetworkContext::Select(ITensor* condition, ITensor* a, ITensor* b) {
  const int rank = std::max({Rank(condition), Rank(a), Rank(b)});
  VERDICT_ASSIGN_OR_RETURN(condition, RaiseRank(condition, rank));
  VERDICT_ASSIGN_OR_RETURN(a, RaiseRank(a, rank));
  VERDICT_ASSIGN_OR_RETURN(b, RaiseRank(b, rank));
  return Output(network_.addSelect(*condition, *a, *b));
}

void NetworkContext::KeepFloat32([[maybe_unused]] int first_layer) {
#if NV_TENSORRT_MAJOR < 11  // from there on a layer's type is its inputs'
  for (int i = first_layer; i < network_.getNbLayers(); ++i) {
    nvinfer1::ILayer* const layer = network_.getLayer(i);
    if (!Computes(layer->getType()) || layer->getNbOutputs() == 0 ||
        layer->getOutput(0)->getType() != Type::kFLOAT) {
      continue;
    }
    layer->setPrecision(Type::kFLOAT);
    layer->setOutputType(0, Type::kFLOAT);
  }
#endif
}

Result<ITensor*> NetworkContext::Reduce(ITensor* input, nvinfer1::ReduceOperation operation,
                                        uint32_t axes, bool keep_dimensions) {
  if (axes == 0) return input;
  return Output(network_.addReduce(*input, operation, axes, keep_dimensions));
}

Result<ITensor*> NetworkContext::Cast(ITensor* input, Type type) {
  if (input->getType() == type) return input;
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
  return Output(network_.addCast(*input, type));
#else
  nvinfer1::IIdentityLayer* layer = network_.addIdentity(*input);
  if (layer != nullptr) layer->setOutputType(0, type);
  return Output(layer);
#endif
}

Result<ITensor*> NetworkContext::Transpose(ITensor* input, std::span<const int> permutation) {
  nvinfer1::IShuffleLayer* layer = network_.addShuffle(*input);
  if (layer != nullptr) layer->setFirstTranspose(MakePermutation(permutation));
  return Output(layer);
}

Result<ITensor*> NetworkContext::Reshape(ITensor* input, std::span<const int64_t> dims) {
  nvinfer1::IShuffleLayer* layer = network_.addShuffle(*input);
  if (layer != nullptr) layer->setReshapeDimensions(MakeDims(dims));
  return Output(layer);
}

Result<ITensor*> NetworkContext::Reshape(ITensor* input, ITensor* dims) {
  nvinfer1::IShuffleLayer* layer = network_.addShuffle(*input);
  if (layer != nullptr) {
    layer->setInput(1, *dims);
    layer->setZeroIsPlaceholder(false);
  }
  return Output(layer);
}

Result<ITensor*> NetworkContext::ReshapeTo(ITensor* input, const Shape& from, const Shape& to) {
  std::vector<int64_t> dims;
  int unknown = 0;
  for (int axis = 0; axis < to.rank(); ++axis) {
    const bool kept = axis < from.rank() && from[axis] == to[axis];
    dims.push_back(!IsSymbol(to[axis]) ? to[axis] : kept ? 0 : -1);
    unknown += dims.back() == -1 ? 1 : 0;
  }
  if (unknown <= 1) return Reshape(input, dims);
  for (int axis = 0; axis < from.rank(); ++axis) {  // the input itself is the nearest source
    if (IsSymbol(from[axis])) symbols_.try_emplace(from[axis], SymbolSource{input, axis});
  }
  std::vector<ITensor*> parts;
  bool rest = false;
  for (const Dim dim : to.dims()) {
    if (IsSymbol(dim) && !symbols_.contains(dim)) {
      if (rest)
        return Unimplemented("two extents of the new shape are not known from other shapes");
      rest = true;
      VERDICT_ASSIGN_OR_RETURN(parts.emplace_back(), Indices(std::array<int64_t, 1>{-1}));
    } else {
      VERDICT_ASSIGN_OR_RETURN(parts.emplace_back(), Extent(dim));
    }
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const target, Concat(parts, 0));
  return Reshape(input, target);
}

Result<ITensor*> NetworkContext::RaiseRank(ITensor* input, int rank) {
  const int added = rank - Rank(input);
  return added <= 0 ? input : Unsqueeze(input, (1U << added) - 1);
}

Result<ITensor*> NetworkContext::Unsqueeze(ITensor* input, uint32_t axes) {
  const Dims from = input->getDimensions();
  const int rank = from.nbDims + std::popcount(axes);
  std::vector<int64_t> dims;
  std::vector<int> order;  // of the extents with all new ones put last
  int unknown = 0;
  for (int axis = 0, source = 0, added = from.nbDims; axis < rank; ++axis) {
    if (HasBit(axes, axis)) {
      dims.push_back(1);
      order.push_back(added++);
      continue;
    }
    dims.push_back(source == axis ? 0 : from.d[source]);
    unknown += dims.back() == -1 ? 1 : 0;
    order.push_back(source++);
  }
  if (unknown <= 1) return Reshape(input, dims);
  nvinfer1::IShuffleLayer* layer = network_.addShuffle(*input);
  if (layer != nullptr) {
    std::vector<int64_t> with_ones(static_cast<size_t>(from.nbDims), 0);
    with_ones.resize(static_cast<size_t>(rank), 1);
    layer->setReshapeDimensions(MakeDims(with_ones));
    layer->setSecondTranspose(MakePermutation(order));
  }
  return Output(layer);
}

Result<ITensor*> NetworkContext::Squeeze(ITensor* input, uint32_t axes) {
  const Dims from = input->getDimensions();
  std::vector<int64_t> dims;
  std::vector<int> order, dropped;
  int unknown = 0;
  for (int axis = 0; axis < from.nbDims; ++axis) {
    if (HasBit(axes, axis)) {
      dropped.push_back(axis);
      continue;
    }
    dims.push_back(axis == std::ssize(dims) ? 0 : from.d[axis]);
    unknown += dims.back() == -1 ? 1 : 0;
    order.push_back(axis);
  }
  if (unknown <= 1) return Reshape(input, dims);
  order.insert(order.end(), dropped.begin(), dropped.end());
  VERDICT_ASSIGN_OR_RETURN(ITensor* const moved, Transpose(input, order));
  std::ranges::fill(dims, 0);
  return Reshape(moved, dims);
}

Result<ITensor*> NetworkContext::Slice(ITensor* input, std::span<const int64_t> starts,
                                       std::span<const int64_t> sizes,
                                       std::span<const int64_t> strides) {
  return Output(network_.addSlice(*input, MakeDims(starts), MakeDims(sizes), MakeDims(strides)));
}

Result<ITensor*> NetworkContext::Slice(ITensor* input, ITensor* starts, ITensor* sizes,
                                       ITensor* strides) {
  const std::vector<int64_t> none(static_cast<size_t>(Rank(input)), 0);
  const Dims dims = MakeDims(none);
  nvinfer1::ISliceLayer* layer = network_.addSlice(*input, dims, dims, dims);
  if (layer != nullptr) {
    layer->setInput(1, *starts);
    layer->setInput(2, *sizes);
    layer->setInput(3, *strides);
  }
  return Output(layer);
}

Result<ITensor*> NetworkContext::Concat(std::span<ITensor* const> inputs, int axis) {
  if (inputs.size() == 1) return inputs[0];
  nvinfer1::IConcatenationLayer* layer =
      network_.addConcatenation(inputs.data(), static_cast<int32_t>(inputs.size()));
  if (layer != nullptr) layer->setAxis(axis);
  return Output(layer);
}

Result<ITensor*> NetworkContext::ShapeOf(ITensor* input) {
  return Output(network_.addShape(*input));
}

Result<ITensor*> NetworkContext::Extent(Dim dim) {
  if (!IsSymbol(dim)) return Indices(std::array{dim});
  if (const auto found = extents_.find(dim); found != extents_.end()) return found->second;
  const auto source = symbols_.find(dim);
  if (source == symbols_.end()) {
    return Unimplemented("no tensor on the device has the extent '" + graph_.SymbolName(dim) + "'");
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const shape, ShapeOf(source->second.tensor));
  const std::array<int64_t, 1> start{source->second.axis}, one{1};
  VERDICT_ASSIGN_OR_RETURN(ITensor* const extent, Slice(shape, start, one, one));
  extents_[dim] = extent;
  return extent;
}

Result<ITensor*> NetworkContext::ShapeTensor(const Shape& shape) {
  if (shape.IsStatic()) return Indices(shape.dims());
  std::vector<ITensor*> parts;
  for (const Dim dim : shape.dims()) {
    VERDICT_ASSIGN_OR_RETURN(parts.emplace_back(), Extent(dim));
  }
  return Concat(parts, 0);
}

Status NetworkContext::NameWeights() {
  if (!options_.name_weights) return OkStatus();
  for (const ValueId id : named_weights_) {
    const verdict::Constant& constant = *graph_.constant(id);
    VERDICT_ASSIGN_OR_RETURN(const Type type, DeviceType(constant.dtype));
    const nvinfer1::Weights weights{type, constant.data, constant.view().size()};
    const std::string name = "value:" + std::to_string(id);
    if (!network_.setWeightsName(weights, name.c_str())) {
      return Internal("TensorRT refused the name '" + name + "' for the weights of '" +
                      graph_.value(id).name + "'");
    }
  }
  return OkStatus();
}

}  // namespace verdict::tensorrt
