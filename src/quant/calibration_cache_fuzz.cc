// Feeds the reader of a calibration cache: what it takes must come back the same after it was
// written.
#include <cstdint>

#include "quant/calibration_cache.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto cache = verdict::CalibrationCache::Parse(text, "fuzz"); cache.ok()) {
    const auto again = verdict::CalibrationCache::Parse(cache->Print(), "again");
    VERDICT_CHECK(again.ok() && again->scales == cache->scales);
  }
  return 0;
}
