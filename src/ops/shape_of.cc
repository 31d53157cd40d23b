#include <algorithm>

#include "ops/list.h"

namespace verdict {
namespace {

// Both look at their input's shape only: they run without its contents.

struct Range {
  int start;
  int end;
};

/// The axes [start, end) that Shape answers, clamped to the rank.
Range AxesOf(const AttributeReader& attributes, int rank) {
  const auto clamp = [&](int64_t axis) {
    return static_cast<int>(std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int start = clamp(attributes.Int("start", 0));
  return {start, std::max(start, clamp(attributes.Int("end", rank)))};
}

Status InferShape(InferContext& context) {
  const auto [start, end] = AxesOf(context.attributes(), context.inputs[0].shape.rank());
  context.SetOutput(0, DataType::kInt64, Shape{end - start});
  return OkStatus();
}

Status RunShape(KernelContext& context) {
  const Shape& shape = context.inputs[0].shape;
  const auto [start, end] = AxesOf(context.attributes(), shape.rank());
  const auto out = context.out<int64_t>(0);
  for (int axis = start; axis < end; ++axis) out[static_cast<size_t>(axis - start)] = shape[axis];
  return OkStatus();
}

Status InferSize(InferContext& context) {
  context.SetOutput(0, DataType::kInt64, Shape{});
  return OkStatus();
}

Status RunSize(KernelContext& context) {
  context.out<int64_t>(0)[0] = context.inputs[0].size();
  return OkStatus();
}

constexpr AttributeSpec kShapeAttributes[] = {{"start", AttributeType::kInt},
                                              {"end", AttributeType::kInt}};

}  // namespace

const OpDef kShapeOp = {.name = "Shape",
                        .min_inputs = 1,
                        .max_inputs = 1,
                        .min_outputs = 1,
                        .max_outputs = 1,
                        .attributes = kShapeAttributes,
                        .infer = InferShape,
                        .run = RunShape};

const OpDef kSizeOp = {.name = "Size",
                       .min_inputs = 1,
                       .max_inputs = 1,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = {},
                       .infer = InferSize,
                       .run = RunSize};

}  // namespace verdict
