#include "engine/container.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/checked_math.h"
#include "base/crc32c.h"
#include "base/sha256.h"

namespace verdict {
namespace {

static_assert(std::endian::native == std::endian::little, "engine files are little-endian");

constexpr std::array<char, 8> kMagic = {'V', 'E', 'R', 'D', 'I', 'C', 'T', '\0'};
constexpr uint32_t kEndiannessMark = 0x01020304;
constexpr size_t kNameSize = 16;
constexpr uint32_t kMaxSections = 256;
constexpr uint32_t kMinAlignment = 64;
constexpr uint32_t kMaxAlignment = 4096;
constexpr uint32_t kFlagRequired = 1;
constexpr const char* kCopyOrRebuild =
    "; copy it again, or rebuild it from the ONNX file with `verdict build`";

struct Header {
  std::array<char, 8> magic = kMagic;
  uint16_t major = kEngineFormatMajor;
  uint16_t minor = kEngineFormatMinor;
  uint32_t endianness = kEndiannessMark;
  uint32_t header_bytes = EngineHeaderLayout::kSize;
  uint32_t section_count = 0;
  uint64_t file_bytes = 0;
  Sha256Digest sha256{};
  uint32_t crc32c = 0;
  std::array<std::byte, 60> reserved{};
};
static_assert(sizeof(Header) == EngineHeaderLayout::kSize);
static_assert(offsetof(Header, major) == EngineHeaderLayout::kMajor);
static_assert(offsetof(Header, minor) == EngineHeaderLayout::kMinor);
static_assert(offsetof(Header, endianness) == EngineHeaderLayout::kEndianness);
static_assert(offsetof(Header, header_bytes) == EngineHeaderLayout::kHeaderBytes);
static_assert(offsetof(Header, section_count) == EngineHeaderLayout::kSectionCount);
static_assert(offsetof(Header, file_bytes) == EngineHeaderLayout::kFileBytes);
static_assert(offsetof(Header, sha256) == EngineHeaderLayout::kSha256);
static_assert(offsetof(Header, crc32c) == EngineHeaderLayout::kCrc32c);

struct Entry {
  std::array<char, kNameSize> name{};
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
  uint32_t alignment = 0;
  uint32_t flags = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(Entry) == EngineHeaderLayout::kEntrySize);

using Bytes = std::span<const std::byte>;

/// Zeros to fill the gaps between sections with.
Bytes Padding(size_t size) {
  static constexpr std::array<std::byte, kMaxAlignment> kZeros{};
  return Bytes(kZeros).first(size);
}

/// SHA-256 of `parts` as if the digest's field in the first one were zero.
Sha256Digest DigestOf(std::span<const Bytes> parts) {
  const Bytes head = parts[0];
  std::vector<Bytes> pieces = {head.first(EngineHeaderLayout::kSha256),
                               Padding(sizeof(Sha256Digest)),
                               head.subspan(EngineHeaderLayout::kSha256 + sizeof(Sha256Digest))};
  pieces.insert(pieces.end(), parts.begin() + 1, parts.end());
  return Sha256(pieces);
}

/// CRC32C of header and table as if the fields for digest and CRC were zero.
uint32_t HeadCrc(Bytes head) {
  static_assert(EngineHeaderLayout::kSha256 + sizeof(Sha256Digest) == EngineHeaderLayout::kCrc32c);
  constexpr size_t kZeroed = sizeof(Sha256Digest) + sizeof(uint32_t);
  uint32_t crc = Crc32c(head.first(EngineHeaderLayout::kSha256));
  crc = Crc32c(Padding(kZeroed), crc);
  return Crc32c(head.subspan(EngineHeaderLayout::kSha256 + kZeroed), crc);
}

/// "1,234,567".
std::string Grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<size_t>(at), ",");
  }
  return text;
}

Status Truncated(uint64_t have, uint64_t need) {
  return DataLoss("the file is truncated: " + Grouped(have) + " of " + Grouped(need) + " bytes" +
                  kCopyOrRebuild);
}

Status Corrupt(const std::string& what) {
  return DataLoss("the file is corrupt: " + what + kCopyOrRebuild);
}

/// Magic, version and byte order: what decides whether the rest can be read at all.
Status CheckIdentity(Bytes bytes, Header& header) {
  if (!HasEngineMagic(bytes)) {
    return InvalidArgument(
        "not an engine file (it does not begin with \"VERDICT\"); `verdict build --onnx model.onnx "
        "--saveEngine model.engine` makes one");
  }
  if (bytes.size() < sizeof(Header)) return Truncated(bytes.size(), sizeof(Header));
  std::memcpy(&header, bytes.data(), sizeof(Header));
  if (header.endianness == __builtin_bswap32(kEndiannessMark)) {
    return FailedPrecondition(
        "the file was written on a big-endian machine; rebuild it here from the ONNX file with "
        "`verdict build`");
  }
  if (header.endianness != kEndiannessMark) return Corrupt("the endianness mark is wrong");
  if (header.major != kEngineFormatMajor) {
    return FailedPrecondition("the file was written in format " + std::to_string(header.major) +
                              "." + std::to_string(header.minor) + ", this build reads " +
                              std::to_string(kEngineFormatMajor) + ".x; " +
                              (header.major > kEngineFormatMajor ? "upgrade verdict, or " : "") +
                              "rebuild the engine from the ONNX file with `verdict build`");
  }
  return OkStatus();
}

