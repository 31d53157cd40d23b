#include "tools/samples/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tools/npy.h"
#include "tools/npz.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LabelsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / ("labels." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::filesystem::path WriteArrays(const std::vector<std::pair<std::string, TensorView>>& arrays) {
    EXPECT_TRUE(WriteNpz(folder_ / "y.npz", arrays).ok());
    return folder_ / "y.npz";
  }
  static std::vector<float> Read(const std::filesystem::path& path,
                                 const std::string& column = "") {
    auto labels = ReadLabels(path, column);
    EXPECT_TRUE(labels.ok()) << labels.status().ToString();
    return labels.ok() ? *std::move(labels) : std::vector<float>{};
  }
  static std::string Error(const std::filesystem::path& path, const std::string& column = "") {
    return ReadLabels(path, column).status().message();
  }

  std::filesystem::path folder_;
};

TEST_F(LabelsTest, ReadsCsv) {
  EXPECT_THAT(Read(Write("a.csv", "0\n1\n0")), ElementsAre(0, 1, 0));
  EXPECT_THAT(Read(Write("a.csv", "Class\r\n1.0\r\n0\r\n")), ElementsAre(1, 0));
  EXPECT_THAT(Read(Write("a.csv", "id,label\n7,1\n8,0\n")), ElementsAre(1, 0));
  EXPECT_THAT(Read(Write("a.csv", "id,Class\n7,1\n8,0\n"), "Class"), ElementsAre(1, 0));
}

TEST_F(LabelsTest, ReadsArrays) {
  const std::vector<int32_t> values = {0, 1};
  const Constant flat = Constant::Of<int32_t>({2}, std::span<const int32_t>(values));
  const Constant column = Constant::Of<int32_t>({2, 1}, std::span<const int32_t>(values));
  const auto npy = SerializeNpy(flat.view()).value();
  EXPECT_THAT(Read(Write("y.npy", {reinterpret_cast<const char*>(npy.data()), npy.size()})),
              ElementsAre(0, 1));
  EXPECT_THAT(Read(WriteArrays({{"any", column.view()}})), ElementsAre(0, 1));
  EXPECT_THAT(Read(WriteArrays({{"x", column.view()}, {"y", flat.view()}}), "y"),
              ElementsAre(0, 1));
  EXPECT_THAT(Error(WriteArrays({{"x", flat.view()}, {"y", flat.view()}})),
              HasSubstr("y.npz: it has 2 arrays, none of them 'label'"));
  EXPECT_THAT(Error(WriteArrays({{"labels", flat.view()}}), "label"),
              HasSubstr("there is no array 'label' (did you mean 'labels'?)"));
}

TEST_F(LabelsTest, NamesTheLineOfABadLabel) {
  EXPECT_THAT(Error(Write("a.csv", "y\n0\n2\n")), HasSubstr("a.csv, line 3: the label is 2"));
  EXPECT_THAT(Error(Write("a.csv", "y\n0\nfraud\n")), HasSubstr("'fraud' is not a number"));
  EXPECT_THAT(Error(Write("a.csv", "y\n0,1\n")), HasSubstr("2 fields, the first line has 1"));
  EXPECT_THAT(Error(Write("a.csv", "a,b\n0,1\n")), HasSubstr("2 columns, none of them 'label'"));
  EXPECT_THAT(Error(Write("a.txt", "0\n")), HasSubstr("from .npy, .npz and .csv files"));
  EXPECT_EQ(ReadLabels(folder_ / "absent.csv", "").status().code(), StatusCode::kNotFound);
}

TEST_F(LabelsTest, KnowsTheShapesOfLabels) {
  const std::vector<float> values = {0, 1};
  EXPECT_FALSE(LabelsOf(Constant::Of<float>({1, 2}, std::span<const float>(values))).ok());
  EXPECT_FALSE(LabelsOf(Constant::OfStrings({1}, {"1"})).ok());
}

}  // namespace
}  // namespace verdict
