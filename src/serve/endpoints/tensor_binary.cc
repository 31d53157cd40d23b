#include "serve/endpoints/tensor_binary.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

namespace verdict {

static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian");

namespace {
constexpr size_t kLengthBytes = 4;
}  // namespace

bool IsFixedSize(DataType dtype) {
  return dtype != DataType::kString && dtype != DataType::kUndefined;
}

Status CheckRawTensor(std::span<const std::byte> bytes, DataType dtype, const Shape& shape,
                      const char* what) {
  VERDICT_ASSIGN_OR_RETURN(const size_t expected, ByteSize(dtype, shape));
  if (bytes.size() != expected) {
    return InvalidArgument(std::string(what) + " is " + std::to_string(bytes.size()) +
                           ", the datatype and the shape " + ToString(shape) + " need " +
                           std::to_string(expected) + " bytes");
  }
  if (dtype == DataType::kBool) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (const auto value = std::to_integer<int>(bytes[i]); value > 1) {
        return InvalidArgument("element " + std::to_string(i) + " is the byte " +
                               std::to_string(value) + "; a BOOL is 0 or 1");
      }
    }
  }
  return OkStatus();
}

Status ReadRawStrings(std::span<const std::byte> bytes, std::span<std::string_view> elements) {
  size_t at = 0;
  for (size_t i = 0; i < elements.size(); ++i) {
    uint32_t length;
    if (bytes.size() - at < kLengthBytes) {
      return InvalidArgument("the binary data end before element " + std::to_string(i) + " of " +
                             std::to_string(elements.size()));
    }
    std::memcpy(&length, bytes.data() + at, kLengthBytes);
    at += kLengthBytes;
    if (length > bytes.size() - at) {
      return InvalidArgument("element " + std::to_string(i) + " says it has " +
                             std::to_string(length) + " bytes, " +
                             std::to_string(bytes.size() - at) + " are left");
    }
    elements[i] = {reinterpret_cast<const char*>(bytes.data() + at), length};
    at += length;
  }
  if (at != bytes.size()) {
    return InvalidArgument("the binary data have " + std::to_string(bytes.size() - at) +
                           " bytes more than the " + std::to_string(elements.size()) +
                           " elements of the shape");
  }
  return OkStatus();
}

Status AppendRawTensor(std::string* out, const TensorView& tensor) {
  if (tensor.dtype != DataType::kString) {
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(tensor.dtype, tensor.shape));
    out->append(static_cast<const char*>(tensor.data), bytes);
    return OkStatus();
  }
  for (const std::string_view element : tensor.as<std::string_view>()) {
    if (element.size() > std::numeric_limits<uint32_t>::max()) {
      return Internal("an element has more bytes than the binary form can say");
    }
    const auto length = static_cast<uint32_t>(element.size());
    char prefix[kLengthBytes];
    std::memcpy(prefix, &length, kLengthBytes);
    out->append(prefix, kLengthBytes);
    out->append(element);
  }
  return OkStatus();
}

}  // namespace verdict
