#include "serve/endpoints/tensor_json.h"

#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "serve/endpoints/datatype.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

std::string_view JsonTypeName(const dom::element& value) {
  switch (value.type()) {
    case dom::element_type::ARRAY:
      return "an array";
    case dom::element_type::OBJECT:
      return "an object";
    case dom::element_type::INT64:
    case dom::element_type::UINT64:
      return "an integer";
    case dom::element_type::DOUBLE:
      return "a number with a fraction, an exponent or more than 64 bits";
    case dom::element_type::STRING:
      return "a string";
    case dom::element_type::BOOL:
      return "a boolean";
    case dom::element_type::NULL_VALUE:
      return "null";
  }
  return "something unknown";
}

enum class Outcome { kOk, kWrongType, kOutOfRange };

Outcome ReadElement(const dom::element& value, double* out) {
  switch (value.type()) {
    case dom::element_type::DOUBLE:
      *out = value.get_double().value_unsafe();
      return Outcome::kOk;
    case dom::element_type::INT64:
      *out = static_cast<double>(value.get_int64().value_unsafe());
      return Outcome::kOk;
    case dom::element_type::UINT64:
      *out = static_cast<double>(value.get_uint64().value_unsafe());
      return Outcome::kOk;
    default:
      return Outcome::kWrongType;
  }
}

Outcome ReadElement(const dom::element& value, float* out) {
  double wide;
  const Outcome outcome = ReadElement(value, &wide);
  if (outcome != Outcome::kOk) return outcome;
  // Below this bound a double rounds to a finite float: the largest float and half a step more.
  if (!(std::fabs(wide) < 0x1.ffffffp+127)) return Outcome::kOutOfRange;
  *out = static_cast<float>(wide);
  return Outcome::kOk;
}

Outcome ReadElement(const dom::element& value, bool* out) {
  if (value.type() == dom::element_type::BOOL) {
    *out = value.get_bool().value_unsafe();
    return Outcome::kOk;
  }
  if (value.type() != dom::element_type::INT64) return Outcome::kWrongType;
  const int64_t number = value.get_int64().value_unsafe();
  if (number != 0 && number != 1) return Outcome::kOutOfRange;
  *out = number == 1;
  return Outcome::kOk;
}

template <typename T>
requires std::is_integral_v<T> Outcome ReadElement(const dom::element& value, T* out) {
  if (value.type() == dom::element_type::INT64) {
    const int64_t number = value.get_int64().value_unsafe();
    if (!std::in_range<T>(number)) return Outcome::kOutOfRange;
    *out = static_cast<T>(number);
    return Outcome::kOk;
  }
  if (value.type() == dom::element_type::UINT64) {
    const uint64_t number = value.get_uint64().value_unsafe();
    if (!std::in_range<T>(number)) return Outcome::kOutOfRange;
    *out = static_cast<T>(number);
    return Outcome::kOk;
  }
  return Outcome::kWrongType;
}

Outcome ReadElement(const dom::element& value, std::string_view* out) {
  if (value.type() != dom::element_type::STRING) return Outcome::kWrongType;
  *out = value.get_string().value_unsafe();
  return Outcome::kOk;
}

/// Fills one tensor, element by element.
template <typename T>
class Filler {
 public:
  explicit Filler(const TensorView& tensor)
      : shape_(tensor.shape), out_(tensor.as<T>()), dtype_(tensor.dtype) {}

  Status Fill(const dom::array& data) {
    const auto first = data.begin();
    const bool nested =
        shape_.rank() > 1 && first != data.end() && (*first).type() == dom::element_type::ARRAY;
    VERDICT_RETURN_IF_ERROR(nested ? Nested(data, 0) : Flat(data, out_.size()));
    if (count_ != out_.size()) {
      return InvalidArgument("has " + std::to_string(count_) + " elements, the shape " +
                             ToString(shape_) + " needs " + std::to_string(out_.size()));
    }
    return OkStatus();
  }

  Status Scalar(const dom::element& value) { return Element(value); }

