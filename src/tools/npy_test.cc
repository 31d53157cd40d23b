#include "tools/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using File = std::vector<std::byte>;

/// A .npy file with this header and these elements.
File Npy(const std::string& header, const std::string& payload, int version = 1) {
  std::string text = "\x93NUMPY";
  text += static_cast<char>(version);
  text += '\0';
  const auto length = static_cast<uint32_t>(header.size());
  text.append(reinterpret_cast<const char*>(&length), version == 1 ? 2 : 4);
  text += header + payload;
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

template <typename T>
std::string Raw(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string Header(const std::string& descr, const std::string& shape,
                   const char* order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

template <typename T>
std::vector<T> Values(const Constant& tensor) {
  const auto span = tensor.view().as<const T>();
  return {span.begin(), span.end()};
}

std::string Error(const File& file) {
  const auto tensor = ParseNpy(file);
  return tensor.ok() ? "accepted" : tensor.status().message();
}

TEST(Npy, ReadsEveryVersionOfTheFormat) {
  for (int version : {1, 2, 3}) {
    const auto tensor = ParseNpy(Npy(Header("<f4", "(2, 2)"), Raw<float>({1, 2, 3, 4}), version));
    ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
    EXPECT_EQ(tensor->shape, (Shape{2, 2}));
    EXPECT_THAT(Values<float>(*tensor), ElementsAre(1, 2, 3, 4));
  }
  EXPECT_THAT(Error(Npy(Header("<f4", "(1,)"), Raw<float>({1}), 4)), HasSubstr("version 4"));
}

TEST(Npy, ReadsEveryElementType) {
  const std::vector<std::tuple<const char*, DataType, size_t>> types = {
      {"<f4", DataType::kFloat32, 4}, {"<f8", DataType::kFloat64, 8},
      {"<f2", DataType::kFloat16, 2}, {"|i1", DataType::kInt8, 1},
      {"<i2", DataType::kInt16, 2},   {"<i4", DataType::kInt32, 4},
      {"<i8", DataType::kInt64, 8},   {"|u1", DataType::kUInt8, 1},
      {"<u2", DataType::kUInt16, 2},  {"<u4", DataType::kUInt32, 4},
      {"<u8", DataType::kUInt64, 8},  {"|b1", DataType::kBool, 1},
      {"=f4", DataType::kFloat32, 4}, {">i1", DataType::kInt8, 1}};
  for (const auto& [descr, dtype, size] : types) {
    const auto tensor = ParseNpy(Npy(Header(descr, "(3,)"), std::string(3 * size, '\1')));
    ASSERT_TRUE(tensor.ok()) << descr << ": " << tensor.status().ToString();
    EXPECT_EQ(tensor->dtype, dtype) << descr;
    EXPECT_EQ(tensor->shape, Shape{3}) << descr;
  }
}

TEST(Npy, ReadsScalarsAndEmptyArrays) {
  const auto scalar = ParseNpy(Npy(Header("<i8", "()"), Raw<int64_t>({-7})));
  ASSERT_TRUE(scalar.ok());
  EXPECT_EQ(scalar->shape.rank(), 0);
  EXPECT_THAT(Values<int64_t>(*scalar), ElementsAre(-7));
  const auto empty = ParseNpy(Npy(Header("<f4", "(0, 5)"), ""));
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->shape, (Shape{0, 5}));
}

TEST(Npy, TransposesFortranOrder) {
  // [[1, 2, 3], [4, 5, 6]] column by column.
  const auto matrix =
      ParseNpy(Npy(Header("<f4", "(2, 3)", "True"), Raw<float>({1, 4, 2, 5, 3, 6})));
  ASSERT_TRUE(matrix.ok());
  EXPECT_THAT(Values<float>(*matrix), ElementsAre(1, 2, 3, 4, 5, 6));
  std::vector<int16_t> column_major(24);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) {
        column_major[static_cast<size_t>(i + 2 * (j + 3 * k))] =
            static_cast<int16_t>(100 * i + 10 * j + k);
      }
    }
  }
  const auto cube = ParseNpy(Npy(Header("<i2", "(2, 3, 4)", "True"), Raw(column_major)));
  ASSERT_TRUE(cube.ok());
  const auto values = Values<int16_t>(*cube);
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[1], 1);
  EXPECT_EQ(values[4], 10);
  EXPECT_EQ(values[12 + 2 * 4 + 3], 123);
}

TEST(Npy, ReadsUnicodeStrings) {
  const auto tensor = ParseNpy(Npy(
      Header("<U3", "(3,)"), Raw<char32_t>({U'a', U'é', 0, 0, 0, 0, U'€', U'\U0001F600', U'z'})));
  ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
  EXPECT_THAT(Values<std::string_view>(*tensor), ElementsAre("aé", "", "€😀z"));
}

TEST(Npy, ReadsByteStrings) {
  const auto tensor = ParseNpy(Npy(Header("|S3", "(2,)"), std::string("ab\0\xFFxy", 6)));
  ASSERT_TRUE(tensor.ok());
  EXPECT_THAT(Values<std::string_view>(*tensor), ElementsAre("ab", "\xFFxy"));
}

TEST(Npy, KeepsNulsInsideStrings) {
  const auto tensor = ParseNpy(Npy(Header("|S4", "(1,)"), std::string("a\0b\0", 4)));
  EXPECT_EQ(Values<std::string_view>(tensor.value())[0], std::string_view("a\0b", 3));
}

