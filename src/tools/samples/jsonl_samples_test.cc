#include "tools/samples/jsonl_samples.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// amount[N], country[N] (text), online[N] (bool), history[N,T,2].
Graph Mixed() {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("amount", DataType::kFloat32, Shape{n});
  graph.AddInput("country", DataType::kString, Shape{n, 1});
  graph.AddInput("online", DataType::kBool, Shape{n});
  graph.AddInput("history", DataType::kInt64, Shape{n, graph.Symbol("T"), 2});
  return graph;
}

Graph Single(int64_t features) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), features});
  return graph;
}

Result<std::unique_ptr<SampleSource>> Open(const Graph& graph, std::string text,
                                           const SampleOptions& options = {.label = "label"}) {
  return OpenJsonlSamples(TextOf(std::move(text), "f.jsonl"), SampleLayout::Of(graph).value(),
                          options);
}

TEST(JsonlSamples, ReadsAnObjectALine) {
  auto source = Open(
      Mixed(),
      R"({"amount": 9.5, "country": "DE", "online": true, "history": [[1,2],[3,4]], "label": 0})"
      "\n\n"
      R"({"id": 7, "label": true, "history": [5,6,7,8], "country": ["FR"], "online": 0, "amount": [1]})");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_TRUE((*source)->has_labels());
  for (int pass = 0; pass < 2; ++pass) {
    const Samples samples = Take(source->get());
    ASSERT_EQ(samples.rows, 2);
    EXPECT_THAT(Values<float>(samples.inputs[0]), ElementsAre(9.5, 1));
    EXPECT_THAT(Values<std::string_view>(samples.inputs[1]), ElementsAre("DE", "FR"));
    EXPECT_THAT(Values<bool>(samples.inputs[2]), ElementsAre(true, false));
    EXPECT_EQ(samples.inputs[3].shape, (Shape{2, 2, 2}));
    EXPECT_THAT(Values<int64_t>(samples.inputs[3]), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
    EXPECT_THAT(samples.labels, ElementsAre(0, 1));
    EXPECT_EQ(Take(source->get()).rows, 0);
    ASSERT_TRUE((*source)->Rewind().ok());
  }
}

TEST(JsonlSamples, TakesRowsAsRequestsHaveThem) {
  auto source = Open(Single(2), R"({"x": [[1, 2]]})");
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_THAT(Values<float>(Take(source->get()).inputs[0]), ElementsAre(1, 2));
}

TEST(JsonlSamples, NamesTheLineInputAndPositionOfABadValue) {
  const std::string good = "{\"x\": [1, 2]}\n";
  EXPECT_EQ(ErrorOf(Open(Single(2), good + R"({"x": [1, null]})")),
            "f.jsonl, line 2: input 'x': value 1: NaN or missing; fill it in or leave the sample "
            "out");
  EXPECT_THAT(ErrorOf(Open(Single(2), good + R"({"x": [1, NaN]})")),
              HasSubstr("a missing value is null"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, "2"]})")),
              HasSubstr("text '2', where a number must be; write it without quotes"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, true]})")),
              HasSubstr("true or false, where a number must be"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": {"0": 1}})")),
              HasSubstr("a sample has 1 value, the model takes float32 [N,2]"));
  EXPECT_THAT(ErrorOf(Open(Single(1), R"({"x": {"0": 1}})")), HasSubstr("an object or array"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, 1e39]})")),
              HasSubstr("out of the range of float32"));
  EXPECT_THAT(ErrorOf(Open(Single(2), good + R"({"x": [1, 2], "label": 3})")), "none");
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, 2], "label": 3})")),
              HasSubstr("f.jsonl, line 1: the label is 3"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, 2], "label": "a"})")),
              HasSubstr("the label: text 'a'"));
}

TEST(JsonlSamples, LetsNanThroughWhereTheModelImputes) {
  auto source = Open(Single(1), R"({"x": null})", {.allow_nan = true});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_TRUE(std::isnan(Values<float>(Take(source->get()).inputs[0])[0]));
}

TEST(JsonlSamples, ChecksCountsAndNesting) {
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, 2, 3]})")),
              HasSubstr("the shape [3], the model takes float32 [N,2]"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [[1], 2]})")),
              HasSubstr("arrays and single values side by side"));
  EXPECT_THAT(ErrorOf(Open(Single(3), R"({"x": [[1], [2, 3]]})")),
              HasSubstr("arrays of 1 and of 2 values side by side"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": []})")), HasSubstr("the shape [0]"));
  EXPECT_THAT(ErrorOf(Open(Single(2), R"({"x": [1, 2], "x": [1, 2]})")),
              HasSubstr("input 'x' is there twice"));
  Graph graph = Mixed();
  EXPECT_THAT(
      ErrorOf(Open(graph,
                   R"({"amount": 1, "country": "", "online": 1, "history": [[1, 2]]})"
                   "\n"
                   R"({"amount": 1, "country": "", "online": 1, "history": [[1, 2], [3, 4]]})")),
      HasSubstr("f.jsonl, line 2: input 'history': a sample has the shape [2,2], the model takes "
                "int64 [N,T,2], and the samples before have [1,2]"));
}

TEST(JsonlSamples, SuggestsTheKeyThatWasMeant) {
  EXPECT_EQ(ErrorOf(Open(Single(1), R"({"X": 1})")),
            "f.jsonl, line 1: there is no key 'x' for an input (float32 [N,1])");
  EXPECT_THAT(ErrorOf(Open(Mixed(), R"({"amuont": 1})")), HasSubstr("did you mean 'amuont'?"));
  EXPECT_THAT(ErrorOf(Open(Single(1), R"({"x": 1, "clas": 0})", {"class", true})),
              HasSubstr("there is no key 'class' for labels (did you mean 'clas'?)"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "{\"x\": 1, \"label\": 0}\n{\"x\": 1}")),
              HasSubstr("f.jsonl, line 2: there is no key 'label' for the label"));
}

TEST(JsonlSamples, RefusesWhatIsNoObject) {
  EXPECT_THAT(ErrorOf(Open(Single(1), "[1, 2]")), HasSubstr("line 1: not a JSON object"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "{\"x\": 1")), HasSubstr("line 1: not JSON"));
  EXPECT_THAT(ErrorOf(Open(Single(1), std::string(100, '[') + std::string(100, ']'))),
              HasSubstr("line 1: not JSON"));
  EXPECT_THAT(ErrorOf(Open(Single(1), "\n \n")), HasSubstr("f.jsonl: there are no samples in it"));
}

}  // namespace
}  // namespace verdict
