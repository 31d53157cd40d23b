#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace verdict {
namespace {

std::string HexOf(const std::vector<std::string_view>& texts) {
  std::vector<std::span<const std::byte>> parts;
  for (std::string_view text : texts)
    parts.push_back(std::as_bytes(std::span(text.data(), text.size())));
  return ToHex(Sha256(parts));
}

// NIST, "Examples with Intermediate Values", SHA-256, and FIPS 180-2 appendix B.
TEST(Sha256, EqualsTheVectorsOfNist) {
  EXPECT_EQ(HexOf({""}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf({"abc"}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf({"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"}),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1'000'000, 'a');
  EXPECT_EQ(HexOf({million}), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfPartsIsThatOfTheirConcatenation) {
  EXPECT_EQ(HexOf({"a", "", "bc"}), HexOf({"abc"}));
  EXPECT_EQ(HexOf({}), HexOf({""}));
  EXPECT_NE(HexOf({"ab", "c"}), HexOf({"a", "b"}));
}

TEST(ToHex, WritesTwoLowerCaseDigitsAByte) {
  const std::byte bytes[] = {std::byte{0x00}, std::byte{0x0F}, std::byte{0xA5}, std::byte{0xFF}};
  EXPECT_EQ(ToHex(bytes), "000fa5ff");
}

}  // namespace
}  // namespace verdict
