#include "serve/endpoints/shared_memory_tensor.h"

#include <string>

#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"

namespace verdict {

Result<uint64_t> SharedMemoryRange::WriteTensor(const TensorView& tensor) const {
  std::string strings;  // their lengths are written between them
  std::span<const std::byte> bytes;
  if (IsFixedSize(tensor.dtype)) {
    VERDICT_ASSIGN_OR_RETURN(const size_t size, ByteSize(tensor.dtype, tensor.shape));
    bytes = {static_cast<const std::byte*>(tensor.data), size};
  } else {
    VERDICT_RETURN_IF_ERROR(AppendRawTensor(&strings, tensor));
    bytes = std::as_bytes(std::span(strings));
  }
  if (bytes.size() > byte_size) {
    return InvalidArgument("shared_memory_byte_size is " + std::to_string(byte_size) +
                           ", the output needs " + std::to_string(bytes.size()) + " bytes");
  }
  VERDICT_RETURN_IF_ERROR(region->Write(offset, bytes));
  return uint64_t{bytes.size()};
}

Result<SharedMemoryRange> FindSharedMemory(const RegionRegistry* registry,
                                           const SharedMemoryParameters& parameters) {
  if (!parameters.region.has_value()) {
    return InvalidArgument("parameter shared_memory_region is missing");
  }
  if (!parameters.byte_size.has_value()) {
    return InvalidArgument("parameter shared_memory_byte_size is missing");
  }
  if (registry == nullptr) return Unimplemented("shared memory is not offered here");
  VERDICT_ASSIGN_OR_RETURN(auto region, registry->Find(*parameters.region));
  SharedMemoryRange range{std::move(region), parameters.offset.value_or(0), *parameters.byte_size};
  if (range.offset > range.region->byte_size() ||
      range.byte_size > range.region->byte_size() - range.offset) {
    return OutOfRange("shared memory region " + Quoted(range.region->name()) + " has " +
                      std::to_string(range.region->byte_size()) + " bytes; " +
                      std::to_string(range.byte_size) + " bytes from " +
                      std::to_string(range.offset) + " on are not in it");
  }
  return range;
}

}  // namespace verdict
