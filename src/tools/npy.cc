#include "tools/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "base/checked_math.h"

namespace verdict {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kHeaderAlignment = 64;
constexpr size_t kMaxStringsBytes = size_t{4} << 30;
constexpr char32_t kReplacement = 0xFFFD;

using Bytes = std::span<const std::byte>;

struct NumpyType {
  DataType dtype;
  std::string_view code;  // kind and size, as in a descr after the byte order
  std::string_view name;
};

constexpr NumpyType kTypes[] = {
    {DataType::kFloat32, "f4", "float32"}, {DataType::kFloat64, "f8", "float64"},
    {DataType::kFloat16, "f2", "float16"}, {DataType::kBFloat16, "", "bfloat16"},
    {DataType::kInt8, "i1", "int8"},       {DataType::kInt16, "i2", "int16"},
    {DataType::kInt32, "i4", "int32"},     {DataType::kInt64, "i8", "int64"},
    {DataType::kUInt8, "u1", "uint8"},     {DataType::kUInt16, "u2", "uint16"},
    {DataType::kUInt32, "u4", "uint32"},   {DataType::kUInt64, "u8", "uint64"},
    {DataType::kBool, "b1", "bool"},       {DataType::kString, "U", "str"},
};

/// What a .npy header says.
struct Header {
  std::string descr;
  bool fortran_order = false;
  Shape shape;
};

/// Reads the header, a Python dictionary literal of three known keys.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  Result<Header> Read() {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<Shape> shape;
    VERDICT_RETURN_IF_ERROR(Expect('{'));
    while (!Take('}')) {
      VERDICT_ASSIGN_OR_RETURN(const std::string key, Quoted());
      VERDICT_RETURN_IF_ERROR(Expect(':'));
      if (key == "descr" && !descr) {
        if (Peek() == '[') {
          return Unimplemented("it is a structured array; save each field as an array of its own");
        }
        VERDICT_ASSIGN_OR_RETURN(descr, Quoted());
      } else if (key == "fortran_order" && !fortran_order) {
        fortran_order = TakeWord("True");
        if (!*fortran_order && !TakeWord("False")) return Malformed();
      } else if (key == "shape" && !shape) {
        VERDICT_ASSIGN_OR_RETURN(shape, Extents());
      } else {
        return Malformed();
      }
      if (!Take(',') && Peek() != '}') return Malformed();
    }
    Peek();
    if (!text_.empty() || !descr || !fortran_order || !shape) return Malformed();
    return Header{*std::move(descr), *fortran_order, *shape};
  }

 private:
  static Status Malformed() { return InvalidArgument("its .npy header is malformed"); }

  /// The next character that is not blank, 0 at the end.
  char Peek() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\n"), text_.size()));
    return text_.empty() ? '\0' : text_.front();
  }
  bool Take(char c) {
    if (Peek() != c || text_.empty()) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool TakeWord(std::string_view word) {
    Peek();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  Status Expect(char c) { return Take(c) ? OkStatus() : Malformed(); }

  Result<std::string> Quoted() {
    const char quote = Peek();
    if (quote != '\'' && quote != '"') return Malformed();
    const size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos) return Malformed();
    std::string word(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return word;
  }

  Result<Shape> Extents() {
    VERDICT_RETURN_IF_ERROR(Expect('('));
    Shape shape;
    while (!Take(')')) {
      Peek();
      int64_t extent = 0;
      const char* end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(text_.data(), end, extent);
      if (error != std::errc() || extent < 0) return Malformed();
      if (shape.rank() == Shape::kMaxRank) {
        return InvalidArgument("it has more than 8 dimensions; use x.reshape");
      }
      shape.push_back(extent);
      text_.remove_prefix(static_cast<size_t>(stop - text_.data()));
      if (!Take(',') && Peek() != ')') return Malformed();
    }
    return shape;
  }

  std::string_view text_;
};

/// The element type of a descr such as "<f4", and the bytes of one element.
struct ElementFormat {
  DataType dtype;
  char kind;
  size_t bytes;
};

Result<ElementFormat> ParseDescr(std::string_view descr) {
  const auto unsupported = [&](const std::string& what) {
    return Unimplemented("its element type '" + std::string(descr) + "' " + what);
  };
  const std::string_view code = descr.substr(std::min<size_t>(descr.size(), 1));
  uint64_t size = 0;
  const char* end = code.data() + code.size();
  const bool sized = code.size() > 1 && std::from_chars(code.data() + 1, end, size).ptr == end;
  if (!sized || std::string_view("<>|=").find(descr[0]) == std::string_view::npos) {
    if (code == "O") {
      return unsupported("means Python objects; for strings save np.array(x, dtype='U')");
    }
    return unsupported("is not supported");
  }
  if (descr[0] == '>' && size > 1) {
    return unsupported("is big-endian; save x.astype('<" + std::string(code) + "')");
  }
  const char kind = code[0];
  if (kind == 'U' || kind == 'S') {
    size_t bytes = 0;
    if (!CheckedMul<size_t>(size, kind == 'U' ? 4 : 1, &bytes)) return unsupported("is too wide");
    return ElementFormat{DataType::kString, kind, bytes};
  }
  for (const NumpyType& type : kTypes) {
    if (type.code == code) return ElementFormat{type.dtype, kind, ElementSize(type.dtype)};
  }
  return unsupported("is not supported; save x.astype('float32') or another plain type");
}

/// Copies elements from column-major to row-major order.
void CopyTransposed(Bytes source, size_t element_bytes, const Shape& shape, std::byte* target) {
  const int rank = shape.rank();
  std::array<size_t, Shape::kMaxRank> index{};
  std::array<size_t, Shape::kMaxRank> stride{};
  size_t step = element_bytes;
  for (int axis = 0; axis < rank; ++axis) {
    stride[static_cast<size_t>(axis)] = step;
    step *= static_cast<size_t>(shape[axis]);
  }
  for (size_t done = 0; done < source.size(); done += element_bytes) {
    size_t offset = 0;
    for (size_t axis = 0; axis < static_cast<size_t>(rank); ++axis) {
      offset += index[axis] * stride[axis];
    }
    std::memcpy(target + done, source.data() + offset, element_bytes);
    for (int axis = rank - 1; axis >= 0; --axis) {
      if (++index[static_cast<size_t>(axis)] < static_cast<size_t>(shape[axis])) break;
      index[static_cast<size_t>(axis)] = 0;
    }
  }
}

bool IsCodePoint(char32_t c) { return c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF); }

