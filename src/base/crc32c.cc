#include "base/crc32c.h"

#include <array>
#include <cstring>

namespace verdict {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // Castagnoli, bit-reversed.

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t Portable(uint32_t crc, std::span<const std::byte> data) {
  for (std::byte byte : data)
    crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<uint32_t>(byte)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Sse42(uint32_t crc, std::span<const std::byte> data) {
  uint64_t wide = crc;
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data.data() + i, sizeof(word));
    wide = __builtin_ia32_crc32di(wide, word);
  }
  return Portable(static_cast<uint32_t>(wide), data.subspan(i));
}
#endif

}  // namespace

uint32_t Crc32c(std::span<const std::byte> data, uint32_t previous) {
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
  if (has_sse42) return ~Sse42(~previous, data);
#endif
  return Crc32cPortable(data, previous);
}

uint32_t Crc32cPortable(std::span<const std::byte> data, uint32_t previous) {
  return ~Portable(~previous, data);
}

}  // namespace verdict
