#include <gmock/gmock.h>

#include <cmath>

#include "ops/op_test.h"
#include "ops/verify.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;

std::vector<Constant> RunOne(const Node& node, const std::vector<Constant>& inputs) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? *outputs : std::vector<Constant>{Tensor<float>({0}, {})};
}

std::string ErrorOf(const Node& node, const std::vector<Constant>& inputs) {
  return RunOp(node, inputs).status().message();
}

TEST(Scaler, SubtractsAndMultipliesEachFeature) {
  const Node node = MakeNode("Scaler", 3);
  const Constant offset = Tensor<float>({2}, {1, 10});
  const Constant scale = Tensor<float>({2}, {2, 0.5F});
  for (const Constant& x :
       {Tensor<float>({2, 2}, {1, 12, 3, 10}), Tensor<double>({2, 2}, {1, 12, 3, 10}),
        Tensor<int32_t>({2, 2}, {1, 12, 3, 10}), Tensor<int64_t>({2, 2}, {1, 12, 3, 10})}) {
    EXPECT_THAT(Values<float>(RunOne(node, {x, offset, scale})[0]), ElementsAre(0, 1, 4, 0));
  }
  EXPECT_THAT(Values<float>(RunOne(node, {Tensor<float>({1, 2}, {1, 2}), Tensor<float>({1}, {1}),
                                          Tensor<float>({1}, {3})})[0]),
              ElementsAre(0, 3));
  EXPECT_THAT(ErrorOf(node, {Tensor<float>({1, 3}, {1, 2, 3}), offset, scale}),
              HasSubstr("input 1 (offset) has shape [2], needs [3]"));
}

// The numbers are ONNX Runtime's own outputs.
TEST(Normalizer, DividesEachRowByItsNorm) {
  const Constant x = Tensor<float>({3, 3}, {1, -2, 3, 0, 0, 0, NAN, 1, 2});
  const auto run = [](const char* norm, const Constant& in) {
    return Values<float>(RunOne(MakeNode("Normalizer", 1, {{"norm", std::string(norm)}}), {in})[0]);
  };
  auto y = run("MAX", x);
  EXPECT_TRUE(std::isnan(y[6]));
  y[6] = 0;
  EXPECT_THAT(y,
              Pointwise(FloatNear(1e-6F), {1.F / 3, -2.F / 3, 1.F, 0.F, 0.F, 0.F, 0.F, 0.5F, 1.F}));
  EXPECT_THAT(run("MAX", Tensor<float>({1, 3}, {-1, 2, -3})),
              Pointwise(FloatNear(1e-6F), {-0.5F, 1.F, -1.5F}));
  EXPECT_THAT(run("L1", Tensor<int64_t>({3}, {1, -2, 3})),
              Pointwise(FloatNear(1e-6F), {1.F / 6, -1.F / 3, 0.5F}));
  y = run("L2", x);
  EXPECT_TRUE(std::isnan(y[6]) && std::isnan(y[7]));
  y.resize(6);
  EXPECT_THAT(y,
              Pointwise(FloatNear(1e-6F), {0.26726124F, -0.5345225F, 0.80178374F, 0.F, 0.F, 0.F}));
  EXPECT_THAT(ErrorOf(MakeNode("Normalizer", 1, {{"norm", std::string("L3")}}), {x}),
              HasSubstr("unknown norm 'L3'"));
}

TEST(Imputer, ReplacesMissingValues) {
  const Node node = MakeNode("Imputer", 3);
  EXPECT_THAT(
      Values<float>(RunOne(node, {Tensor<float>({2, 2}, {NAN, 1, 2, NAN}),
                                  Tensor<float>({2}, {10, 20}), Tensor<float>({}, {NAN})})[0]),
      ElementsAre(10, 1, 2, 20));
  EXPECT_THAT(
      Values<int64_t>(RunOne(node, {Tensor<int64_t>({2, 2}, {-1, 1, 2, -1}),
                                    Tensor<int64_t>({1}, {7}), Tensor<int64_t>({}, {-1})})[0]),
      ElementsAre(7, 1, 2, 7));
  EXPECT_THAT(ErrorOf(node, {Tensor<float>({1, 1}, {1}), Tensor<float>({2}, {1, 2}),
                             Tensor<float>({}, {0})}),
              HasSubstr("input 1 (values) has shape [2], needs [1]"));
}

