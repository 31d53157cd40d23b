#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tools/load/recording.h"

/// A recording, then the same bytes as a server's metadata.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto recording = verdict::load::ParseRecording(text, "fuzz");
  if (recording.ok()) {
    VERDICT_CHECK(!recording->requests.empty());
    VERDICT_CHECK(recording->requests.size() == recording->times_ns.size());
    VERDICT_CHECK(recording->times_ns.front() == 0);
  }
  static_cast<void>(verdict::load::ParseModelMetadata(text).ok());
  return 0;
}
