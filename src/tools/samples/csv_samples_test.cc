#include "tools/samples/csv_samples.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// amount[N], country[N] (text), v[N,2].
Graph Mixed() {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("amount", DataType::kFloat32, Shape{n, 1});
  graph.AddInput("country", DataType::kString, Shape{n});
  graph.AddInput("v", DataType::kInt32, Shape{n, 2});
  return graph;
}

Graph Single(int64_t features) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), features});
  return graph;
}

Result<std::unique_ptr<SampleSource>> Open(const Graph& graph, std::string text,
                                           const SampleOptions& options = {.label = "label"}) {
  return OpenCsvSamples(TextOf(std::move(text), "f.csv"), SampleLayout::Of(graph).value(), options);
}

TEST(CsvSamples, FindsColumnsByName) {
  auto source = Open(Mixed(),
                     "v_1,id,country,label,v_0,amount\r\n"
                     "2,a,\"DE,AT\",0,1,9.5\r\n"
                     "4,b,FR,1.0,3,\"1e2\"\r\n");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_TRUE((*source)->has_labels());
  const Samples samples = Take(source->get());
  EXPECT_EQ(samples.rows, 2);
  EXPECT_THAT(Values<float>(samples.inputs[0]), ElementsAre(9.5, 100));
  EXPECT_EQ(samples.inputs[0].shape, (Shape{2, 1}));
  EXPECT_THAT(Values<std::string_view>(samples.inputs[1]), ElementsAre("DE,AT", "FR"));
  EXPECT_THAT(Values<int32_t>(samples.inputs[2]), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(samples.labels, ElementsAre(0, 1));
  EXPECT_EQ(Take(source->get()).rows, 0);
}

TEST(CsvSamples, ReadsABoundedPartAtATimeAndAgain) {
  auto source = Open(Single(1), "x\n1\n2\n3\n");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_FALSE((*source)->has_labels());
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_THAT(Values<float>(Take(source->get(), 2).inputs[0]), ElementsAre(1, 2));
    EXPECT_THAT(Values<float>(Take(source->get(), 2).inputs[0]), ElementsAre(3));
    EXPECT_EQ(Take(source->get(), 2).rows, 0);
    ASSERT_TRUE((*source)->Rewind().ok());
  }
}

TEST(CsvSamples, GivesASingleInputAllColumnsInOrder) {
  auto source = Open(Single(3), "Time,Class,V1,Amount\n1,0,2,3\n", {"Class", true});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_THAT(Values<float>(Take(source->get()).inputs[0]), ElementsAre(1, 2, 3));
  source = Open(Single(2), "0,1\n5,6\n");  // as pandas names columns without names
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_THAT(Values<float>(Take(source->get()).inputs[0]), ElementsAre(5, 6));
}

TEST(CsvSamples, FindsOutTheLengthOfASequence) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("T"), n, 2});
  graph.outputs.push_back(graph.AddValue("score", DataType::kFloat32, Shape{n}));
  auto source = Open(graph, "x[0],x[1],x[2],x[3]\n1,2,3,4\n5,6,7,8\n");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  const Samples samples = Take(source->get());
  EXPECT_EQ(samples.inputs[0].shape, (Shape{2, 2, 2}));
  EXPECT_THAT(Values<float>(samples.inputs[0]), ElementsAre(1, 2, 5, 6, 3, 4, 7, 8));
}

TEST(CsvSamples, GivesOneSampleARunWhereThereIsNoBatch) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{1, 2});
  auto source = Open(graph, "a,b\n1,2\n3,4\n");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  Take(source->get());
  const Samples samples = Take(source->get());
  EXPECT_EQ(samples.rows, 1);
  EXPECT_EQ(samples.inputs[0].shape, (Shape{1, 2}));
  EXPECT_THAT(Values<float>(samples.inputs[0]), ElementsAre(3, 4));
}

TEST(CsvSamples, NamesTheLineInputAndColumnOfABadValue) {
  EXPECT_EQ(
      ErrorOf(Open(Single(2), "x_0,x_1\n1,2\n3,\n")),
      "f.csv, line 3: input 'x', column 'x_1': NaN or missing; fill it in or leave the sample "
      "out");
  EXPECT_THAT(ErrorOf(Open(Single(2), "x_0,x_1\n1,inf\n")), HasSubstr("an infinite value"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "x_0,x_1\n1,abc\n")), HasSubstr("'abc' is not a number"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "x_0,x_1\n1,2,3\n")),
              HasSubstr("f.csv, line 2: 3 fields, the header has 2"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "x,label\n1,0\n1,2\n")),
              HasSubstr("f.csv, line 3: the label is 2; it must be 1 (fraud) or 0"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "x,label\n1,\n")), HasSubstr("the label is missing"));
}

TEST(CsvSamples, LetsNanThroughWhereTheModelImputes) {
  auto source = Open(Single(2), "a,b\n,nan\n", {.allow_nan = true});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  for (const float value : Values<float>(Take(source->get()).inputs[0])) {
    EXPECT_TRUE(std::isnan(value));
  }
}

TEST(CsvSamples, SuggestsTheNameThatWasMeant) {
  EXPECT_THAT(ErrorOf(Open(Mixed(), "Amount,country,v_0,v_1\n")),
              AllOf(HasSubstr("f.csv: there is no column 'amount' for input 'amount' (float32 "
                              "[N,1]) (did you mean 'Amount'?)"),
                    HasSubstr("the file has columns 'Amount', 'country', 'v_0', 'v_1'")));
  EXPECT_THAT(ErrorOf(Open(Mixed(), "amount,country,w\n")),
              HasSubstr("there is no column 'v[0]', 'v[1]', … (or 'v_0', …)"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "x,Label\n", {"label", true})),
              HasSubstr("no column 'label' for the labels (did you mean 'Label'?)"));
}

TEST(CsvSamples, CountsColumns) {
  EXPECT_THAT(ErrorOf(Open(Mixed(), "amount,country,v_0,v_1,v_2\n")),
              HasSubstr("input 'v', columns 'v_0' to 'v_2': a sample has 3 values, the model takes "
                        "int32 [N,2]"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "Time,V1,Class\n")),
              AllOf(HasSubstr("input 'x': a sample has 3 values, the model takes float32 [N,2]"),
                    HasSubstr("name it with --label-column")));
  EXPECT_THAT(ErrorOf(Open(Single(2), ",a,b\n")), HasSubstr("index=False"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "a;b\n")), HasSubstr("must be separated by commas"));
}

TEST(CsvSamples, RefusesAFileWithoutAUsableHeader) {
  EXPECT_THAT(ErrorOf(Open(Single(2), "0.5,1\n1,2\n")),
              HasSubstr("f.csv: the first line must name the columns, but holds numbers"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "")), HasSubstr("f.csv: the file is empty"));
  EXPECT_THAT(ErrorOf(Open(Single(2), "a,a\n")), HasSubstr("column 'a' is there twice"));
}

}  // namespace
}  // namespace verdict
