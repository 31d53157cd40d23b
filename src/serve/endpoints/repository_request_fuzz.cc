// The bodies of the model repository's calls.
#include <cstdint>
#include <cstring>
#include <memory>

#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/repository_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A block of its own with the promised padding, so that AddressSanitizer sees reads beyond it.
  const auto bytes = std::make_unique<char[]>(size + verdict::kJsonPadding);
  std::memcpy(bytes.get(), data, size);
  const std::string_view json(bytes.get(), size);
  (void)verdict::ReadIndexRequest(json).ok();
  (void)verdict::ReadLoadRequest(json).ok();
  (void)verdict::ReadUnloadRequest(json).ok();
  return 0;
}
