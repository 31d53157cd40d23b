#include "ops/window.h"

#include <algorithm>

#include "ops/extents.h"

namespace verdict {
namespace {

/// Attributes and extents beyond these are nonsense, and below them nothing overflows.
constexpr int64_t kMaxAttribute = int64_t{1} << 24;
constexpr int64_t kMaxExtent = int64_t{1} << 40;

/// floor(a / b) and ceil(a / b) for b > 0.
int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
int64_t CeilDiv(int64_t a, int64_t b) { return -FloorDiv(-a, b); }

enum class AutoPad { kNotSet, kSameUpper, kSameLower, kValid };

/// False for an unknown name.
bool ReadAutoPad(const AttributeReader& attributes, AutoPad* auto_pad) {
  const std::string_view name = attributes.String("auto_pad", "NOTSET");
  if (name == "NOTSET" || name.empty()) {
    *auto_pad = AutoPad::kNotSet;
  } else if (name == "SAME_UPPER") {
    *auto_pad = AutoPad::kSameUpper;
  } else if (name == "SAME_LOWER") {
    *auto_pad = AutoPad::kSameLower;
  } else if (name == "VALID") {
    *auto_pad = AutoPad::kValid;
  } else {
    return false;
  }
  return true;
}

/// Sets the axis's output and, for SAME, its padding. A symbolic input gives a symbolic output:
/// the same symbol where the extent is kept, else -1.
void ResolveAxis(AutoPad auto_pad, bool ceil_mode, WindowAxis& axis) {
  const int64_t reach = axis.dilation * (axis.kernel - 1) + 1;
  const bool same = auto_pad == AutoPad::kSameUpper || auto_pad == AutoPad::kSameLower;
  if (IsSymbol(axis.input)) {
    const bool keeps = axis.stride == 1 && (same || axis.pad_begin + axis.pad_end == reach - 1);
    axis.output = keeps ? axis.input : Dim{-1};
    return;
  }
  if (same) {
    axis.output = CeilDiv(axis.input, axis.stride);
    const int64_t total =
        std::max<int64_t>((axis.output - 1) * axis.stride + reach - axis.input, 0);
    axis.pad_begin = auto_pad == AutoPad::kSameUpper ? total / 2 : total - total / 2;
    axis.pad_end = total - axis.pad_begin;
    return;
  }
  const int64_t room = axis.input + axis.pad_begin + axis.pad_end - reach;
  axis.output = (ceil_mode ? CeilDiv(room, axis.stride) : FloorDiv(room, axis.stride)) + 1;
  // A window that would start in the end's padding is left out.
  if (ceil_mode && (axis.output - 1) * axis.stride >= axis.input + axis.pad_begin) --axis.output;
  axis.output = std::max<int64_t>(axis.output, 0);
}

Window Resolve(const AttributeReader& attributes, std::span<const int64_t> kernel,
               const Shape& input) {
  AutoPad auto_pad{};
  ReadAutoPad(attributes, &auto_pad);
  const auto strides = attributes.Ints("strides");
  const auto dilations = attributes.Ints("dilations");
  const auto pads = attributes.Ints("pads");
  Window window;
  const size_t count = kernel.size();
  for (size_t i = 0; i < count; ++i) {
    WindowAxis& axis = window[window.size() - count + i];
    axis.kernel = kernel[i];
    axis.input = input[static_cast<int>(i) + 2];
    if (!strides.empty()) axis.stride = strides[i];
    if (!dilations.empty()) axis.dilation = dilations[i];
    if (auto_pad == AutoPad::kNotSet && !pads.empty()) {
      axis.pad_begin = pads[i];
      axis.pad_end = pads[count + i];
    }
    ResolveAxis(auto_pad, attributes.Int("ceil_mode", 0) != 0, axis);
  }
  return window;
}

Status CheckValues(const InferContext& context, std::string_view name,
                   std::span<const int64_t> values, size_t count, int64_t min) {
  const auto fits = [&](int64_t v) { return v >= min && v <= kMaxAttribute; };
  if ((values.empty() || values.size() == count) && std::ranges::all_of(values, fits)) {
    return OkStatus();
  }
  return context.Error(std::string(name) + " needs " + std::to_string(count) +
                       " entries of at least " + std::to_string(min));
}

}  // namespace

std::pair<int64_t, int64_t> WindowAxis::OutputsWithin(int64_t k) const {
  const int64_t shift = pad_begin - k * dilation;
  const int64_t first = std::clamp<int64_t>(CeilDiv(shift, stride), 0, output);
  const int64_t last = std::clamp<int64_t>(FloorDiv(input - 1 + shift, stride) + 1, first, output);
  return {first, last};
}

Status ReadWindow(const InferContext& context, std::span<const int64_t> kernel, const Shape& input,
                  Window* window) {
  const auto attributes = context.attributes();
  const size_t count = kernel.size();
  AutoPad auto_pad{};
  if (!ReadAutoPad(attributes, &auto_pad)) {
    return context.Error("unknown auto_pad '" + std::string(attributes.String("auto_pad", "")) +
                         "'");
  }
  VERDICT_RETURN_IF_ERROR(CheckValues(context, "the window", kernel, count, 1));
  VERDICT_RETURN_IF_ERROR(CheckValues(context, "strides", attributes.Ints("strides"), count, 1));
  VERDICT_RETURN_IF_ERROR(
      CheckValues(context, "dilations", attributes.Ints("dilations"), count, 1));
  VERDICT_RETURN_IF_ERROR(CheckValues(context, "pads", attributes.Ints("pads"), 2 * count, 0));
  for (size_t i = 0; i < count; ++i) {
    if (input[static_cast<int>(i) + 2] > kMaxExtent) {
      return context.Error(InputText(context, 0, "X") + ", which is too large");
    }
  }
  *window = Resolve(attributes, kernel, input);
  for (WindowAxis& axis : *window) {
    if (IsSymbol(axis.output) && axis.output != axis.input) axis.output = context.UnknownDim();
    if (axis.output == 0) {
      return context.Error(InputText(context, 0, "X") + ": padded, it is smaller than the window");
    }
  }
  return OkStatus();
}

Window ReadWindow(const KernelContext& context, std::span<const int64_t> kernel,
                  const Shape& input) {
  return Resolve(context.attributes(), kernel, input);
}

Shape WindowOutput(Dim batch, Dim channels, const Window& window, size_t spatial_axes) {
  Shape shape{batch, channels};
  for (size_t i = window.size() - spatial_axes; i < window.size(); ++i) {
    shape.push_back(window[i].output);
  }
  return shape;
}

}  // namespace verdict