void AppendUtf8(char32_t c, std::string& text) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | (c >> 6));
    add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | (c >> 12));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | (c >> 18));
    add(0x80 | ((c >> 12) & 0x3F));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  }
}

std::u32string DecodeUtf8(std::string_view text) {
  std::u32string decoded;
  while (!text.empty()) {
    const auto lead = static_cast<uint8_t>(text[0]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    bool valid = lead < 0x80 || (lead >= 0xC2 && lead <= 0xF4 && text.size() >= length);
    char32_t c = length == 1 ? lead : lead & (0x7FU >> length);
    for (size_t i = 1; valid && i < length; ++i) {
      const auto next = static_cast<uint8_t>(text[i]);
      valid = (next & 0xC0) == 0x80;
      c = (c << 6) | (next & 0x3F);
    }
    constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
    valid = valid && c >= kLeast[length] && IsCodePoint(c);
    decoded += valid ? c : kReplacement;
    text.remove_prefix(valid ? length : 1);
  }
  return decoded;
}

/// All strings in one buffer, for a std::string each would take 32 times what '|S1' does.
Result<Constant> ReadStrings(Bytes payload, const ElementFormat& format, const Shape& shape) {
  struct Storage {
    std::string text;  // never longer than the payload: UTF-8 takes at most 4 bytes, as '<U' does
    std::vector<std::string_view> views;
  };
  auto storage = std::make_shared<Storage>();
  std::string& text = storage->text;
  text.reserve(payload.size());
  storage->views.reserve(format.bytes == 0 ? 0 : payload.size() / format.bytes);
  for (size_t at = 0; at < payload.size(); at += format.bytes) {
    const Bytes element = payload.subspan(at, format.bytes);
    const size_t begin = text.size();
    if (format.kind == 'S') {
      text.append(reinterpret_cast<const char*>(element.data()), element.size());
    } else {
      for (size_t i = 0; i < element.size(); i += sizeof(char32_t)) {
        char32_t c = 0;
        std::memcpy(&c, element.data() + i, sizeof(c));
        if (!IsCodePoint(c)) return InvalidArgument("it has a string that is not Unicode");
        AppendUtf8(c, text);
      }
    }
    while (text.size() > begin && text.back() == '\0') text.pop_back();
    storage->views.emplace_back(text.data() + begin, text.size() - begin);
  }
  const void* data = storage->views.data();
  return Constant{DataType::kString, shape, data, std::move(storage)};
}

std::vector<std::byte> FileOf(const std::string& descr, const Shape& shape, size_t payload_bytes) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (Dim dim : shape.dims()) header += std::to_string(dim) + ", ";
  // "(3,)" is a tuple, "(3)" is not.
  if (shape.rank() > 1) header.erase(header.size() - 2);
  if (shape.rank() == 1) header.pop_back();
  header += "), }";
  const size_t prefix = kMagic.size() + 2 + sizeof(uint16_t);
  const size_t total = AlignUp(prefix + header.size() + 1, kHeaderAlignment);
  header.append(total - prefix - header.size() - 1, ' ');
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  std::vector<std::byte> file;
  file.reserve(total + payload_bytes);
  const auto add = [&](const void* data, size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    file.insert(file.end(), bytes, bytes + size);
  };
  add(kMagic.data(), kMagic.size());
  constexpr std::array<uint8_t, 2> kVersion = {1, 0};
  add(kVersion.data(), kVersion.size());
  add(&length, sizeof(length));
  add(header.data(), header.size());
  return file;
}

