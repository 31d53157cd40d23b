#pragma once

#include <array>
#include <utility>

#include "ops/op.h"

namespace verdict {

/// A sliding window along one axis, as Conv and the pools have it.
struct WindowAxis {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad_begin = 0;
  int64_t pad_end = 0;
  Dim input = 1;
  Dim output = 1;

  /// The input position under window element `k` of output `o`; may lie in the padding.
  int64_t Position(int64_t o, int64_t k) const { return o * stride - pad_begin + k * dilation; }

  /// The outputs [first, second) whose window element `k` lies within the input.
  std::pair<int64_t, int64_t> OutputsWithin(int64_t k) const;
};

/// Windows over one or two axes; with one, axis 0 is of extent 1 and axis 1 is the one.
using Window = std::array<WindowAxis, 2>;

/// Reads strides, dilations, pads, auto_pad and ceil_mode and works out the outputs' extents. An
/// output's extent is its input's symbol where the window keeps it, else an unknown one.
/// kernel: the window's extents, one or two. input: [batch, channels, spatial axes...], as many
/// spatial axes as `kernel` has. Errors: kInvalidArgument naming the attribute.
Status ReadWindow(const InferContext& context, std::span<const int64_t> kernel, const Shape& input,
                  Window* window);
/// The same for kernels, whose shape rule has succeeded.
Window ReadWindow(const KernelContext& context, std::span<const int64_t> kernel,
                  const Shape& input);

/// [batch, channels, outputs of the window's axes].
Shape WindowOutput(Dim batch, Dim channels, const Window& window, size_t spatial_axes);

}  // namespace verdict
