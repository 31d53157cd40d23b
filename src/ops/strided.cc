#include "ops/strided.h"

#include <cstring>

namespace verdict {
namespace {

template <size_t kSize>
void Copy(const StridedWalk<2>& walk, std::byte* to, const std::byte* from) {
  constexpr auto kBytes = static_cast<int64_t>(kSize);
  const int64_t count = walk.row_size();
  const auto [to_step, from_step] = walk.row_strides();
  walk.ForEachRow([&, to_step = to_step, from_step = from_step](const auto& offsets) {
    std::byte* write = to + offsets[0] * kBytes;
    const std::byte* read = from + offsets[1] * kBytes;
    if (to_step == 1 && from_step == 1) {
      std::memcpy(write, read, static_cast<size_t>(count) * kSize);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(write + i * to_step * kBytes, read + i * from_step * kBytes, kSize);
    }
  });
}

}  // namespace

Strides DenseStrides(const Shape& shape) {
  Strides strides{};
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = step;
    step *= shape[axis];
  }
  return strides;
}

Strides BroadcastStrides(const Shape& input, const Shape& output) {
  const Strides dense = DenseStrides(input);
  const int shift = output.rank() - input.rank();
  Strides strides{};
  for (int axis = 0; axis < input.rank(); ++axis) {
    const int to = axis + shift;
    strides[static_cast<size_t>(to)] = input[axis] == 1 ? 0 : dense[static_cast<size_t>(axis)];
  }
  return strides;
}

void CopyStrided(const StridedWalk<2>& walk, void* to, const void* from, size_t element_size) {
  auto* write = static_cast<std::byte*>(to);
  const auto* read = static_cast<const std::byte*>(from);
  switch (element_size) {
    case 1:
      return Copy<1>(walk, write, read);
    case 2:
      return Copy<2>(walk, write, read);
    case 4:
      return Copy<4>(walk, write, read);
    case 8:
      return Copy<8>(walk, write, read);
    default:
      VERDICT_CHECK(element_size == sizeof(std::string_view));
      return Copy<sizeof(std::string_view)>(walk, write, read);
  }
}

void CopyElements(void* to, const void* from, int64_t count, size_t element_size) {
  if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * element_size);
}

}  // namespace verdict
