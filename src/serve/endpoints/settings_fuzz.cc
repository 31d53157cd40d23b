// The bodies of the calls that change settings, and of those that register shared memory.
#include <cstdint>
#include <cstring>
#include <memory>

#include "serve/endpoints/endpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static verdict::Service service(1, 1, {.allowed = true});
  // A block of its own with the promised padding, so that AddressSanitizer sees reads beyond it.
  const auto bytes = std::make_unique<char[]>(size + verdict::kJsonPadding);
  std::memcpy(bytes.get(), data, size);
  verdict::Call call;
  call.json = {bytes.get(), size};
  verdict::Reply reply;
  (void)verdict::HandleLogSettingsChange(service, call, &reply).ok();
  (void)verdict::HandleTraceSettingsChange(service, call, &reply).ok();
  call.region = "r";
  (void)verdict::HandleSystemSharedMemoryRegister(service, call, &reply).ok();
  (void)verdict::HandleSystemSharedMemoryUnregister(service, call, &reply).ok();
  return 0;
}
