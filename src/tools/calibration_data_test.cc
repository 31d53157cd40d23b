#include "tools/calibration_data.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "tools/npz.h"
#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CalibrationDataTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("calibration." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    graph_.AddInput("x", DataType::kFloat32, Shape{graph_.Symbol("N"), 2});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  Result<std::unique_ptr<SampleSource>> Open(const std::filesystem::path& path,
                                             const CalibrationDataOptions& options = {}) {
    return OpenCalibrationData(path, graph_, options);
  }

  std::filesystem::path folder_;
  Graph graph_;
};

TEST_F(CalibrationDataTest, OpensEachFormatWithTheSameResult) {
  const std::vector<float> x = {1, 2, 3, 4};
  const std::vector<int64_t> y = {0, 1};
  const Constant x_array = Constant::Of<float>({2, 2}, std::span<const float>(x));
  const Constant y_array = Constant::Of<int64_t>({2}, std::span<const int64_t>(y));
  const std::vector<std::pair<std::string, TensorView>> arrays = {{"x", x_array.view()},
                                                                  {"label", y_array.view()}};
  ASSERT_TRUE(WriteNpz(folder_ / "a.npz", arrays).ok());
  for (const auto& path :
       {folder_ / "a.npz", Write("a.csv", "x_0,x_1,label\n1,2,0\n3,4,1\n"),
        Write("a.jsonl", "{\"x\":[1,2],\"label\":0}\n{\"x\":[3,4],\"label\":1}\n")}) {
    auto source = Open(path);
    ASSERT_TRUE(source.ok()) << source.status().ToString();
    EXPECT_TRUE((*source)->has_labels());
    const Samples samples = Take(source->get());
    EXPECT_EQ(samples.inputs[0].shape, (Shape{2, 2}));
    EXPECT_EQ(Values<float>(samples.inputs[0]), x);
    EXPECT_THAT(samples.labels, ElementsAre(0, 1));
  }
}

TEST_F(CalibrationDataTest, TakesLabelsFromAFileOfTheirOwn) {
  const auto path = Write("a.csv", "a,b\n1,2\n3,4\n5,6\n");
  auto source = Open(path, {.labels = Write("y.csv", "0\n1\n0\n")});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_THAT(Take(source->get(), 2).labels, ElementsAre(0, 1));
  EXPECT_THAT(Take(source->get(), 2).labels, ElementsAre(0));
  EXPECT_EQ(Take(source->get(), 2).rows, 0);

  EXPECT_THAT(ErrorOf(Open(path, {.labels = Write("y.csv", "0\n1\n")})),
              HasSubstr("y.csv: it has only 2 labels, there are more samples"));
  EXPECT_THAT(ErrorOf(Open(path, {.labels = Write("y.csv", "0\n1\n0\n1\n")})),
              HasSubstr("y.csv: it has 4 labels, there are only 3 samples"));
}

TEST_F(CalibrationDataTest, RefusesLabelsOfOneClass) {
  const auto path = Write("a.csv", "a,b,Class\n1,2,0\n3,4,0\n");
  EXPECT_THAT(ErrorOf(Open(path, {.label_column = "Class"})),
              HasSubstr("a.csv: all 2 labels are 0; accuracy can only be measured with both"));
  EXPECT_THAT(ErrorOf(Open(Write("a.csv", "a,b,label\n"))),
              HasSubstr("a.csv: there are no samples in it"));
}

TEST_F(CalibrationDataTest, ChecksAllSamplesAtOnceWhereThereAreLabels) {
  EXPECT_THAT(Open(Write("a.csv", "a,b,label\n1,2,0\n3,,1\n")).status().message(),
              HasSubstr("a.csv, line 3: input 'x', column 'b': NaN or missing"));
}

TEST_F(CalibrationDataTest, KnowsLabelsFromInputs) {
  graph_.AddInput("label", DataType::kFloat32, Shape{graph_.Symbol("N"), 1});
  auto source = Open(Write("a.csv", "x_0,x_1,label\n1,2,3\n"));
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_FALSE((*source)->has_labels());
  EXPECT_THAT(ErrorOf(Open(folder_ / "a.csv", {.label_column = "label"})),
              HasSubstr("--label-column label names an input of the model"));
}

TEST_F(CalibrationDataTest, SurvivesAFileThatChangesBetweenPasses) {
  const auto path = Write("a.csv", "a,b\n1,2\n3,4\n");
  auto source = Open(path);
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_EQ(Take(source->get()).rows, 2);
  Write("a.csv", "a,b,c\n1,2,3\n");
  EXPECT_EQ((*source)->Rewind().code(), StatusCode::kFailedPrecondition);
  Write("a.csv", "");
  EXPECT_EQ((*source)->Rewind().code(), StatusCode::kFailedPrecondition);
  Write("a.csv", "a,b\n1,2\n3");
  ASSERT_TRUE((*source)->Rewind().ok());
  EXPECT_FALSE((*source)->Next(100).ok());
}

TEST_F(CalibrationDataTest, NamesWhatItCanRead) {
  EXPECT_EQ(Open(folder_ / "absent.csv").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Open(folder_ / "absent.npz").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf(Open("a.parquet")), HasSubstr("from .npz, .csv and .jsonl files"));
  EXPECT_THAT(ErrorOf(Open("a.csv.gz")), HasSubstr("decompress it first"));
  EXPECT_THAT(ErrorOf(Open(Write("a.npz", "not a zip"))), HasSubstr("not an .npz file"));
}

/// The code blocks of a language in the reference.
std::vector<std::string> DocumentBlocks(const std::string& language) {
  std::ifstream stream(VERDICT_SOURCE_DIR "/docs/reference/calibration-data.md");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::string begin = "```" + language + "\n";
  std::vector<std::string> blocks;
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    blocks.push_back(text.substr(at, text.find("```", at) - at));
  }
  return blocks;
}

TEST_F(CalibrationDataTest, ReadsTheExamplesOfTheReference) {
  Graph mixed;
  const Dim n = mixed.Symbol("N");
  mixed.AddInput("amount", DataType::kFloat32, Shape{n, 1});
  mixed.AddInput("country", DataType::kString, Shape{n, 1});
  mixed.AddInput("v", DataType::kFloat32, Shape{n, 2});
  Graph card;
  card.AddInput("x", DataType::kFloat32, Shape{card.Symbol("N"), 4});

  const auto csv = DocumentBlocks("csv");
  const auto json = DocumentBlocks("json");
  ASSERT_EQ(csv.size(), 2U);
  ASSERT_EQ(json.size(), 1U);
  auto source = OpenCalibrationData(Write("a.csv", csv[0]), mixed, {});
  EXPECT_EQ(ErrorOf(source), "none");
  source = OpenCalibrationData(Write("a.jsonl", json[0]), mixed, {});
  EXPECT_EQ(ErrorOf(source), "none");
  source = OpenCalibrationData(Write("a.csv", csv[1]), card, {.label_column = "Class"});
  EXPECT_EQ(ErrorOf(source), "none");
}

}  // namespace
}  // namespace verdict
