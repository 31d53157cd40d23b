#include "ir/types.h"

#include <algorithm>

#include "base/checked_math.h"

namespace verdict {
namespace {

struct TypeInfo {
  DataType dtype;
  std::string_view name;
  size_t size;
};

constexpr TypeInfo kTypes[] = {
    {DataType::kUndefined, "undefined", 0},
    {DataType::kFloat32, "f32", 4},
    {DataType::kFloat64, "f64", 8},
    {DataType::kFloat16, "f16", 2},
    {DataType::kBFloat16, "bf16", 2},
    {DataType::kInt8, "i8", 1},
    {DataType::kInt16, "i16", 2},
    {DataType::kInt32, "i32", 4},
    {DataType::kInt64, "i64", 8},
    {DataType::kUInt8, "u8", 1},
    {DataType::kUInt16, "u16", 2},
    {DataType::kUInt32, "u32", 4},
    {DataType::kUInt64, "u64", 8},
    {DataType::kBool, "bool", 1},
    {DataType::kString, "str", sizeof(std::string_view)},
};

}  // namespace

size_t ElementSize(DataType dtype) { return kTypes[static_cast<size_t>(dtype)].size; }

std::string_view DataTypeName(DataType dtype) { return kTypes[static_cast<size_t>(dtype)].name; }

DataType DataTypeFromName(std::string_view name) {
  for (const TypeInfo& info : kTypes) {
    if (info.name == name) return info.dtype;
  }
  return DataType::kUndefined;
}

bool IsFloating(DataType dtype) {
  return dtype == DataType::kFloat32 || dtype == DataType::kFloat64 ||
         dtype == DataType::kFloat16 || dtype == DataType::kBFloat16;
}

bool IsInteger(DataType dtype) { return dtype >= DataType::kInt8 && dtype <= DataType::kUInt64; }

Shape::Shape(std::initializer_list<Dim> dims) : Shape(std::span(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const Dim> dims) : rank_(static_cast<int>(dims.size())) {
  VERDICT_CHECK(dims.size() <= kMaxRank);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

void Shape::push_back(Dim dim) {
  VERDICT_CHECK(rank_ < kMaxRank);
  dims_[static_cast<size_t>(rank_++)] = dim;
}

bool Shape::IsStatic() const { return std::ranges::none_of(dims(), IsSymbol); }

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(dims(), other.dims());
}

Result<int64_t> NumElements(const Shape& shape) {
  int64_t count = 1;
  bool empty = false;
  for (Dim dim : shape.dims()) {
    if (IsSymbol(dim)) return InvalidArgument("the shape has an extent that is not known");
    if (dim == 0) {
      empty = true;
      continue;
    }
    if (!CheckedMul(count, dim, &count)) {
      return InvalidArgument("shape " + ToString(shape) + " has more elements than fit 63 bits");
    }
  }
  return empty ? 0 : count;
}

Result<size_t> ByteSize(DataType dtype, const Shape& shape) {
  VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  // No object is larger than half the address space, which leaves AlignUp its room.
  int64_t bytes = 0;
  if (!CheckedMul(count, static_cast<int64_t>(ElementSize(dtype)), &bytes)) {
    return InvalidArgument("shape " + ToString(shape) + " has more bytes than fit 63 bits");
  }
  return static_cast<size_t>(bytes);
}

std::string ToString(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += ',';
    text += IsSymbol(shape[axis]) ? "?" : std::to_string(shape[axis]);
  }
  return text + "]";
}

}  // namespace verdict
