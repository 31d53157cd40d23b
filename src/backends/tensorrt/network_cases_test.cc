#include "backends/tensorrt/network_cases_test.h"

#include <map>

#include "backends/conformance/one_node_test.h"
#include "ops/op_test.h"

namespace verdict::tensorrt {

NetworkCase One(std::string op, std::vector<CaseInput> inputs, Attributes attributes,
                size_t num_outputs) {
  CaseNode node{.op = op, .inputs = {}, .outputs = {}, .attributes = std::move(attributes)};
  NetworkCase result;
  result.name = std::move(op);
  for (size_t i = 0; i < inputs.size(); ++i) {
    node.inputs.push_back(inputs[i].kind == CaseInput::kNone ? "" : "x" + std::to_string(i));
  }
  for (size_t i = 0; i < num_outputs; ++i) node.outputs.push_back("y" + std::to_string(i));
  result.outputs = node.outputs;
  result.inputs = std::move(inputs);
  result.nodes = {std::move(node)};
  return result;
}

NetworkCase Named(std::string name, NetworkCase network_case) {
  network_case.name += " " + name;
  return network_case;
}

NetworkCase Within(double tolerance, NetworkCase network_case) {
  network_case.tolerance = tolerance;
  return network_case;
}

void AddCase(const NetworkCase& network_case, const std::string& prefix, Graph& graph) {
  std::map<std::string, ValueId> ids = {{"", kNoValue}};
  for (size_t i = 0; i < network_case.inputs.size(); ++i) {
    const CaseInput& input = network_case.inputs[i];
    const std::string name = "x" + std::to_string(i);
    if (input.kind == CaseInput::kConstant) {
      ids[name] = graph.AddConstant(prefix + name, input.value);
    } else if (input.kind == CaseInput::kFree) {
      Shape shape = input.value.shape;
      if (input.symbol_axis >= 0) shape[input.symbol_axis] = graph.Symbol(prefix + "N");
      ids[name] = graph.AddInput(prefix + name, input.value.dtype, shape);
    }
  }
  for (const CaseNode& node : network_case.nodes) {
    Node added{.name = prefix + node.op, .op = node.op, .attributes = node.attributes};
    for (const std::string& name : node.inputs) added.inputs.push_back(ids.at(name));
    for (const std::string& name : node.outputs) {
      if (!name.empty()) ids[name] = graph.AddValue(prefix + name, DataType::kUndefined, Shape{});
      added.outputs.push_back(ids.at(name));
    }
    graph.nodes.push_back(std::move(added));
  }
  for (const std::string& name : network_case.outputs) graph.outputs.push_back(ids.at(name));
}

namespace {

constexpr int64_t kInt32 = 6, kInt64 = 7, kFloat32 = 1, kBool = 9;  // ONNX's numbers

/// Numbers in (low, high).
Constant Between(const Shape& shape, float low, float high, uint32_t seed = 1) {
  const Constant unit = Random(shape, seed);
  std::vector<float> values;
  for (float value : unit.view().as<const float>()) {
    values.push_back(low + (high - low) * (0.01F + 0.98F * (value + 1) / 2));
  }
  return Tensor<float>(shape, values);
}

Constant RandomBools(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  auto [mask, data] = Constant::Allocate(DataType::kBool, shape);
  for (int64_t i = 0; i < mask.view().size(); ++i) static_cast<bool*>(data)[i] = random() % 2 == 0;
  return mask;
}

Constant RandomInts(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> values(static_cast<size_t>(NumElements(shape).value()));
  for (int32_t& value : values) value = static_cast<int32_t>(random() % 41) - 20;
  return Tensor<int32_t>(shape, values);
}

}  // namespace

std::vector<NetworkCase> ElementwiseCases() {
  std::vector<NetworkCase> cases;
  const Shape shape = {3, 7};
  const Constant x = Random(shape, 1, 3.0F), y = Random(shape, 2, 3.0F);
  for (const char* op : {"Abs",         "Asinh",
                         "Atan",        "Ceil",
                         "Celu",        "Cos",
                         "Cosh",        "Elu",
                         "Erf",         "Exp",
                         "Floor",       "Gelu",
                         "HardSigmoid", "HardSwish",
                         "Identity",    "IsInf",
                         "IsNaN",       "LeakyRelu",
                         "Mish",        "Neg",
                         "Reciprocal",  "Relu",
                         "Round",       "Selu",
                         "Sigmoid",     "Sign",
                         "Sin",         "Sinh",
                         "Softplus",    "Softsign",
                         "Swish",       "Tan",
                         "Tanh",        "ThresholdedRelu"}) {
    cases.push_back(One(op, {X(x)}));
  }
  for (const char* op : {"Acos", "Asin", "Atanh"}) {
    cases.push_back(One(op, {X(Between(shape, -0.99F, 0.99F))}));
  }
  cases.push_back(One("Acosh", {X(Between(shape, 1.01F, 4.0F))}));
  for (const char* op : {"Log", "Sqrt"}) cases.push_back(One(op, {X(Between(shape, 0.05F, 9.0F))}));
  const Constant large = Tensor<float>({1, 7}, {-90.0F, -30.0F, -0.0F, 0.5F, 2.5F, 30.0F, 90.0F});
  for (const char* op : {"Gelu", "Mish", "Round", "Sigmoid", "Sign", "Softplus", "Swish", "Tanh"}) {
    cases.push_back(Named("of large numbers", One(op, {X(large)})));
  }
  cases.push_back(Named("tanh", One("Gelu", {X(x)}, {{"approximate", std::string("tanh")}})));
  cases.push_back(Named("alpha", One("Elu", {X(x)}, {{"alpha", 0.3F}})));
  cases.push_back(Named("alpha", One("LeakyRelu", {X(x)}, {{"alpha", 0.3F}})));
  cases.push_back(
      Named("alpha, beta", One("HardSigmoid", {X(x)}, {{"alpha", 0.3F}, {"beta", 0.4F}})));
  cases.push_back(One("Not", {X(RandomBools(shape, 3))}));
  cases.push_back(One("PRelu", {X(x), C(Random({7}, 4))}));

  const Constant row = Random({7}, 5, 2.0F);
  for (const char* op : {"Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum", "Equal",
                         "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}) {
    cases.push_back(One(op, {X(x), X(y)}));
    cases.push_back(Named("with a row", One(op, {X(x), C(row)})));
    cases.push_back(Named("of ranks 1 and 3", One(op, {Fixed(row), X(Random({2, 3, 7}, 6))})));
  }
  for (const char* op : {"Add", "Max", "Min", "Mul", "Sub", "Equal", "Greater", "Less"}) {
    cases.push_back(Named("i32", One(op, {X(RandomInts(shape, 7)), X(RandomInts(shape, 8))})));
  }
  for (const char* op : {"And", "Or", "Xor", "Equal"}) {
    cases.push_back(Named("bool", One(op, {X(RandomBools(shape, 9)), X(RandomBools(shape, 10))})));
  }
  cases.push_back(One("Pow", {X(Between(shape, 0.1F, 3.0F)), X(y)}));
  cases.push_back(
      Named("of negative numbers", One("Pow", {X(x), C(Tensor<float>(Shape{}, {2.0F}))})));
  for (int64_t fmod : {0, 1}) {
    cases.push_back(Named(std::to_string(fmod),
                          One("Mod", {X(RandomInts(shape, 15)), C(Tensor<int32_t>(Shape{}, {7}))},
                              {{"fmod", fmod}})));
  }
  cases.push_back(
      One("Clip", {X(x), C(Tensor<float>(Shape{}, {-1.0F})), C(Tensor<float>(Shape{}, {1.5F}))}));
  cases.push_back(
      Named("one side", One("Clip", {X(x), None(), C(Tensor<float>(Shape{}, {1.5F}))})));
  cases.push_back(One("Where", {X(RandomBools(shape, 11)), X(x), X(y)}));
  cases.push_back(Named("with a number", One("Where", {X(RandomBools(shape, 11)), X(x),
                                                       C(Tensor<float>(Shape{}, {-5.0F}))})));
  cases.push_back(Named("f32 to i32", One("Cast", {X(x)}, {{"to", kInt32}})));
  cases.push_back(Named("i32 to f32", One("Cast", {X(RandomInts(shape, 12))}, {{"to", kFloat32}})));
  cases.push_back(Named("i32 to i64", One("Cast", {X(RandomInts(shape, 12))}, {{"to", kInt64}})));
  cases.push_back(Named("f32 to bool", One("Cast", {X(x)}, {{"to", kBool}})));
  cases.push_back(
      Named("bool to f32", One("Cast", {X(RandomBools(shape, 13))}, {{"to", kFloat32}})));
  cases.push_back(One("CastLike", {X(RandomInts(shape, 12)), C(row)}));

  const Constant cube = Random({3, 4, 5}, 14, 2.0F);
  for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                         "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}) {
    cases.push_back(Named("kept", One(op, {X(cube), C(Ints({1}))})));
    cases.push_back(
        Named("dropped", One(op, {X(cube), C(Ints({-1, 1}))}, {{"keepdims", int64_t{0}}})));
  }
  cases.push_back(One("ReduceLogSum", {X(Between({3, 4, 5}, 0.1F, 2.0F)), C(Ints({2}))}));
  for (const char* op : {"Softmax", "LogSoftmax"}) {
    cases.push_back(One(op, {X(cube)}));
    cases.push_back(Named("axis 1", One(op, {X(cube)}, {{"axis", int64_t{1}}})));
  }
  for (const char* op : {"ArgMax", "ArgMin"}) {
    cases.push_back(One(op, {X(cube)}, {{"axis", int64_t{1}}}));
    cases.push_back(
        Named("dropped", One(op, {X(cube)}, {{"axis", int64_t{-1}}, {"keepdims", int64_t{0}}})));
  }
  for (int64_t largest : {0, 1}) {
    NetworkCase values = One("TopK", {X(cube), C(Ints({2}))},
                             {{"axis", int64_t{1 + largest}}, {"largest", largest}}, 2);
    values.outputs.resize(1);  // which of equal elements is named is not told
    cases.push_back(values);
  }
  return cases;
}

std::vector<NetworkCase> MovementCases() {
  std::vector<NetworkCase> cases;
  const Constant x = Random({3, 4, 6}, 1);
  cases.push_back(One("Reshape", {X(x), C(Ints({0, 24}))}));
  cases.push_back(Named("-1", One("Reshape", {X(x), C(Ints({-1, 6}))})));
  cases.push_back(One("Flatten", {X(x)}));
  cases.push_back(Named("axis 2", One("Flatten", {X(x)}, {{"axis", int64_t{2}}})));
  cases.push_back(One("Unsqueeze", {X(x), C(Ints({0, 2}))}));
  cases.push_back(One("Squeeze", {X(Random({3, 1, 4, 1}, 2)), C(Ints({1, 3}))}));
  cases.push_back(One("Transpose", {X(x)}, {{"perm", std::vector<int64_t>{1, 0, 2}}}));
  cases.push_back(Named("reversed", One("Transpose", {X(x)})));
  cases.push_back(One("Concat", {X(x), X(Random({3, 2, 6}, 3))}, {{"axis", int64_t{1}}}));
  cases.push_back(Named("with a constant along the batch",
                        One("Concat", {X(x), C(Random({1, 4, 6}, 3))}, {{"axis", int64_t{0}}})));
  cases.push_back(One("Split", {X(x), C(Ints({2, 4}))}, {{"axis", int64_t{2}}}, 2));
  cases.push_back(One("Slice", {X(x), C(Ints({1})), C(Ints({5})), C(Ints({2}))}));
  cases.push_back(
      Named("steps", One("Slice", {X(x), C(Ints({0})), C(Ints({6})), C(Ints({2})), C(Ints({2}))})));
  cases.push_back(Named("backwards", One("Slice", {X(x), C(Ints({-1})), C(Ints({-100})),
                                                   C(Ints({1})), C(Ints({-1}))})));
  cases.push_back(
      Named("last of an axis", One("Slice", {X(x), C(Ints({-1})), C(Ints({100})), C(Ints({1}))})));
  cases.push_back(
      One("Gather", {C(Random({9, 4}, 4)), X(Tensor<int64_t>({3, 2}, {0, 8, 3, 3, 1, 7}))}));
  cases.push_back(
      Named("i32", One("Gather", {C(Random({9, 4}, 4)), X(Tensor<int32_t>({3}, {0, 8, 3}))})));
  cases.push_back(
      Named("a constant column",
            One("Gather", {X(x), C(Tensor<int64_t>(Shape{}, {-1}))}, {{"axis", int64_t{1}}})));
  cases.push_back(One("GatherElements",
                      {C(Random({3, 4}, 5)), C(Tensor<int64_t>({3, 2}, {0, 3, 1, 1, 2, 0}))},
                      {{"axis", int64_t{1}}}));
  cases.push_back(
      One("GatherND", {C(Random({5, 4, 2}, 6)), X(Tensor<int64_t>({2, 2}, {0, 3, 3, 1}))}));
  cases.push_back(One("Expand", {X(Random({3, 1, 6}, 7)), C(Ints({1, 4, 1}))}));
  cases.push_back(One("Tile", {X(x), C(Ints({1, 2, 3}))}));
  cases.push_back(
      One("Pad", {X(x), C(Ints({0, 1, 2, 0, 0, 3})), C(Tensor<float>(Shape{}, {1.5F}))}));
  cases.push_back(One("Trilu", {X(Random({3, 5, 5}, 8))}));
  cases.push_back(
      Named("lower", One("Trilu", {X(Random({3, 5, 5}, 8)), C(Tensor<int64_t>(Shape{}, {-1}))},
                         {{"upper", int64_t{0}}})));
  cases.push_back(One("OneHot", {X(Tensor<int64_t>({3}, {1, 0, 3})), C(Ints({4})),
                                 C(Tensor<float>({2}, {-1.0F, 2.0F}))}));
  cases.push_back(One("Size", {X(x)}));
  // Shapes that follow from the batch.
  cases.push_back(
      {.name = "Shape, Gather, Range",
       .inputs = {X(x), C(Tensor<int64_t>(Shape{}, {0})), C(Tensor<int64_t>(Shape{}, {1}))},
       .nodes = {{"Shape", {"x0"}, {"s"}, {}},
                 {"Gather", {"s", "x1"}, {"n"}, {}},
                 {"Range", {"x1", "n", "x2"}, {"y"}, {}}},
       .outputs = {"y"}});
  NetworkCase shaped{.name = "Shape, Gather, Concat, Reshape",
                     .inputs = {X(x), C(Tensor<int64_t>({1}, {0})), C(Ints({24}))},
                     .nodes = {{"Shape", {"x0"}, {"s"}, {}},
                               {"Gather", {"s", "x1"}, {"n"}, {}},
                               {"Concat", {"n", "x2"}, {"t"}, {{"axis", int64_t{0}}}},
                               {"Reshape", {"x0", "t"}, {"y"}, {}}},
                     .outputs = {"y"}};
  cases.push_back(shaped);
  NetworkCase filled{.name = "Shape, ConstantOfShape, Add",
                     .inputs = {X(x), C(Tensor<float>({1}, {2.5F}))},
                     .nodes = {{"Shape", {"x0"}, {"s"}, {}},
                               {"ConstantOfShape", {"s", "x1"}, {"c"}, {}},
                               {"Add", {"x0", "c"}, {"y"}, {}}},
                     .outputs = {"y"}};
  cases.push_back(filled);
  return cases;
}

std::vector<NetworkCase> FeatureCases() {
  std::vector<NetworkCase> cases;
  const Constant x = Random({3, 4}, 1, 5.0F);
  cases.push_back(One("Scaler", {X(x), C(Random({4}, 2)), C(Random({4}, 3))}));
  for (const char* norm : {"MAX", "L1", "L2"}) {
    cases.push_back(Named(norm, One("Normalizer", {X(x)}, {{"norm", std::string(norm)}})));
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  cases.push_back(
      One("Imputer", {X(Tensor<float>({2, 3}, {1, nan, 3, nan, 5, nan})),
                      C(Tensor<float>({3}, {7, 8, 9})), C(Tensor<float>(Shape{}, {nan}))}));
  cases.push_back(One("Binarizer", {X(x)}, {{"threshold", 0.5F}}));
  cases.push_back(One("ArrayFeatureExtractor", {X(x), C(Ints({2, 0}))}));
  cases.push_back(One("FeatureVectorizer", {X(x), X(Random({3, 2}, 4))},
                      {{"inputdimensions", std::vector<int64_t>{4, 2}}}));
  cases.push_back(
      One("OneHotEncoder", {X(Tensor<int64_t>({3, 1}, {4, 9, 5})), C(Ints({5, 4, 7}))}));
  for (const char* transform : {"NONE", "LOGISTIC", "SOFTMAX"}) {
    for (int64_t columns : {1, 4}) {
      std::vector<int64_t> labels = {5, 3, 9, 4};
      if (columns == 1) labels.resize(2);
      cases.push_back(
          Named(transform + std::string(" of ") + std::to_string(columns),
                One("ClassifierOutput", {X(Random({3, columns}, 5, 3.0F)), C(Ints(labels))},
                    {{"post_transform", std::string(transform)}}, 2)));
    }
  }
  cases.push_back(One("PostTransform", {X(x)}, {{"post_transform", std::string("SOFTMAX")}}));
  cases.push_back(Named(
      "LOGISTIC", One("PostTransform", {X(x)}, {{"post_transform", std::string("LOGISTIC")}})));
  return cases;
}

}  // namespace verdict::tensorrt
