#include "engine/container.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using Field = EngineHeaderLayout;
using File = std::vector<std::byte>;

std::vector<std::byte> Filled(size_t size, int value) { return File(size, std::byte(value)); }

File SmallFile() {
  return PutTogether({{"first", 64, true, Filled(10, 1)},
                      {"big", 4096, true, Filled(5000, 2)},
                      {"empty", 64, true, {}},
                      {"last", 64, true, Filled(64, 3)}});
}

/// Offset of a field of the entry of section `index`.
size_t EntryField(size_t index, size_t field) {
  return Field::kSize + index * Field::kEntrySize + field;
}
constexpr size_t kOffset = 16, kBytes = 24, kAlignment = 36;

Status ReadStatus(const File& file) { return ReadContainer(file).status(); }

TEST(Container, RoundTripsSections) {
  const File file = SmallFile();
  const auto container = ReadContainer(file);
  ASSERT_TRUE(container.ok()) << container.status().ToString();
  ASSERT_EQ(container->sections.size(), 4U);
  EXPECT_EQ(container->sections[1].name, "big");
  EXPECT_EQ(container->sections[1].offset % 4096, 0U);
  EXPECT_EQ(container->Find("big")->bytes.size(), 5000U);
  EXPECT_EQ(container->Find("empty")->bytes.size(), 0U);
  EXPECT_EQ(container->Find("last")->bytes[63], std::byte{3});
  EXPECT_EQ(container->Find("nothing"), nullptr);
  EXPECT_EQ(container->sha256.size(), 64U);
}

// Reseal is written against FORMAT.md alone, so that this compares two implementations of it.
TEST(Container, ChecksumsAreWhatTheFormatSays) {
  const File file = SmallFile();
  File resealed = file;
  Reseal(resealed);
  EXPECT_EQ(resealed, file);
}

TEST(Container, RefusesEveryFlippedByte) {
  const File good = SmallFile();
  for (size_t i = 0; i < good.size(); ++i) {
    File file = good;
    file[i] ^= std::byte(1U << (i % 8));
    ASSERT_FALSE(ReadContainer(file).ok()) << "byte " << i;
    file[i] = ~good[i];
    ASSERT_FALSE(ReadContainer(file).ok()) << "byte " << i;
  }
}

TEST(Container, RefusesEveryTruncation) {
  const File good = SmallFile();
  for (size_t size = 0; size < good.size(); ++size) {
    const std::span<const std::byte> part = std::span(good).first(size);
    const Status status = ReadContainer(part).status();
    ASSERT_EQ(status.code(), size < 8 ? StatusCode::kInvalidArgument : StatusCode::kDataLoss)
        << size;
    if (size >= 8) {
      ASSERT_THAT(status.message(), HasSubstr("the file is truncated: ")) << size;
      ASSERT_THAT(status.message(), HasSubstr("copy it again, or rebuild it")) << size;
    }
  }
}

TEST(Container, SaysHowMuchOfATruncatedFileIsThere) {
  const File good = SmallFile();
  const auto part = std::span(good).first(5678);
  EXPECT_THAT(ReadContainer(part).status().message(), HasSubstr("5,678 of 9,216 bytes"));
}

TEST(Container, RefusesTrailingBytes) {
  File file = SmallFile();
  file.push_back(std::byte{0});
  EXPECT_EQ(ReadStatus(file).code(), StatusCode::kDataLoss);
  Poke(file, Field::kFileBytes, uint64_t{file.size()});
  Reseal(file);
  EXPECT_THAT(ReadStatus(file).message(), HasSubstr("bytes after the last section"));
}

TEST(Container, RefusesOtherFilesKindly) {
  const std::string onnx =
      "\x08\x07\x12\x07pytorch, not one of ours, and long enough to have a header";
  const Status status = ReadContainer(std::as_bytes(std::span(onnx))).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("not an engine file"));
  EXPECT_THAT(status.message(), HasSubstr("verdict build"));
}

