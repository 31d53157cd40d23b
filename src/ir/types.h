#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// Element types. A kString element in memory is a std::string_view whose bytes live elsewhere
/// (a constant, or the caller's input) for at least as long as the tensor.
enum class DataType : uint8_t {
  kUndefined,
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
  kBool,
  kString,
};

/// Bytes of one element; 16 for kString (a std::string_view), 0 for kUndefined.
size_t ElementSize(DataType dtype);

/// Short name as the text form and the engine file write it: "f32", "i64", "bool", "str", …
std::string_view DataTypeName(DataType dtype);

/// Inverse of DataTypeName; kUndefined for an unknown name.
DataType DataTypeFromName(std::string_view name);

bool IsFloating(DataType dtype);
bool IsInteger(DataType dtype);

template <typename T>
inline constexpr DataType kDataTypeOf = DataType::kUndefined;
template <>
inline constexpr DataType kDataTypeOf<float> = DataType::kFloat32;
template <>
inline constexpr DataType kDataTypeOf<double> = DataType::kFloat64;
template <>
inline constexpr DataType kDataTypeOf<int8_t> = DataType::kInt8;
template <>
inline constexpr DataType kDataTypeOf<int16_t> = DataType::kInt16;
template <>
inline constexpr DataType kDataTypeOf<int32_t> = DataType::kInt32;
template <>
inline constexpr DataType kDataTypeOf<int64_t> = DataType::kInt64;
template <>
inline constexpr DataType kDataTypeOf<uint8_t> = DataType::kUInt8;
template <>
inline constexpr DataType kDataTypeOf<uint16_t> = DataType::kUInt16;
template <>
inline constexpr DataType kDataTypeOf<uint32_t> = DataType::kUInt32;
template <>
inline constexpr DataType kDataTypeOf<uint64_t> = DataType::kUInt64;
template <>
inline constexpr DataType kDataTypeOf<bool> = DataType::kBool;
template <>
inline constexpr DataType kDataTypeOf<std::string_view> = DataType::kString;

/// One extent of a shape: a size >= 0, or a symbol < 0 whose name the Graph knows. Two extents are
/// known to be equal exactly if the numbers are.
using Dim = int64_t;
constexpr bool IsSymbol(Dim dim) { return dim < 0; }

/// Extents of a tensor, at most kMaxRank of them, stored inline: shapes never allocate, so that
/// shape rules may run on the request's thread.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<Dim> dims);
  /// dims.size() must be <= kMaxRank; check with a Status first where the source is hostile.
  explicit Shape(std::span<const Dim> dims);

  int rank() const { return rank_; }
  Dim operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  Dim& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  std::span<const Dim> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  void push_back(Dim dim);

  /// True if no extent is a symbol.
  bool IsStatic() const;

  bool operator==(const Shape& other) const;

 private:
  std::array<Dim, kMaxRank> dims_{};
  int rank_ = 0;
};

/// Number of elements of a static shape (1 for rank 0). Errors: kInvalidArgument if an extent is
/// a symbol or the product of the extents other than 0 overflows int64.
Result<int64_t> NumElements(const Shape& shape);

/// Bytes of a static tensor. Errors: as NumElements, or the byte count overflows int64.
Result<size_t> ByteSize(DataType dtype, const Shape& shape);

/// "[3,16]"; symbols print as "?".
std::string ToString(const Shape& shape);

/// A dense row-major tensor in somebody else's memory: no ownership. `shape` is static.
struct TensorView {
  DataType dtype = DataType::kUndefined;
  Shape shape;
  void* data = nullptr;

  /// Elements; the shape was checked when the view was made.
  int64_t size() const {
    int64_t n = 1;
    for (Dim d : shape.dims()) n *= d;
    return n;
  }
  template <typename T>
  std::span<T> as() const {
    VERDICT_CHECK(kDataTypeOf<std::remove_const_t<T>> == dtype);
    return {static_cast<T*>(data), static_cast<size_t>(size())};
  }
};

}  // namespace verdict
