#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace verdict {

/// CRC-32C (Castagnoli, reflected, as in iSCSI and SSE4.2) of `data`.
/// Threads: pure. Cost: about 1 cycle per byte with SSE4.2, 8 without.
uint32_t Crc32c(std::span<const std::byte> data);

}  // namespace verdict