 private:
  Status Flat(const dom::array& data, size_t expected) {
    size_t taken = 0;
    for (const dom::element value : data) {
      if (++taken > expected) {
        return InvalidArgument("has more than the " + std::to_string(out_.size()) +
                               " elements of shape " + ToString(shape_));
      }
      VERDICT_RETURN_IF_ERROR(Element(value));
    }
    return OkStatus();
  }

  Status Nested(const dom::array& data, int axis) {
    const auto extent = static_cast<size_t>(shape_[axis]);
    size_t taken = 0;
    for (const dom::element value : data) {
      if (taken == extent) return WrongExtent(axis, "more");
      ++taken;
      if (axis == shape_.rank() - 1) {
        VERDICT_RETURN_IF_ERROR(Element(value));
      } else {
        dom::array inner;
        if (value.get(inner) != simdjson::SUCCESS) {
          return InvalidArgument("has " + std::string(JsonTypeName(value)) + " where the shape " +
                                 ToString(shape_) + " needs an array");
        }
        VERDICT_RETURN_IF_ERROR(Nested(inner, axis + 1));
      }
    }
    if (taken != extent) return WrongExtent(axis, "fewer");
    return OkStatus();
  }

  Status WrongExtent(int axis, const char* which) const {
    return InvalidArgument("has an array of " + std::string(which) + " than " +
                           std::to_string(shape_[axis]) + " items at level " +
                           std::to_string(axis + 1) + ", which the shape " + ToString(shape_) +
                           " does not allow");
  }

  Status Element(const dom::element& value) {
    switch (ReadElement(value, &out_[count_])) {
      case Outcome::kOk:
        ++count_;
        return OkStatus();
      case Outcome::kOutOfRange:
        return InvalidArgument("element " + std::to_string(count_) + " is out of the range of " +
                               std::string(WireTypeName(dtype_)));
      case Outcome::kWrongType:
        break;
    }
    return InvalidArgument("element " + std::to_string(count_) + " is " +
                           std::string(JsonTypeName(value)) + ", which is no " +
                           std::string(WireTypeName(dtype_)));
  }

  Shape shape_;
  std::span<T> out_;
  DataType dtype_;
  size_t count_ = 0;
};

template <typename T>
Status ReadTyped(const dom::element& data, const TensorView& tensor) {
  Filler<T> filler(tensor);
  dom::array array;
  if (data.get(array) == simdjson::SUCCESS) return filler.Fill(array);
  if (tensor.shape.rank() == 0) return filler.Scalar(data);
  return InvalidArgument("is " + std::string(JsonTypeName(data)) + ", it must be an array");
}

}  // namespace

Status ReadJsonTensor(const dom::element& data, const TensorView& tensor) {
  switch (tensor.dtype) {
    case DataType::kFloat32:
      return ReadTyped<float>(data, tensor);
    case DataType::kFloat64:
      return ReadTyped<double>(data, tensor);
    case DataType::kInt8:
      return ReadTyped<int8_t>(data, tensor);
    case DataType::kInt16:
      return ReadTyped<int16_t>(data, tensor);
    case DataType::kInt32:
      return ReadTyped<int32_t>(data, tensor);
    case DataType::kInt64:
      return ReadTyped<int64_t>(data, tensor);
    case DataType::kUInt8:
      return ReadTyped<uint8_t>(data, tensor);
    case DataType::kUInt16:
      return ReadTyped<uint16_t>(data, tensor);
    case DataType::kUInt32:
      return ReadTyped<uint32_t>(data, tensor);
    case DataType::kUInt64:
      return ReadTyped<uint64_t>(data, tensor);
    case DataType::kBool:
      return ReadTyped<bool>(data, tensor);
    case DataType::kString:
      return ReadTyped<std::string_view>(data, tensor);
    case DataType::kFloat16:
    case DataType::kBFloat16:
    case DataType::kUndefined:
      break;
  }
  return InvalidArgument("cannot be sent as JSON for datatype " +
                         std::string(WireTypeName(tensor.dtype)) + "; send it in the binary form");
}

}  // namespace verdict