TEST(Container, RefusesAnotherMajorVersion) {
  File file = SmallFile();
  Poke(file, Field::kMajor, uint16_t{3});
  Reseal(file);
  EXPECT_EQ(ReadStatus(file).code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(ReadStatus(file).message(),
              HasSubstr("written in format 3.1, this build reads 1.x; upgrade verdict"));
  Poke(file, Field::kMajor, uint16_t{0});
  EXPECT_EQ(ReadStatus(file).code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(ReadStatus(file).message(), testing::Not(HasSubstr("upgrade")));
}

TEST(Container, AcceptsANewerMinorVersion) {
  File file = SmallFile();
  Poke(file, Field::kMinor, uint16_t{9});
  Reseal(file);
  const auto container = ReadContainer(file);
  ASSERT_TRUE(container.ok()) << container.status().ToString();
  EXPECT_EQ(container->minor, 9);
}

TEST(Container, RefusesTheOtherByteOrder) {
  File file = SmallFile();
  Poke(file, Field::kEndianness, uint32_t{0x04030201});
  EXPECT_THAT(ReadStatus(file).message(), HasSubstr("big-endian"));
  Poke(file, Field::kEndianness, uint32_t{0x01020305});
  EXPECT_THAT(ReadStatus(file).message(), HasSubstr("endianness mark"));
}

TEST(Container, RefusesHostileTablesWithRightChecksums) {
  struct Case {
    const char* name;
    std::function<void(File&)> change;
    const char* message;
  };
  const Case cases[] = {
      {"header size", [](File& f) { Poke(f, Field::kHeaderBytes, uint32_t{64}); }, "header claims"},
      {"header past the end", [](File& f) { Poke(f, Field::kHeaderBytes, 0xFFFFFFF8U); },
       "truncated"},
      {"section count", [](File& f) { Poke(f, Field::kSectionCount, ~0U); }, "header claims"},
      {"table past the end", [](File& f) { Poke(f, Field::kSectionCount, 255U); }, "truncated"},
      {"file size", [](File& f) { Poke(f, Field::kFileBytes, ~uint64_t{0}); }, "truncated"},
      {"offset past the end", [](File& f) { Poke(f, EntryField(3, kOffset), uint64_t{1} << 40); },
       "section 'last' at offset 1,099,511,627,776, 64 bytes: it ends after the file"},
      {"offset wraps", [](File& f) { Poke(f, EntryField(3, kOffset), ~uint64_t{63}); },
       "it ends after the file"},
      {"size past the end", [](File& f) { Poke(f, EntryField(3, kBytes), uint64_t{65}); },
       "it ends after the file"},
      {"size wraps", [](File& f) { Poke(f, EntryField(3, kBytes), ~uint64_t{0}); },
       "it ends after the file"},
      {"overlap", [](File& f) { Poke(f, EntryField(1, kBytes), uint64_t{5120}); },
       "section 'empty'"},
      {"over the header", [](File& f) { Poke(f, EntryField(0, kOffset), uint64_t{64}); },
       "it overlaps"},
      {"misaligned", [](File& f) { Poke(f, EntryField(1, kOffset), uint64_t{4160}); },
       "its alignment is wrong"},
      {"alignment 0", [](File& f) { Poke(f, EntryField(0, kAlignment), 0U); },
       "its alignment is wrong"},
      {"alignment 96", [](File& f) { Poke(f, EntryField(0, kAlignment), 96U); },
       "its alignment is wrong"},
      {"alignment 32", [](File& f) { Poke(f, EntryField(0, kAlignment), 32U); },
       "its alignment is wrong"},
      {"no name", [](File& f) { Poke(f, EntryField(0, 0), uint64_t{0}); }, "name is malformed"},
      {"name with rubbish behind it", [](File& f) { f[EntryField(0, 15)] = std::byte{'x'}; },
       "name is malformed"},
      {"name to trick a terminal", [](File& f) { f[EntryField(0, 0)] = std::byte{27}; },
       "name is malformed"},
      {"same name twice",
       [](File& f) { std::copy_n(f.begin() + EntryField(0, 0), 16, f.begin() + EntryField(2, 0)); },
       "section 'first' is there twice"},
  };
  for (const Case& c : cases) {
    File file = SmallFile();
    c.change(file);
    Reseal(file);
    const Status status = ReadStatus(file);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << c.name;
    EXPECT_THAT(status.message(), HasSubstr(c.message)) << c.name;
  }
}

TEST(Container, NamesTheSectionThatIsCorrupt) {
  File file = SmallFile();
  file[4096 + 17] ^= std::byte{0x10};
  EXPECT_THAT(ReadStatus(file).message(), HasSubstr("section 'big'"));
  EXPECT_THAT(ReadStatus(file).message(), HasSubstr("its checksum is wrong"));
}

}  // namespace
}  // namespace verdict
