// Feeds the .npz reader; every other input is taken for the .npy file inside, so that the fuzzer
// gets past the archive.
#include <cstdint>

#include "tools/npy.h"
#include "tools/npz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)verdict::ParseNpz(bytes, "fuzz");
  const auto tensor = verdict::ParseNpy(bytes);
  if (tensor.ok()) {
    const auto file = verdict::SerializeNpy(tensor->view());
    VERDICT_CHECK(file.ok() && verdict::ParseNpy(*file).ok());
  }
  return 0;
}
