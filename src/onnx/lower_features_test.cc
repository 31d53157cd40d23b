#include <limits>

#include "onnx/model_builder_test.h"

// Linear models and feature operators of ai.onnx.ml. Expected values of the linear classifier with
// one score are those of ONNX Runtime 1.22.

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = StatusCode::kUnimplemented;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using AttributeList = std::vector<onnx::AttributeProto>;

testing::Matcher<const std::vector<float>&> Near(const std::vector<float>& expected) {
  return Pointwise(FloatNear(1e-6f), expected);
}

TestModel OneMlNode(const std::string& op, const std::vector<std::string>& dims,
                    const AttributeList& attributes, int32_t type = onnx::TensorProto::FLOAT,
                    int64_t ml_opset = 3) {
  TestModel model(17, ml_opset);
  model.Input("x", dims, type).MlNode(op, {"x"}, {"y"}, attributes).Output("y");
  return model;
}

template <typename In, typename Out>
std::vector<Out> RunOnce(const TestModel& model, const Shape& shape, const std::vector<In>& x) {
  const auto imported = model.Import();
  const auto outputs = RunModel(imported, {Tensor<In>(shape, x)});
  if (outputs.empty()) return {};
  return Values<Out>(outputs[0]);
}

TestModel Classifier(const AttributeList& attributes, int32_t type = onnx::TensorProto::FLOAT) {
  TestModel model;
  model.Input("x", {"N", "2"}, type);
  model.MlNode("LinearClassifier", {"x"}, {"label", "scores"}, attributes);
  model.Output("label").Output("scores");
  return model;
}

TEST(LinearClassifier, ScoresEveryClass) {
  const auto model = Classifier(
      {FloatsAttr("coefficients", {1, 2, 3, 4, 5, 6}), FloatsAttr("intercepts", {0.5f, 0, 0}),
       IntsAttr("classlabels_ints", {7, 8, 9}), IntAttr("multi_class", 1)});
  const auto outputs = RunModel(model.Import(), {Tensor<float>({2, 2}, {1, 1, -1, -1})});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(3.5f, 7, 11, -2.5f, -7, -11));
  EXPECT_THAT(Values<int64_t>(outputs[0]), ElementsAre(9, 7));
}

TEST(LinearClassifier, TakesOneScoreForTwoClasses) {
  const auto run = [](const std::string& post_transform) {
    return RunModel(
        Classifier({FloatsAttr("coefficients", {1, 0.5f}), FloatsAttr("intercepts", {0.1f}),
                    IntsAttr("classlabels_ints", {0, 1}),
                    StringAttr("post_transform", post_transform)})
            .Import(),
        {Tensor<float>({2, 2}, {0.1f, 0.2f, -1, 0.3f})});
  };
  const auto raw = run("NONE");
  ASSERT_EQ(raw.size(), 2U);
  EXPECT_THAT(Values<int64_t>(raw[0]), ElementsAre(1, 0));
  EXPECT_THAT(Values<float>(raw[1]), Near({0.7f, 0.3f, 1.75f, -0.75f}));
  const auto logistic = run("LOGISTIC");
  ASSERT_EQ(logistic.size(), 2U);
  EXPECT_THAT(Values<float>(logistic[1]), Near({0.4255575f, 0.5744425f, 0.6791787f, 0.3208213f}));
}

TEST(LinearClassifier, CastsOtherNumbers) {
  const AttributeList attributes = {FloatsAttr("coefficients", {1, 0, 0, 1}),
                                    StringsAttr("classlabels_strings", {"a", "b"})};
  const auto imported = Classifier(attributes, onnx::TensorProto::INT64).Import();
  const auto outputs = RunModel(imported, {Tensor<int64_t>({1, 2}, {3, 4})});
  ASSERT_EQ(outputs.size(), 2U);
  EXPECT_THAT(Values<float>(outputs[1]), ElementsAre(3, 4));
  EXPECT_THAT(Values<std::string_view>(outputs[0]), ElementsAre("b"));
  EXPECT_TRUE(Classifier(attributes, onnx::TensorProto::DOUBLE).Import().ok());
  ExpectError(Classifier(attributes, onnx::TensorProto::BOOL).Import(), kInvalid,
              {"node 'label' (LinearClassifier)", "bool"});
}

TEST(LinearClassifier, RefusesCoefficientsThatDoNotFit) {
  const auto labels = IntsAttr("classlabels_ints", {0, 1, 2});
  ExpectError(Classifier({FloatsAttr("coefficients", {1, 2, 3, 4}), labels}).Import(), kInvalid,
              {"node 'label' (LinearClassifier)", "4 coefficients", "3 scores"});
  ExpectError(Classifier({labels}).Import(), kInvalid, {"0 coefficients"});
  ExpectError(Classifier({FloatsAttr("coefficients", {1, 2, 3, 4, 5, 6}),
                          FloatsAttr("intercepts", {1, 2}), labels})
                  .Import(),
              kInvalid, {"2 intercepts for 3 scores"});
  // The input has two features, the model three.
  ExpectError(
      Classifier({FloatsAttr("coefficients", {1, 2, 3, 4, 5, 6, 7, 8, 9}), labels}).Import(),
      kInvalid, {"(Gemm)"});
}

