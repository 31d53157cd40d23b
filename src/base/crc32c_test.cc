#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <string_view>
#include <vector>

namespace verdict {
namespace {

std::span<const std::byte> Bytes(const auto& container) {
  return std::as_bytes(std::span(container.data(), container.size()));
}

std::vector<uint8_t> Ramp() {
  std::vector<uint8_t> ramp(32);
  std::iota(ramp.begin(), ramp.end(), uint8_t{0});
  return ramp;
}

// RFC 3720, appendix B.4.
TEST(Crc32c, EqualsTheVectorsOfRfc3720) {
  const std::vector<uint8_t> ramp = Ramp();
  const std::vector<uint8_t> falling(ramp.rbegin(), ramp.rend());
  const std::vector<uint8_t> scsi_read = {
      0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  for (auto* crc : {&Crc32c, &Crc32cPortable}) {
    EXPECT_EQ(crc(Bytes(std::vector<uint8_t>(32, 0x00)), 0), 0x8A9136AAU);
    EXPECT_EQ(crc(Bytes(std::vector<uint8_t>(32, 0xFF)), 0), 0x62A8AB43U);
    EXPECT_EQ(crc(Bytes(ramp), 0), 0x46DD794EU);
    EXPECT_EQ(crc(Bytes(falling), 0), 0x113FDB5CU);
    EXPECT_EQ(crc(Bytes(scsi_read), 0), 0xD9963A56U);
    EXPECT_EQ(crc(Bytes(std::string_view("123456789")), 0), 0xE3069283U);
    EXPECT_EQ(crc({}, 0), 0U);
  }
}

TEST(Crc32c, FastPathEqualsPortablePathAtEveryLengthAndAlignment) {
  std::mt19937 random(20261123);
  std::vector<uint8_t> data(4096);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  const auto bytes = Bytes(data);
  for (size_t start = 0; start < 9; ++start) {
    for (size_t length = 0; length < 80; ++length) {
      const auto part = bytes.subspan(start, length);
      ASSERT_EQ(Crc32c(part), Crc32cPortable(part)) << start << "+" << length;
    }
  }
  EXPECT_EQ(Crc32c(bytes), Crc32cPortable(bytes));
}

TEST(Crc32c, OfPartsGoesOnWhereThePartBeforeEnded) {
  const std::vector<uint8_t> data = Ramp();
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    const uint32_t first = Crc32c(Bytes(data).first(cut));
    EXPECT_EQ(Crc32c(Bytes(data).subspan(cut), first), 0x46DD794EU) << "cut at " << cut;
  }
}

TEST(Crc32c, SeesEverySingleFlippedBit) {
  std::vector<uint8_t> data = Ramp();
  const uint32_t whole = Crc32c(Bytes(data));
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    EXPECT_NE(Crc32c(Bytes(data)), whole) << "bit " << bit;
    data[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
  }
}

}  // namespace
}  // namespace verdict
