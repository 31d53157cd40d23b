#include "tools/samples/npz_samples.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
Constant Array(const Shape& shape, std::vector<T> values) {
  return Constant::Of<T>(shape, std::span<const T>(values));
}

Graph Single(int64_t features) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), features});
  return graph;
}

Result<std::unique_ptr<SampleSource>> Open(const Graph& graph, NamedTensors arrays,
                                           const SampleOptions& options = {.label = "label"}) {
  return OpenNpzSamples(std::move(arrays), "f.npz", SampleLayout::Of(graph).value(), options);
}

TEST(NpzSamples, CutsArraysIntoSamples) {
  Graph graph = Single(2);
  graph.AddInput("country", DataType::kString, Shape{graph.Symbol("N")});
  auto source = Open(graph, {{"x", Array<double>({3, 2}, {1, 2, 3, 4, 5, 6})},
                             {"country", Constant::OfStrings({3}, {"DE", "FR", "AT"})},
                             {"label", Array<int64_t>({3}, {0, 1, 0})},
                             {"other", Array<float>({1}, {0})}});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  for (int pass = 0; pass < 2; ++pass) {
    const Samples first = Take(source->get(), 2);
    EXPECT_THAT(Values<float>(first.inputs[0]), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(first.labels, ElementsAre(0, 1));
    const Samples second = Take(source->get(), 2);
    EXPECT_EQ(second.rows, 1);
    EXPECT_THAT(Values<std::string_view>(second.inputs[1]), ElementsAre("AT"));
    EXPECT_EQ(Take(source->get(), 2).rows, 0);
    ASSERT_TRUE((*source)->Rewind().ok());
  }
}

TEST(NpzSamples, CutsTimeMajorArraysAlongTheBatch) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("T"), n, 2});
  graph.outputs.push_back(graph.AddValue("score", DataType::kFloat32, Shape{n}));
  std::vector<float> values(2 * 3 * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  auto source = Open(graph, {{"x", Array<float>({2, 3, 2}, values)}});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  const Samples all = Take(source->get());
  EXPECT_EQ(all.rows, 3);
  EXPECT_EQ(Values<float>(all.inputs[0]), values);
  ASSERT_TRUE((*source)->Rewind().ok());
  Take(source->get(), 2);
  const Samples last = Take(source->get());
  EXPECT_EQ(last.inputs[0].shape, (Shape{2, 1, 2}));
  EXPECT_THAT(Values<float>(last.inputs[0]), ElementsAre(4, 5, 10, 11));
}

TEST(NpzSamples, TakesOneMoreExtentInFrontWhereThereIsNoBatch) {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{1, 2});
  auto source = Open(graph, {{"x", Array<float>({2, 1, 2}, {1, 2, 3, 4})}});
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  Take(source->get());
  const Samples second = Take(source->get());
  EXPECT_EQ(second.inputs[0].shape, (Shape{1, 2}));
  EXPECT_THAT(Values<float>(second.inputs[0]), ElementsAre(3, 4));
  EXPECT_THAT(ErrorOf(Open(graph, {{"x", Array<float>({2, 2}, {1, 2, 3, 4})}})),
              HasSubstr("f.npz: array 'x' is float32 [2,2]: a sample has the shape [2], the model "
                        "takes float32 [1,2] (one sample a run)"));
}

TEST(NpzSamples, NamesTheSampleOfABadValue) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ErrorOf(Open(Single(2), {{"x", Array<float>({2, 2}, {1, 2, 3, std::nanf("")})}})),
            "f.npz, sample 1 (counted from 0): input 'x': value 1: NaN or missing; fill it in or "
            "leave the sample out");
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", Array<float>({1, 1}, {infinity})}})),
              HasSubstr("an infinite value"));
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", Array<double>({1, 1}, {1e39})}})),
              HasSubstr("out of the range of float32"));
}

TEST(NpzSamples, ChecksShapesTypesAndNames) {
  EXPECT_THAT(ErrorOf(Open(Single(2), {{"x", Array<float>({1, 3}, {1, 2, 3})}})),
              HasSubstr("array 'x' is float32 [1,3]: a sample has the shape [3], the model takes "
                        "float32 [N,2]"));
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", Constant::OfStrings({1, 1}, {"1"})}})),
              HasSubstr("save x.astype('float32')"));
  EXPECT_THAT(
      ErrorOf(Open(Single(1), {{"amounts", Array<float>({1}, {1})}})),
      HasSubstr("there is no array 'x' for an input (float32 [N,1]); the file has 'amounts'"));
  Graph graph = Single(1);
  graph.AddInput("amount", DataType::kFloat32, Shape{graph.Symbol("N")});
  EXPECT_THAT(
      ErrorOf(Open(graph, {{"x", Array<float>({1, 1}, {1})}, {"amounts", Array<float>({1}, {1})}})),
      HasSubstr("(did you mean 'amounts'?)"));
  EXPECT_THAT(ErrorOf(Open(graph, {{"x", Array<float>({1, 1}, {1})},
                                   {"amount", Array<float>({2}, {1, 2})}})),
              HasSubstr("array 'amount' has 2 samples, 'x' has 1"));
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", Array<float>({}, {1})}})),
              HasSubstr("array 'x' is float32 []"));
}

TEST(NpzSamples, ChecksLabels) {
  const Constant x = Array<float>({2, 1}, {1, 2});
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", x}, {"label", Array<int64_t>({1}, {1})}})),
              HasSubstr("array 'label' has 1 labels for 2 samples"));
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", x}, {"label", Array<int64_t>({2}, {1, 2})}})),
              HasSubstr("sample 1 (counted from 0): the label is 2"));
  EXPECT_THAT(ErrorOf(Open(Single(1), {{"x", x}}, {"y", true})),
              HasSubstr("there is no array 'y' for the labels"));
}

}  // namespace
}  // namespace verdict
