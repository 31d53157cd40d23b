// Both forms of an inference request against models of all types. The first byte says which model,
// the next two how much of the rest is JSON text; what follows it is raw tensors.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/infer_response.h"

namespace {

using verdict::DataType;
using verdict::TensorSpec;

std::vector<TensorSpec> SpecsOf(uint8_t model) {
  constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat64, DataType::kInt8,
                                 DataType::kInt64,   DataType::kUInt64,  DataType::kBool,
                                 DataType::kString,  DataType::kFloat16};
  const DataType dtype = kTypes[model & 7];
  if ((model & 8) != 0) return {{"x", dtype, {-1, 2}}, {"y", DataType::kFloat32, {-1}}};
  return {{"x", dtype, {-1}}};
}

/// With a region "r" of 64 bytes.
const verdict::RegionRegistry& Regions() {
  static verdict::RegionRegistry regions({.allowed = true});
  static const bool made = [] {
    const std::string key = "/verdict_fuzz_" + std::to_string(::getpid());
    const int descriptor = ::shm_open(key.c_str(), O_CREAT | O_RDWR, 0600);
    const bool ok = descriptor >= 0 && ::ftruncate(descriptor, 64) == 0 &&
                    regions.Register("r", key, 0, 64).ok();
    ::close(descriptor);
    ::shm_unlink(key.c_str());
    return ok;
  }();
  if (!made) std::abort();
  return regions;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::vector<TensorSpec> specs = SpecsOf(data[0]);
  size_t json_bytes = static_cast<size_t>(data[1]) | static_cast<size_t>(data[2]) << 8;
  data += 3;
  size -= 3;
  if (json_bytes > size) json_bytes = size;
  // A block of its own with the promised padding, so that AddressSanitizer sees reads beyond it.
  const auto bytes = std::make_unique<char[]>(size + verdict::kJsonPadding);
  std::memcpy(bytes.get(), data, size);

  static verdict::InferRequestReader reader;
  reader.UseSharedMemory(&Regions());
  verdict::InferRequest request;
  const verdict::Status status =
      reader.Read({bytes.get(), json_bytes},
                  std::as_bytes(std::span(bytes.get() + json_bytes, size - json_bytes)), specs,
                  specs, &request);
  if (!status.ok()) {
    if (status.message().empty()) std::abort();
    return 0;
  }
  // What was accepted can be read to the last byte: send it back.
  std::string body;
  std::optional<size_t> response_json;
  (void)verdict::WriteInferResponse("m", "1", request, specs, request.inputs, &body, &response_json)
      .ok();
  return 0;
}
