#include <array>
#include <cstring>

#include "base/checked_math.h"
#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

enum Input : size_t { kData, kPads, kValue, kAxes };
enum class Mode { kConstant, kReflect, kEdge, kWrap };

struct Pads {
  std::array<int64_t, Shape::kMaxRank> begin{};
  std::array<int64_t, Shape::kMaxRank> end{};
};

template <typename Context>
Result<Mode> ModeOf(const Context& context) {
  const std::string_view mode = context.attributes().String("mode", "constant");
  if (mode == "constant") return Mode::kConstant;
  if (mode == "reflect") return Mode::kReflect;
  if (mode == "edge") return Mode::kEdge;
  if (mode == "wrap") return Mode::kWrap;
  return context.Error("mode is '" + std::string(mode) +
                       "'; it must be constant, reflect, edge or wrap");
}

/// The pads of each axis; their contents must be known.
template <typename Context>
Status ReadPads(const Context& context, Pads* pads) {
  const int rank = context.inputs[kData].shape.rank();
  const bool has_axes = context.has_input(kAxes);
  const int64_t count = has_axes ? Length(context.inputs[kAxes]) : rank;
  if (Length(context.inputs[kPads]) != 2 * count) {
    return context.Error("there are " + std::to_string(Length(context.inputs[kPads])) +
                         " pads, needs two for each of " + std::to_string(count) + " axes");
  }
  AxisSet seen = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t given = has_axes ? IntElement(context.inputs[kAxes], i) : i;
    VERDICT_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(context, given, rank));
    if (HasAxis(seen, axis)) {
      return context.Error("axis " + std::to_string(axis) + " is padded twice");
    }
    seen |= AxisSet{1} << axis;
    pads->begin[static_cast<size_t>(axis)] = IntElement(context.inputs[kPads], i);
    pads->end[static_cast<size_t>(axis)] = IntElement(context.inputs[kPads], i + count);
  }
  return OkStatus();
}

Status Infer(InferContext& context) {
  const TensorView& x = context.inputs[kData];
  VERDICT_ASSIGN_OR_RETURN(const Mode mode, ModeOf(context));
  VERDICT_RETURN_IF_ERROR(RequireIntList(context, kPads));
  bool known = context.inputs[kPads].data != nullptr;
  if (context.has_input(kValue)) {
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, kData, kValue));
    const auto count = NumElements(context.inputs[kValue].shape);
    if (!count.ok() || *count != 1) {
      return context.Error(InputText(context, kValue, "constant_value") + ", needs one element");
    }
  }
  if (context.has_input(kAxes)) {
    VERDICT_RETURN_IF_ERROR(RequireIntList(context, kAxes));
    known = known && context.inputs[kAxes].data != nullptr;
  }
  Shape output = x.shape;
  Pads pads;
  if (known) VERDICT_RETURN_IF_ERROR(ReadPads(context, &pads));
  for (int axis = 0; axis < output.rank(); ++axis) {
    const int64_t begin = pads.begin[static_cast<size_t>(axis)];
    const int64_t end = pads.end[static_cast<size_t>(axis)];
    Dim& extent = output[axis];
    if (!known || (IsSymbol(extent) && (begin != 0 || end != 0))) {
      extent = context.UnknownDim();
    } else if (!IsSymbol(extent)) {
      const bool fits =
          CheckedAdd(extent, begin, &extent) && CheckedAdd(extent, end, &extent) && extent >= 0;
      if (!fits || (x.shape[axis] == 0 && extent > 0 && mode != Mode::kConstant)) {
        return context.Error("axis " + std::to_string(axis) + " of shape " +
                             ShapeText(context, x.shape) + " cannot be padded by " +
                             std::to_string(begin) + " and " + std::to_string(end));
      }
    }
  }
  context.SetOutput(0, x.dtype, output);
  return OkStatus();
}

/// The coordinate that stands at `index`, which may lie outside of [0, extent); -1: the constant.
int64_t Source(Mode mode, int64_t index, int64_t extent) {
  if (index >= 0 && index < extent) return index;
  switch (mode) {
    case Mode::kConstant:
      return -1;
    case Mode::kEdge:
      return index < 0 ? 0 : extent - 1;
    case Mode::kWrap:
      return (index % extent + extent) % extent;
    case Mode::kReflect:
      break;
  }
  if (extent == 1) return 0;
  const int64_t period = 2 * (extent - 1);
  const int64_t phase = (index % period + period) % period;
  return phase < extent ? phase : period - phase;
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[kData];
  const TensorView& y = context.outputs[0];
  const size_t size = ElementSize(x.dtype);
  VERDICT_ASSIGN_OR_RETURN(const Mode mode, ModeOf(context));
  Pads pads;
  VERDICT_RETURN_IF_ERROR(ReadPads(context, &pads));
  const std::array<std::byte, sizeof(std::string_view)> zero{};
  const void* value = context.has_input(kValue) ? context.inputs[kValue].data : zero.data();
  const Strides strides = DenseStrides(x.shape);
  const int64_t count = y.size();
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    int64_t offset = 0;
    bool inside = true;
    for (int axis = y.shape.rank() - 1; inside && axis >= 0; --axis) {
      const auto k = static_cast<size_t>(axis);
      const int64_t source = Source(mode, rest % y.shape[axis] - pads.begin[k], x.shape[axis]);
      rest /= y.shape[axis];
      inside = source >= 0;
      offset += source * strides[k];
    }
    std::memcpy(ElementAt(y.data, i, size),
                inside ? ElementAt(static_cast<const void*>(x.data), offset, size) : value, size);
  }
  return OkStatus();
}

constexpr AttributeSpec kAttributes[] = {{"mode", AttributeType::kString}};

}  // namespace

const OpDef kPadOp = {.name = "Pad",
                      .min_inputs = 2,
                      .max_inputs = 4,
                      .min_outputs = 1,
                      .max_outputs = 1,
                      .attributes = kAttributes,
                      .infer = Infer,
                      .run = Run};

}  // namespace verdict