TEST(Binarizer, ComparesWithTheThreshold) {
  const Node node = MakeNode("Binarizer", 1, {{"threshold", 1.5F}});
  EXPECT_THAT(Values<float>(RunOne(node, {Tensor<float>({4}, {1, 1.5F, 2, NAN})})[0]),
              ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(Values<int64_t>(RunOne(node, {Tensor<int64_t>({2}, {1, 2})})[0]), ElementsAre(0, 1));
}

TEST(LabelEncoder, MapsBetweenEveryPairOfTypes) {
  const std::vector<Constant> keys = {Tensor<int64_t>({2}, {-3, 5}), Tensor<float>({2}, {-3, 5}),
                                      Tensor<double>({2}, {-3, 5}),
                                      Constant::OfStrings({2}, {"-3", "5"})};
  const std::vector<Constant> x = {Tensor<int64_t>({3}, {5, 4, -3}), Tensor<float>({3}, {5, 4, -3}),
                                   Tensor<double>({3}, {5, 4, -3}),
                                   Constant::OfStrings({3}, {"5", "4", "-3"})};
  const Node node = MakeNode("LabelEncoder", 4);
  const Constant names = Constant::OfStrings({2}, {"minus three", "five"});
  const Constant unknown = Constant::OfStrings({}, {"?"});
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_THAT(Values<std::string_view>(RunOne(node, {x[i], keys[i], names, unknown})[0]),
                ElementsAre("five", "?", "minus three"));
    EXPECT_THAT(Values<int64_t>(RunOne(node, {x[i], keys[i], Tensor<int64_t>({2}, {30, 50}),
                                              Tensor<int64_t>({}, {-1})})[0]),
                ElementsAre(50, -1, 30));
    EXPECT_THAT(Values<float>(RunOne(node, {x[i], keys[i], Tensor<float>({2}, {0.3F, 0.5F}),
                                            Tensor<float>({}, {-1})})[0]),
                ElementsAre(0.5F, -1, 0.3F));
    EXPECT_THAT(Values<double>(RunOne(node, {x[i], keys[i], Tensor<double>({2}, {0.3, 0.5}),
                                             Tensor<double>({}, {-1})})[0]),
                ElementsAre(0.5, -1, 0.3));
  }
}

TEST(LabelEncoder, FindsEveryKeyAndNaN) {
  const Node node = MakeNode("LabelEncoder", 4);
  const Constant values = Tensor<int64_t>({4}, {0, 1, 2, 3});
  const Constant other = Tensor<int64_t>({}, {-1});
  EXPECT_THAT(
      Values<int64_t>(RunOne(node, {Tensor<float>({6}, {NAN, 8, 1, -2, 9, INFINITY}),
                                    Tensor<float>({4}, {-2, 1, 8, NAN}), values, other})[0]),
      ElementsAre(3, 2, 1, 0, -1, -1));
  EXPECT_THAT(Values<int64_t>(RunOne(node, {Tensor<float>({2}, {NAN, 8}),
                                            Tensor<float>({4}, {-2, 1, 8, 9}), values, other})[0]),
              ElementsAre(-1, 2));
  EXPECT_THAT(Values<int64_t>(RunOne(node, {Tensor<float>({1}, {1}), Tensor<float>({0}, {}),
                                            Tensor<int64_t>({0}, {}), other})[0]),
              ElementsAre(-1));
}

TEST(LabelEncoder, VerifyGraphRefusesKeysOutOfOrder) {
  const auto verify = [](Constant keys) {
    Graph graph;
    Node node = MakeNode("LabelEncoder", 0);
    node.inputs = {graph.AddInput("x", keys.dtype, {1}), graph.AddConstant("keys", keys),
                   graph.AddConstant("values", keys),
                   graph.AddConstant("default", Tensor<float>({}, {0}))};
    node.outputs = {graph.AddValue("y", keys.dtype, {1})};
    graph.outputs = node.outputs;
    graph.nodes.push_back(node);
    return VerifyGraph(graph).message();
  };
  EXPECT_THAT(verify(Tensor<float>({3}, {1, 2, NAN})), IsEmpty());
  EXPECT_THAT(verify(Tensor<float>({3}, {1, NAN, 2})), HasSubstr("keys[2]"));
  EXPECT_THAT(verify(Tensor<float>({2}, {NAN, NAN})), HasSubstr("keys[1]"));
  EXPECT_THAT(verify(Tensor<float>({3}, {1, 1, 2})), HasSubstr("keys[1]"));
  EXPECT_THAT(verify(Constant::OfStrings({2}, {"b", "a"})), HasSubstr("keys[1]"));
}

