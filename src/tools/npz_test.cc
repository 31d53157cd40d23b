#include "tools/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zip.h>

#include <filesystem>
#include <fstream>

#include "tools/npy.h"

namespace verdict {
namespace {

using testing::HasSubstr;

Constant Floats(const Shape& shape, std::vector<float> values) {
  return Constant::Of<float>(shape, std::span<const float>(values));
}

class NpzTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("npz_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<std::byte> Read(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }

  /// A zip file made by libzip: names and contents, deflated or stored.
  std::filesystem::path Zip(const std::vector<std::pair<std::string, std::string>>& members,
                            int method) {
    const auto path = folder_ / "made.npz";
    zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const auto& [name, contents] : members) {
      zip_source_t* source = zip_source_buffer(archive, contents.data(), contents.size(), 0);
      const auto index = zip_file_add(archive, name.c_str(), source, 0);
      EXPECT_GE(index, 0);
      zip_set_file_compression(archive, static_cast<uint64_t>(index), method, 0);
    }
    EXPECT_EQ(zip_close(archive), 0);
    return path;
  }

  static std::string NpyText(const Constant& tensor) {
    const auto bytes = SerializeNpy(tensor.view()).value();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::filesystem::path folder_;
};

TEST_F(NpzTest, RoundTripsTensors) {
  const Constant x = Floats({2, 2}, {1, 2, 3, 4});
  const Constant labels = Constant::OfStrings({2}, {"fraud", "ok"});
  const Constant empty = Floats({0, 3}, {});
  const auto path = folder_ / "out.npz";
  const std::vector<std::pair<std::string, TensorView>> tensors = {
      {"x", x.view()}, {"a/b.c:0", labels.view()}, {"empty", empty.view()}, {"x", empty.view()}};
  ASSERT_TRUE(WriteNpz(path, tensors).ok());
  const auto read = ReadNpz(path);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  ASSERT_EQ(read->size(), 3U);
  EXPECT_EQ(read->at("x").view().as<const float>()[3], 4);
  EXPECT_EQ(read->at("a/b.c:0").view().as<const std::string_view>()[0], "fraud");
  EXPECT_EQ(read->at("empty").shape, (Shape{0, 3}));
}

TEST_F(NpzTest, WritesTheSameBytesAgain) {
  const Constant x = Floats({2}, {1, 2});
  const std::vector<std::pair<std::string, TensorView>> tensors = {{"x", x.view()}};
  ASSERT_TRUE(WriteNpz(folder_ / "a.npz", tensors).ok());
  ASSERT_TRUE(WriteNpz(folder_ / "b.npz", tensors).ok());
  EXPECT_EQ(Read(folder_ / "a.npz"), Read(folder_ / "b.npz"));
}

TEST_F(NpzTest, RoundTripsNoTensorsAtAll) {
  ASSERT_TRUE(WriteNpz(folder_ / "none.npz", {}).ok());
  const auto read = ReadNpz(folder_ / "none.npz");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_TRUE(read->empty());
}

TEST_F(NpzTest, ReadsStoredAndCompressedMembers) {
  for (int method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    const auto read =
        ReadNpz(Zip({{"x.npy", NpyText(Floats({1000}, std::vector<float>(1000, 7)))}}, method));
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(read->at("x").view().as<const float>()[999], 7);
  }
}

TEST_F(NpzTest, NamesTheFileAndTheTensor) {
  const auto path = Zip({{"x.npy", "not an array"}}, ZIP_CM_STORE);
  const Status status = ReadNpz(path).status();
  EXPECT_THAT(status.message(), HasSubstr("made.npz: tensor 'x': it is not in the .npy format"));
  EXPECT_THAT(ReadNpz(Zip({{"notes.txt", "hello"}}, ZIP_CM_STORE)).status().message(),
              HasSubstr("member 'notes.txt' is not an array"));
  EXPECT_EQ(ReadNpz(folder_ / "absent.npz").status().code(), StatusCode::kNotFound);
}

TEST_F(NpzTest, RefusesOtherFiles) {
  const auto path = folder_ / "x.npy";
  std::ofstream(path, std::ios::binary) << NpyText(Floats({1}, {1}));
  EXPECT_THAT(ReadNpz(path).status().message(), HasSubstr("not an .npz file"));
  EXPECT_THAT(ReadNpz(path).status().message(), HasSubstr("np.savez"));
}

TEST_F(NpzTest, RefusesOrSurvivesEveryFlippedByte) {
  const auto good =
      Read(Zip({{"x.npy", NpyText(Floats({3}, {1, 2, 3}))}, {"y.npy", NpyText(Floats({1}, {4}))}},
               ZIP_CM_DEFLATE));
  ASSERT_TRUE(ParseNpz(good, "good").ok());
  for (size_t i = 0; i < good.size(); ++i) {
    auto file = good;
    file[i] ^= std::byte(1U << (i % 8));
    const auto read = ParseNpz(file, "flipped");
    // Bytes that say nothing about the arrays (times, attributes) may change.
    if (!read.ok() || !read->contains("x") || !read->contains("y")) continue;
    EXPECT_EQ(read->at("x").view().as<const float>()[2], 3) << i;
    EXPECT_EQ(read->at("y").view().as<const float>()[0], 4) << i;
  }
}

TEST_F(NpzTest, RefusesEveryTruncation) {
  const auto good = Read(Zip({{"x.npy", NpyText(Floats({3}, {1, 2, 3}))}}, ZIP_CM_STORE));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseNpz(std::span(good).first(size), "cut").ok()) << size;
  }
}

