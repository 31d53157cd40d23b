#include <algorithm>

#include "ops/gather_index.h"
#include "ops/list.h"
#include "ops/scatter.h"
#include "ops/strided.h"

namespace verdict {
namespace {

// GatherND and ScatterND: the last axis of `indices` holds the first coordinates of a block of the
// data.

/// The block an index of `depth` coordinates names, after `batch` shared axes.
struct Blocks {
  int batch = 0;
  int depth = 0;
  int64_t size = 1;  // elements of a block
};

Blocks BlocksOf(const Shape& data, const Shape& indices, int batch) {
  Blocks blocks{batch, static_cast<int>(indices[indices.rank() - 1])};
  for (int axis = batch + blocks.depth; axis < data.rank(); ++axis) blocks.size *= data[axis];
  return blocks;
}

Status CheckIndices(const InferContext& context, int64_t batch) {
  const Shape& data = context.inputs[0].shape;
  const Shape& indices = context.inputs[1].shape;
  VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "data", 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "indices", 1));
  if (batch < 0 || batch >= std::min(data.rank(), indices.rank())) {
    return context.Error("batch_dims is " + std::to_string(batch) + ", but the data has shape " +
                         ShapeText(context, data) + " and the indices " +
                         ShapeText(context, indices));
  }
  const Dim depth = indices[indices.rank() - 1];
  if (IsSymbol(depth)) {
    return Unimplemented(Graph::Describe(context.node) +
                         ": the last axis of the indices must be known");
  }
  bool fits = depth >= 1 && batch + depth <= data.rank();
  for (int axis = 0; fits && axis < batch; ++axis) fits = MayEqual(data[axis], indices[axis]);
  if (fits) return OkStatus();
  return context.Error("indices of shape " + ShapeText(context, indices) +
                       " do not fit data of shape " + ShapeText(context, data));
}

/// The shape of one block per index.
Status BlockShape(const InferContext& context, int batch, Shape* shape) {
  const Shape& data = context.inputs[0].shape;
  const Shape& indices = context.inputs[1].shape;
  const int begin = batch + static_cast<int>(indices[indices.rank() - 1]);
  if (indices.rank() - 1 + data.rank() - begin > Shape::kMaxRank) {
    return context.Error("the output would have more than " + std::to_string(Shape::kMaxRank) +
                         " axes");
  }
  *shape = Shape(indices.dims().first(static_cast<size_t>(indices.rank() - 1)));
  for (int axis = begin; axis < data.rank(); ++axis) shape->push_back(data[axis]);
  return OkStatus();
}

/// Calls function(block, offset) for each index in order: which one it is, and where its block
/// begins in the data.
template <typename F>
Status ForEachBlock(const KernelContext& context, const Blocks& blocks, F&& function) {
  const Shape& data = context.inputs[0].shape;
  const TensorView& indices = context.inputs[1];
  const Strides strides = DenseStrides(data);
  int64_t batches = 1;
  for (int axis = 0; axis < blocks.batch; ++axis) batches *= data[axis];
  const int64_t count = indices.size() / blocks.depth;
  const int64_t per_batch = std::max<int64_t>(batches > 0 ? count / batches : 0, 1);
  const int64_t batch_step = blocks.batch > 0 ? strides[static_cast<size_t>(blocks.batch - 1)] : 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = i / per_batch * batch_step;
    for (int k = 0; k < blocks.depth; ++k) {
      const int axis = blocks.batch + k;
      const int64_t given = IntElement(indices, i * blocks.depth + k);
      int64_t index = given;
      if (!NormalizeIndex(data[axis], &index)) {
        return IndexError(context, given, axis, data[axis]);
      }
      offset += index * strides[static_cast<size_t>(axis)];
    }
    function(i, offset);
  }
  return OkStatus();
}

Status InferGather(InferContext& context) {
  const int64_t batch = context.attributes().Int("batch_dims", 0);
  VERDICT_RETURN_IF_ERROR(CheckIndices(context, batch));
  Shape output;
  VERDICT_RETURN_IF_ERROR(BlockShape(context, static_cast<int>(batch), &output));
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status RunGather(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const size_t size = ElementSize(x.dtype);
  const auto batch = static_cast<int>(context.attributes().Int("batch_dims", 0));
  const Blocks blocks = BlocksOf(x.shape, context.inputs[1].shape, batch);
  return ForEachBlock(context, blocks, [&](int64_t block, int64_t offset) {
    CopyElements(ElementAt(context.outputs[0].data, block * blocks.size, size),
                 ElementAt(x.data, offset, size), blocks.size, size);
  });
}

Status InferScatter(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(CheckIndices(context, 0));
  Shape expected;
  VERDICT_RETURN_IF_ERROR(BlockShape(context, 0, &expected));
  VERDICT_RETURN_IF_ERROR(CheckScatter(context, expected));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

Status RunScatter(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  CopyElements(context.outputs[0].data, x.data, x.size(), ElementSize(x.dtype));
  const Blocks blocks = BlocksOf(x.shape, context.inputs[1].shape, 0);
  return RunWithReduction(context, [&](auto combine) {
    return ForEachBlock(context, blocks, [&](int64_t block, int64_t offset) {
      for (int64_t i = 0; i < blocks.size; ++i) combine(offset + i, block * blocks.size + i);
    });
  });
}

constexpr AttributeSpec kGatherAttributes[] = {{"batch_dims", AttributeType::kInt}};
constexpr AttributeSpec kScatterAttributes[] = {{"reduction", AttributeType::kString}};

}  // namespace

const OpDef kGatherNdOp = {.name = "GatherND",
                           .min_inputs = 2,
                           .max_inputs = 2,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attributes = kGatherAttributes,
                           .infer = InferGather,
                           .run = RunGather};

const OpDef kScatterNdOp = {.name = "ScatterND",
                            .min_inputs = 3,
                            .max_inputs = 3,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attributes = kScatterAttributes,
                            .infer = InferScatter,
                            .run = RunScatter};

}  // namespace verdict