TEST(Npy, CountsWhatStringsTakeInMemory) {
  const File file = Npy(Header("|S1", "(1000,)"), std::string(1000, 'a'));
  const size_t needed = file.size() + 1000 * sizeof(std::string_view);
  EXPECT_TRUE(ParseNpy(file, needed).ok());
  EXPECT_EQ(ParseNpy(file, needed - 1).status().code(), StatusCode::kResourceExhausted);
  const File numbers = Npy(Header("|i1", "(1000,)"), std::string(1000, 'a'));
  EXPECT_TRUE(ParseNpy(numbers, numbers.size()).ok());
}

TEST(Npy, SaysWhatToDoAboutTypesItCannotTake) {
  EXPECT_THAT(Error(Npy(Header(">f4", "(1,)"), "1234")), HasSubstr("x.astype('<f4')"));
  EXPECT_THAT(Error(Npy(Header("|O", "(1,)"), "1234")), HasSubstr("np.array(x, dtype='U')"));
  EXPECT_THAT(Error(Npy(Header("<c8", "(1,)"), "12345678")), HasSubstr("'<c8' is not supported"));
  EXPECT_THAT(Error(Npy(Header("<M8[ns]", "(1,)"), "12345678")), HasSubstr("not supported"));
  EXPECT_THAT(Error(Npy(Header("<f16", "(1,)"), std::string(16, 0))), HasSubstr("x.astype("));
  EXPECT_THAT(
      Error(Npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", "1234")),
      HasSubstr("structured array"));
}

TEST(Npy, RefusesHostileHeaders) {
  const std::string one = Raw<float>({1});
  for (const char* header :
       {"",
        "{",
        "}",
        "{}",
        "[]",
        "{'descr'",
        "{'descr': '<f4'}",
        "{'descr': '<f4",
        "{'descr': <f4}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (x,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x"}) {
    EXPECT_THAT(Error(Npy(header, one)), HasSubstr("header is malformed")) << header;
  }
  EXPECT_EQ(Error(Npy("{'shape':(1,),'descr':\"<f4\",'fortran_order':False}", one)), "accepted");
}

TEST(Npy, RefusesShapesThatDoNotFitTheBytes) {
  EXPECT_THAT(Error(Npy(Header("<f4", "(2,)"), "1234")),
              HasSubstr("it has 4 bytes of elements, its shape [2] of '<f4' needs 8"));
  EXPECT_THAT(Error(Npy(Header("<f4", "(1,)"), "12345")), HasSubstr("it has 5 bytes"));
  EXPECT_THAT(Error(Npy(Header("<f4", "(4294967296, 4294967296)"), "1234")),
              HasSubstr("more elements than fit"));
  EXPECT_NE(Error(Npy(Header("<f4", "(4611686018427387904,)"), "")), "accepted");
  EXPECT_NE(Error(Npy(Header("<U4611686018427387904", "(4,)"), "")), "accepted");
  EXPECT_THAT(Error(Npy(Header("<U0", "(1000000000000,)"), "")), HasSubstr("width 0"));
  EXPECT_THAT(Error(Npy(Header("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), "1234")),
              HasSubstr("more than 8 dimensions"));
}

TEST(Npy, RefusesHostileContents) {
  EXPECT_THAT(Error(Npy(Header("|b1", "(1,)"), "\2")), HasSubstr("neither 0 nor 1"));
  EXPECT_THAT(Error(Npy(Header("<U1", "(1,)"), Raw<uint32_t>({0x110000}))),
              HasSubstr("not Unicode"));
  EXPECT_THAT(Error(Npy(Header("<U1", "(1,)"), Raw<uint32_t>({0xD800}))), HasSubstr("not Unicode"));
}

TEST(Npy, RefusesEveryTruncation) {
  const File good = Npy(Header("<f4", "(3,)"), Raw<float>({1, 2, 3}), 2);
  ASSERT_TRUE(ParseNpy(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseNpy(std::span(good).first(size)).ok()) << size;
  }
}

TEST(Npy, RoundTripsWhatItWrites) {
  for (const Shape& shape : {Shape{}, Shape{6}, Shape{2, 3}, Shape{0, 3}, Shape{1, 1, 6}}) {
    const auto count = static_cast<size_t>(NumElements(shape).value());
    std::vector<double> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) / 3;
    const Constant tensor = Constant::Of<double>(shape, std::span<const double>(values));
    const auto file = SerializeNpy(tensor.view());
    ASSERT_TRUE(file.ok());
    const auto read = ParseNpy(*file);
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(read->shape, shape);
    EXPECT_EQ(Values<double>(*read), values);
  }
  const Constant strings = Constant::OfStrings({2, 2}, {"a", "", "Zoë €", "😀"});
  const auto read = ParseNpy(SerializeNpy(strings.view()).value());
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_THAT(Values<std::string_view>(*read), ElementsAre("a", "", "Zoë €", "😀"));
}

TEST(Npy, WritesTheBytesThatNumpyWrites) {
  const Constant tensor = Constant::Of<float>({3}, std::vector<float>{1, 2, 3});
  const File file = SerializeNpy(tensor.view()).value();
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  EXPECT_EQ(text, std::string("\x93NUMPY\1\0\x76\0", 10) + header +
                      std::string(128 - 11 - header.size(), ' ') + "\n" + Raw<float>({1, 2, 3}));
}

TEST(Npy, WritesInvalidUtf8AsReplacementCharacters) {
  const Constant tensor = Constant::OfStrings({1}, {"a\xFF\xC3"});
  const auto read = ParseNpy(SerializeNpy(tensor.view()).value());
  EXPECT_THAT(Values<std::string_view>(read.value()), ElementsAre("a\uFFFD\uFFFD"));
}

TEST(Npy, HasNoBfloat16) {
  const Constant tensor = Constant::Allocate(DataType::kBFloat16, Shape{0}).first;
  EXPECT_EQ(SerializeNpy(tensor.view()).status().code(), StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace verdict