TEST(LinearRegressor, Predicts) {
  const auto one =
      OneMlNode("LinearRegressor", {"N", "2"},
                {FloatsAttr("coefficients", {1, 2}), FloatsAttr("intercepts", {0.5f})});
  EXPECT_THAT((RunOnce<float, float>(one, {1, 2}, {3, 4})), ElementsAre(11.5f));
  const auto two = OneMlNode("LinearRegressor", {"N", "2"},
                             {FloatsAttr("coefficients", {1, 0, 0, 1}), IntAttr("targets", 2),
                              StringAttr("post_transform", "LOGISTIC")});
  EXPECT_THAT((RunOnce<float, float>(two, {1, 2}, {0, 1})), Near({0.5f, 0.7310586f}));
  ExpectError(OneMlNode("LinearRegressor", {"N", "2"},
                        {FloatsAttr("coefficients", {1, 2}), IntAttr("targets", 0)})
                  .Import(),
              kInvalid, {"0 scores"});
}

TEST(Scaler, ScalesEveryFeature) {
  const auto model = OneMlNode("Scaler", {"N", "2"},
                               {FloatsAttr("offset", {1, 2}), FloatsAttr("scale", {10, 100})});
  EXPECT_THAT((RunOnce<float, float>(model, {1, 2}, {2, 4})), ElementsAre(10, 200));
  const auto scale_only = OneMlNode("Scaler", {"N", "2"}, {FloatsAttr("scale", {10, 100})});
  EXPECT_THAT((RunOnce<float, float>(scale_only, {1, 2}, {2, 4})), ElementsAre(20, 400));
}

TEST(Imputer, FillsInByTheTypeOfTheFeatures) {
  const auto floats = OneMlNode(
      "Imputer", {"N", "2"},
      {FloatsAttr("imputed_value_floats", {8, 9}), FloatAttr("replaced_value_float", kNan)});
  EXPECT_THAT((RunOnce<float, float>(floats, {2, 2}, {1, kNan, kNan, 2})), ElementsAre(1, 9, 8, 2));
  const auto ints =
      OneMlNode("Imputer", {"N", "2"},
                {IntsAttr("imputed_value_int64s", {8, 9}), IntAttr("replaced_value_int64", -1)},
                onnx::TensorProto::INT64);
  EXPECT_THAT((RunOnce<int64_t, int64_t>(ints, {1, 2}, {-1, 2})), ElementsAre(8, 2));
}

TEST(LabelEncoder, SortsKeysAndKeepsTheFirstOfEqualOnes) {
  const auto model =
      OneMlNode("LabelEncoder", {"N"},
                {IntsAttr("keys_int64s", {5, 1, 5, 3}),
                 FloatsAttr("values_floats", {50, 10, 55, 30}), FloatAttr("default_float", -1)},
                onnx::TensorProto::INT64);
  EXPECT_THAT((RunOnce<int64_t, float>(model, {4}, {1, 3, 5, 4})), ElementsAre(10, 30, 50, -1));
}

TEST(LabelEncoder, KeepsTheFirstOfManyEqualKeys) {
  std::vector<int64_t> keys;
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 300; ++i) {
    keys.push_back(i % 3);
    values.push_back(i);
  }
  const auto model = OneMlNode("LabelEncoder", {"N"},
                               {IntsAttr("keys_int64s", keys), IntsAttr("values_int64s", values)},
                               onnx::TensorProto::INT64);
  EXPECT_THAT((RunOnce<int64_t, int64_t>(model, {3}, {0, 1, 2})), ElementsAre(0, 1, 2));
}