TEST(OneHotEncoder, MarksTheCategory) {
  const Constant cats = Tensor<int64_t>({3}, {7, 1, 3});
  const Node node = MakeNode("OneHotEncoder", 2);
  const auto y = RunOne(node, {Tensor<int64_t>({2, 1}, {3, 7}), cats});
  EXPECT_EQ(y[0].shape, (Shape{2, 1, 3}));
  EXPECT_THAT(Values<float>(y[0]), ElementsAre(0, 0, 1, 1, 0, 0));
  EXPECT_THAT(Values<float>(RunOne(node, {Tensor<float>({3}, {1.9F, NAN, 2}), cats})[0]),
              ElementsAre(0, 1, 0, 0, 0, 0, 0, 0, 0));
  const Constant large = Tensor<int64_t>({2}, {16777217, 16777219});
  EXPECT_THAT(Values<float>(RunOne(node, {Tensor<float>({2}, {16777216, 16777220}), large})[0]),
              ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Values<float>(RunOne(node, {Tensor<float>({2}, {INFINITY, -1e30F}), large})[0]),
              ElementsAre(0, 0, 0, 0));
  const Constant names = Constant::OfStrings({2}, {"US", "DE"});
  EXPECT_THAT(Values<float>(RunOne(node, {Constant::OfStrings({2}, {"DE", "FR"}), names})[0]),
              ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(ErrorOf(MakeNode("OneHotEncoder", 2, {{"zeros", int64_t{0}}}),
                      {Tensor<int64_t>({2}, {1, 2}), cats}),
              HasSubstr("element 1 of X is not among the categories"));
}

TEST(ArrayFeatureExtractor, TakesColumns) {
  const Node node = MakeNode("ArrayFeatureExtractor", 2);
  const Constant x = Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(Values<float>(RunOne(node, {x, Tensor<int64_t>({1, 2}, {2, 0})})[0]),
              ElementsAre(3, 1, 6, 4));
  const auto row = RunOne(node, {Tensor<double>({2}, {8, 9}), Tensor<int64_t>({1}, {1})});
  EXPECT_EQ(row[0].shape, (Shape{1, 1}));
  EXPECT_THAT(Values<double>(row[0]), ElementsAre(9));
  EXPECT_THAT(ErrorOf(node, {x, Tensor<int64_t>({1}, {3})}), HasSubstr("index 3"));
  EXPECT_THAT(ErrorOf(node, {x, Tensor<int64_t>({1}, {-1})}), HasSubstr("index -1"));
}

TEST(FeatureVectorizer, PlacesInputsBesideEachOther) {
  const Node node =
      MakeNode("FeatureVectorizer", 3, {{"inputdimensions", std::vector<int64_t>{1, 3, 1}}});
  const auto y = RunOne(node, {Tensor<double>({2}, {9, 10}), Tensor<int64_t>({2, 2}, {5, 6, 7, 8}),
                               Tensor<float>({2, 2}, {1, 2, 3, 4})});
  EXPECT_EQ(y[0].shape, (Shape{2, 5}));
  EXPECT_THAT(Values<float>(y[0]), ElementsAre(9, 5, 6, 0, 1, 10, 7, 8, 0, 3));
  EXPECT_THAT(
      ErrorOf(MakeNode("FeatureVectorizer", 2, {{"inputdimensions", std::vector<int64_t>{1, 1}}}),
              {Tensor<float>({2, 1}, {1, 2}), Tensor<float>({3, 1}, {1, 2, 3})}),
      HasSubstr("input 1 (X) has shape [3,1], needs as many rows as input 0, 2"));
}

}  // namespace
}  // namespace verdict