TEST_F(NpzTest, RefusesAMemberThatClaimsMoreThanItCanHold) {
  auto file = Read(Zip({{"x.npy", NpyText(Floats({3}, {1, 2, 3}))}}, ZIP_CM_DEFLATE));
  // The size uncompressed, in the central directory's only entry.
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  const size_t entry = text.find("PK\1\2");
  ASSERT_NE(entry, std::string::npos);
  for (size_t i = 0; i < 4; ++i) file[entry + 24 + i] = std::byte{0xF0};
  EXPECT_THAT(ParseNpz(file, "bomb").status().message(), HasSubstr("tensor 'x': it claims"));
  // Nor does it help to claim more compressed bytes than the file has.
  for (size_t i = 0; i < 4; ++i) file[entry + 20 + i] = std::byte{0xF0};
  EXPECT_THAT(ParseNpz(file, "bomb").status().message(), HasSubstr("tensor 'x': it claims"));
}

TEST_F(NpzTest, BoundsTheMemoryOfAllArraysTogether) {
  const std::string strings = NpyText(Constant::OfStrings({9}, std::vector<std::string>(9, "a")));
  const uint64_t each = strings.size() + 9 * sizeof(std::string_view);
  const auto file = Read(Zip({{"s.npy", strings}, {"t.npy", strings}}, ZIP_CM_STORE));
  EXPECT_TRUE(ParseNpz(file, "good", 2 * each).ok());
  const Status status = ParseNpz(file, "bomb", 2 * each - 1).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("bomb: tensor 't': it needs more"));
}

TEST_F(NpzTest, KeepsAnOlderFileWhenItCannotWrite) {
  const Constant x = Floats({1}, {1});
  const std::vector<std::pair<std::string, TensorView>> good = {{"x", x.view()}};
  ASSERT_TRUE(WriteNpz(folder_ / "out.npz", good).ok());
  const auto before = Read(folder_ / "out.npz");
  const Constant half = Constant::Allocate(DataType::kBFloat16, Shape{0}).first;
  const std::vector<std::pair<std::string, TensorView>> bad = {{"h", half.view()}};
  const Status status = WriteNpz(folder_ / "out.npz", bad);
  EXPECT_THAT(status.message(), HasSubstr("tensor 'h'"));
  EXPECT_EQ(Read(folder_ / "out.npz"), before);
}

}  // namespace
}  // namespace verdict