TEST(LabelEncoder, MapsStringsBothWays) {
  const auto to_ints =
      OneMlNode("LabelEncoder", {"N"},
                {StringsAttr("keys_strings", {"us", "de"}), IntsAttr("values_int64s", {1, 2})},
                onnx::TensorProto::STRING);
  EXPECT_THAT((RunOnce<std::string_view, int64_t>(to_ints, {3}, {"de", "us", "fr"})),
              ElementsAre(2, 1, -1));
  const auto to_strings =
      OneMlNode("LabelEncoder", {"N"},
                {IntsAttr("keys_int64s", {2, 1}), StringsAttr("values_strings", {"two", "one"})},
                onnx::TensorProto::INT64);
  const auto imported = to_strings.Import();
  const auto outputs = RunModel(imported, {Tensor<int64_t>({3}, {1, 2, 3})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<std::string_view>(outputs[0]), ElementsAre("one", "two", "_Unused"));
}

TEST(LabelEncoder, FindsNanAmongFloats) {
  const auto model = OneMlNode(
      "LabelEncoder", {"N"},
      {FloatsAttr("keys_floats", {kNan, 2, kNan, 1}), IntsAttr("values_int64s", {9, 2, 8, 1})});
  EXPECT_THAT((RunOnce<float, int64_t>(model, {3}, {1, kNan, 2})), ElementsAre(1, 9, 2));
}

TEST(LabelEncoder, TakesTensorsOfVersion4) {
  const auto model = OneMlNode("LabelEncoder", {"N"},
                               {TensorAttr("keys_tensor", DoubleTensor("", {2}, {2, 1})),
                                TensorAttr("values_tensor", IntTensor("", {2}, {20, 10})),
                                TensorAttr("default_tensor", IntTensor("", {1}, {-7}))},
                               onnx::TensorProto::DOUBLE, /*ml_opset=*/4);
  EXPECT_THAT((RunOnce<double, int64_t>(model, {3}, {1, 2, 3})), ElementsAre(10, 20, -7));
}

TEST(LabelEncoder, NumbersTheClassesOfVersion1) {
  const auto model = OneMlNode("LabelEncoder", {"N"}, {StringsAttr("classes_strings", {"b", "a"})},
                               onnx::TensorProto::STRING, /*ml_opset=*/1);
  EXPECT_THAT((RunOnce<std::string_view, int64_t>(model, {3}, {"a", "b", "c"})),
              ElementsAre(1, 0, -1));
}

TEST(LabelEncoder, RefusesKeysAndValuesThatDoNotMatch) {
  const auto with = [](const AttributeList& attributes) {
    return OneMlNode("LabelEncoder", {"N"}, attributes, onnx::TensorProto::INT64).Import();
  };
  ExpectError(with({IntsAttr("keys_int64s", {1, 2}), IntsAttr("values_int64s", {1})}), kInvalid,
              {"node 'y' (LabelEncoder)", "same length"});
  ExpectError(with({IntsAttr("keys_int64s", {1, 2})}), kInvalid, {"'values_*', has 0"});
  ExpectError(with({IntsAttr("keys_int64s", {1}), FloatsAttr("keys_floats", {1}),
                    IntsAttr("values_int64s", {1})}),
              kInvalid, {"'keys_*', has 2"});
}

TEST(CategoryMapper, MapsByTheTypeOfTheInput) {
  const AttributeList attributes = {StringsAttr("cats_strings", {"b", "a"}),
                                    IntsAttr("cats_int64s", {20, 10})};
  const auto model = OneMlNode("CategoryMapper", {"N"}, attributes, onnx::TensorProto::STRING);
  EXPECT_THAT((RunOnce<std::string_view, int64_t>(model, {2}, {"a", "c"})), ElementsAre(10, -1));
}

TEST(OneHotEncoder, ComparesWithCategories) {
  const auto model = OneMlNode("OneHotEncoder", {"N"}, {StringsAttr("cats_strings", {"b", "a"})},
                               onnx::TensorProto::STRING);
  EXPECT_THAT((RunOnce<std::string_view, float>(model, {2}, {"a", "c"})), ElementsAre(0, 1, 0, 0));
  ExpectError(OneMlNode("OneHotEncoder", {"N"}, {}).Import(), kInvalid,
              {"node 'y' (OneHotEncoder)", "exactly one"});
}

TEST(ArrayFeatureExtractor, TakesIndicesOfAnyShape) {
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{}, {1}, {1, 1}, {1, 1, 1}}) {
    TestModel model;
    model.Input("x", {"N", "3"}).Initializer(IntTensor("i", dims, {2}));
    model.MlNode("ArrayFeatureExtractor", {"x", "i"}, {"y"}).Output("y");
    EXPECT_THAT((RunOnce<float, float>(model, {2, 3}, {1, 2, 3, 4, 5, 6})), ElementsAre(3, 6));
  }
}

TEST(ZipMap, LeavesAMatrixOfScores) {
  TestModel model = OneMlNode("ZipMap", {"N", "2"}, {IntsAttr("classlabels_int64s", {0, 1})});
  // The model declares a list of maps.
  model.graph()
      .mutable_output(0)
      ->mutable_type()
      ->mutable_sequence_type()
      ->mutable_elem_type()
      ->mutable_map_type()
      ->set_key_type(onnx::TensorProto::INT64);
  EXPECT_THAT((RunOnce<float, float>(model, {1, 2}, {0.25f, 0.75f})), ElementsAre(0.25f, 0.75f));
}

TEST(AiOnnxMl, RefusesMaps) {
  ExpectError(OneMlNode("DictVectorizer", {"N"}, {}).Import(), kUnimplemented,
              {"node 'y' (DictVectorizer)", "maps are not supported"});
}

}  // namespace
}  // namespace verdict