/// Header and table as one piece, whose checksum is right.
Result<Bytes> CheckHead(Bytes bytes, const Header& header) {
  if (header.file_bytes > bytes.size()) return Truncated(bytes.size(), header.file_bytes);
  if (header.header_bytes < sizeof(Header) || header.header_bytes % 8 != 0 ||
      header.section_count > kMaxSections) {
    return Corrupt("the header claims " + std::to_string(header.header_bytes) + " bytes and " +
                   std::to_string(header.section_count) + " sections");
  }
  // Neither factor exceeds 32 bits: this cannot overflow 64.
  const uint64_t head_bytes = header.header_bytes + uint64_t{header.section_count} * sizeof(Entry);
  if (head_bytes > bytes.size()) return Truncated(bytes.size(), head_bytes);
  const Bytes head = bytes.first(head_bytes);
  if (HeadCrc(head) != header.crc32c) {
    return Corrupt("the checksum of the header and the section table is wrong");
  }
  if (header.file_bytes < bytes.size()) {
    return Corrupt("it is " + Grouped(bytes.size()) + " bytes long and should be " +
                   Grouped(header.file_bytes));
  }
  return head;
}

Result<SectionView> ReadEntry(Bytes file, const Entry& entry, uint64_t previous_end) {
  const size_t length = ::strnlen(entry.name.data(), kNameSize);
  SectionView section;
  section.name.assign(entry.name.data(), length);
  const bool printable = std::ranges::all_of(section.name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  });
  const bool padded = std::all_of(entry.name.begin() + static_cast<ptrdiff_t>(length),
                                  entry.name.end(), [](char c) { return c == '\0'; });
  if (length == 0 || !printable || !padded) return Corrupt("a section's name is malformed");
  const auto corrupt = [&](const std::string& what) {
    return Corrupt("section '" + section.name + "' at offset " + Grouped(entry.offset) + ", " +
                   Grouped(entry.bytes) + " bytes: " + what);
  };
  if (!std::has_single_bit(entry.alignment) || entry.alignment < kMinAlignment ||
      entry.alignment > kMaxAlignment || entry.offset % entry.alignment != 0) {
    return corrupt("its alignment is wrong");
  }
  if (entry.offset < previous_end) return corrupt("it overlaps what is before it");
  if (entry.offset > file.size() || entry.bytes > file.size() - entry.offset) {
    return corrupt("it ends after the file");
  }
  section.offset = entry.offset;
  section.alignment = entry.alignment;
  section.required = (entry.flags & kFlagRequired) != 0;
  section.bytes = file.subspan(entry.offset, entry.bytes);
  if (Crc32c(section.bytes) != entry.crc32c) return corrupt("its checksum is wrong");
  return section;
}

}  // namespace

ContainerImage BuildContainer(std::span<const SectionSource> sections, uint16_t minor) {
  VERDICT_CHECK(sections.size() <= kMaxSections);
  ContainerImage image;
  image.head.resize(sizeof(Header) + sections.size() * sizeof(Entry));
  image.parts.emplace_back();  // the head, once it is complete
  uint64_t end = image.head.size();
  for (size_t i = 0; i < sections.size(); ++i) {
    const SectionSource& section = sections[i];
    VERDICT_CHECK(!section.name.empty() && section.name.size() <= kNameSize);
    Entry entry;
    std::ranges::copy(section.name, entry.name.begin());
    entry.offset = AlignUp(end, section.alignment);
    entry.alignment = section.alignment;
    entry.flags = section.required ? kFlagRequired : 0;
    image.parts.push_back(Padding(entry.offset - end));
    for (Bytes part : section.parts) {
      entry.crc32c = Crc32c(part, entry.crc32c);
      entry.bytes += part.size();
      image.parts.push_back(part);
    }
    end = entry.offset + entry.bytes;
    std::memcpy(image.head.data() + sizeof(Header) + i * sizeof(Entry), &entry, sizeof(Entry));
  }
  Header header;
  header.minor = minor;
  header.section_count = static_cast<uint32_t>(sections.size());
  header.file_bytes = end;
  std::memcpy(image.head.data(), &header, sizeof(Header));
  header.crc32c = HeadCrc(image.head);
  std::memcpy(image.head.data(), &header, sizeof(Header));
  image.parts[0] = image.head;
  header.sha256 = DigestOf(image.parts);
  std::memcpy(image.head.data(), &header, sizeof(Header));
  return image;
}

const SectionView* Container::Find(std::string_view name) const {
  const auto it = std::ranges::find(sections, name, &SectionView::name);
  return it == sections.end() ? nullptr : &*it;
}

bool HasEngineMagic(Bytes bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<Container> ReadContainer(Bytes bytes) {
  Header header;
  VERDICT_RETURN_IF_ERROR(CheckIdentity(bytes, header));
  VERDICT_ASSIGN_OR_RETURN(const Bytes head, CheckHead(bytes, header));
  Container container;
  container.major = header.major;
  container.minor = header.minor;
  container.sha256 = ToHex(header.sha256);
  uint64_t end = head.size();
  for (uint32_t i = 0; i < header.section_count; ++i) {
    Entry entry;
    std::memcpy(&entry, head.data() + header.header_bytes + i * sizeof(Entry), sizeof(Entry));
    VERDICT_ASSIGN_OR_RETURN(SectionView section, ReadEntry(bytes, entry, end));
    if (container.Find(section.name) != nullptr) {
      return Corrupt("section '" + section.name + "' is there twice");
    }
    end = section.offset + section.bytes.size();
    container.sections.push_back(std::move(section));
  }
  if (end != bytes.size()) return Corrupt("there are bytes after the last section");
  const std::array<Bytes, 1> parts = {bytes};
  if (DigestOf(parts) != header.sha256) return Corrupt("its SHA-256 is wrong");
  return container;
}

}  // namespace verdict
