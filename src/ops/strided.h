#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ir/types.h"

namespace verdict {

/// Per axis of a shape: how many elements one step is.
using Strides = std::array<int64_t, Shape::kMaxRank>;

/// Strides of a dense row-major tensor.
Strides DenseStrides(const Shape& shape);

/// Strides of `input`, dense, as seen along the axes of `output`, to which it broadcasts: 0 along
/// the axes where it repeats.
Strides BroadcastStrides(const Shape& input, const Shape& output);

/// A walk in row-major order over `extents` with N tensors, each stepping by its own strides.
/// Adjacent axes that every tensor passes in one stride are merged and axes of extent 1 dropped, so
/// that tensors of one shape are one row and a broadcast bias is a row per sample.
template <size_t N>
class StridedWalk {
 public:
  using Offsets = std::array<int64_t, N>;

  StridedWalk(const Shape& extents, const std::array<Strides, N>& strides) {
    for (int axis = 0; axis < extents.rank(); ++axis) {
      const int64_t extent = extents[axis];
      if (extent == 0) empty_ = true;
      if (extent <= 1) continue;
      Offsets step;
      for (size_t k = 0; k < N; ++k) step[k] = strides[k][static_cast<size_t>(axis)];
      if (rank_ > 0 && Merges(strides_[rank_ - 1], step, extent)) {
        extents_[rank_ - 1] *= extent;
        strides_[rank_ - 1] = step;
      } else {
        extents_[rank_] = extent;
        strides_[rank_++] = step;
      }
    }
    if (rank_ == 0) {
      extents_[0] = 1;
      strides_[0].fill(1);
      rank_ = 1;
    }
  }

  /// Elements of a row, and each tensor's stride along it.
  int64_t row_size() const { return extents_[rank_ - 1]; }
  const Offsets& row_strides() const { return strides_[rank_ - 1]; }

  /// Calls function(offsets) at the start of each row; offsets are in elements.
  template <typename F>
  void ForEachRow(F&& function) const {
    if (empty_) return;
    Offsets offsets{};
    std::array<int64_t, Shape::kMaxRank> index{};
    while (true) {
      function(static_cast<const Offsets&>(offsets));
      size_t axis = rank_ - 1;
      while (axis-- > 0) {
        for (size_t k = 0; k < N; ++k) offsets[k] += strides_[axis][k];
        if (++index[axis] < extents_[axis]) break;
        for (size_t k = 0; k < N; ++k) offsets[k] -= strides_[axis][k] * extents_[axis];
        index[axis] = 0;
      }
      if (axis >= rank_) return;  // wrapped below zero: every row was visited
    }
  }

  /// Calls function(offsets) for each element.
  template <typename F>
  void ForEach(F&& function) const {
    ForEachRow([&](Offsets offsets) {
      for (int64_t i = 0; i < row_size(); ++i) {
        function(static_cast<const Offsets&>(offsets));
        for (size_t k = 0; k < N; ++k) offsets[k] += row_strides()[k];
      }
    });
  }

 private:
  static bool Merges(const Offsets& outer, const Offsets& inner, int64_t inner_extent) {
    for (size_t k = 0; k < N; ++k) {
      if (outer[k] != inner[k] * inner_extent) return false;
    }
    return true;
  }

  size_t rank_ = 0;
  bool empty_ = false;
  std::array<int64_t, Shape::kMaxRank> extents_{};
  std::array<Offsets, Shape::kMaxRank> strides_{};
};

/// Copies elements of `element_size` bytes of any type along a walk: tensor 0 is written, tensor 1
/// read.
void CopyStrided(const StridedWalk<2>& walk, void* to, const void* from, size_t element_size);

/// Copies `count` elements of one size.
void CopyElements(void* to, const void* from, int64_t count, size_t element_size);

/// The address of element `index`.
inline std::byte* ElementAt(void* data, int64_t index, size_t element_size) {
  return static_cast<std::byte*>(data) + index * static_cast<int64_t>(element_size);
}
inline const std::byte* ElementAt(const void* data, int64_t index, size_t element_size) {
  return static_cast<const std::byte*>(data) + index * static_cast<int64_t>(element_size);
}

}  // namespace verdict