Result<std::vector<std::byte>> SerializeStrings(const TensorView& tensor) {
  std::vector<std::u32string> strings;
  size_t width = 1;
  for (std::string_view text : tensor.as<const std::string_view>()) {
    strings.push_back(DecodeUtf8(text));
    width = std::max(width, strings.back().size());
  }
  size_t bytes = 0;
  if (!CheckedMul(width * sizeof(char32_t), strings.size(), &bytes) || bytes > kMaxStringsBytes) {
    return ResourceExhausted("its strings, padded to one width, would take over 4 GiB");
  }
  std::vector<std::byte> file = FileOf("<U" + std::to_string(width), tensor.shape, bytes);
  for (std::u32string& text : strings) {
    text.resize(width);
    const auto padded = std::as_bytes(std::span(text));
    file.insert(file.end(), padded.begin(), padded.end());
  }
  return file;
}

}  // namespace

std::string_view NumpyName(DataType dtype) {
  for (const NumpyType& type : kTypes) {
    if (type.dtype == dtype) return type.name;
  }
  return "undefined";
}

Result<Constant> ParseNpy(Bytes bytes, uint64_t max_bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < kMagic.size() + 4) {
    return InvalidArgument("it is not in the .npy format; write the file with np.savez");
  }
  const auto major = static_cast<uint8_t>(text[kMagic.size()]);
  const size_t length_bytes = major == 1 ? sizeof(uint16_t) : sizeof(uint32_t);
  const size_t length_at = kMagic.size() + 2;
  if (major < 1 || major > 3) {
    return Unimplemented("it is in version " + std::to_string(major) +
                         " of the .npy format; 1 to 3 are known");
  }
  uint32_t length = 0;
  if (text.size() < length_at + length_bytes) return InvalidArgument("it is truncated");
  std::memcpy(&length, text.data() + length_at, length_bytes);
  const size_t header_at = length_at + length_bytes;
  if (length > kMaxHeaderBytes || length > text.size() - header_at) {
    return InvalidArgument("its .npy header claims " + std::to_string(length) + " bytes");
  }
  VERDICT_ASSIGN_OR_RETURN(const Header header,
                           HeaderReader(text.substr(header_at, length)).Read());
  VERDICT_ASSIGN_OR_RETURN(const ElementFormat format, ParseDescr(header.descr));
  VERDICT_ASSIGN_OR_RETURN(const int64_t count, NumElements(header.shape));
  Bytes payload = bytes.subspan(header_at + length);
  size_t expected = 0;
  if (!CheckedMul(static_cast<size_t>(count), format.bytes, &expected) ||
      expected != payload.size()) {
    return InvalidArgument("it has " + std::to_string(payload.size()) +
                           " bytes of elements, its shape " + ToString(header.shape) + " of '" +
                           header.descr + "' needs " + std::to_string(expected));
  }
  if (format.bytes == 0 && count > 0) {
    return InvalidArgument("its strings have width 0; save np.array(x, dtype='U1')");
  }
  if (format.dtype == DataType::kBool &&
      std::ranges::any_of(payload, [](std::byte b) { return b > std::byte{1}; })) {
    return InvalidArgument("it has a bool that is neither 0 nor 1");
  }
  const size_t view_bytes = format.dtype == DataType::kString ? sizeof(std::string_view) : 0;
  size_t needed = 0;
  if (!CheckedMul(static_cast<size_t>(count), view_bytes, &needed) ||
      !CheckedAdd(needed, bytes.size(), &needed) || needed > max_bytes) {
    return ResourceExhausted("it needs more than the " + std::to_string(max_bytes) +
                             " bytes of memory that are left for it; run fewer rows at once");
  }
  std::vector<std::byte> transposed;
  if (header.fortran_order && header.shape.rank() > 1) {
    transposed.resize(payload.size());
    CopyTransposed(payload, format.bytes, header.shape, transposed.data());
    payload = transposed;
  }
  if (format.dtype == DataType::kString) {
    return ReadStrings(payload, format, header.shape);
  }
  auto [constant, data] = Constant::Allocate(format.dtype, header.shape);
  if (!payload.empty()) std::memcpy(data, payload.data(), payload.size());
  return std::move(constant);
}

Result<std::vector<std::byte>> SerializeNpy(const TensorView& tensor) {
  if (tensor.dtype == DataType::kString) return SerializeStrings(tensor);
  for (const NumpyType& type : kTypes) {
    if (type.dtype != tensor.dtype || type.code.empty()) continue;
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(tensor.dtype, tensor.shape));
    const char* order = ElementSize(tensor.dtype) == 1 ? "|" : "<";
    std::vector<std::byte> file = FileOf(order + std::string(type.code), tensor.shape, bytes);
    const auto* data = static_cast<const std::byte*>(tensor.data);
    file.insert(file.end(), data, data + bytes);
    return file;
  }
  return Unimplemented("numpy has no element type for " + std::string(DataTypeName(tensor.dtype)));
}

}  // namespace verdict
