// Cases of layers with weights: products, normalizations, convolutions, attention, recurrent and
// quantized layers.
#include "backends/conformance/one_node_test.h"
#include "backends/tensorrt/network_cases_test.h"
#include "ops/half.h"
#include "ops/op_test.h"

namespace verdict::tensorrt {
namespace {

constexpr int64_t kFloat32 = 1, kFloat16 = 10;  // ONNX's numbers

void AddProducts(std::vector<NetworkCase>& cases) {
  const Constant b = Random({24, 10}, 1), bias = Random({10}, 2);
  for (const char* activation :
       {"", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Gelu", "GeluTanh", "Silu", "Elu", "Softplus",
        "Softsign", "HardSigmoid", "ThresholdedRelu", "ScaledTanh", "Affine"}) {
    cases.push_back(Named(activation, One("FusedGemm", {X(Random({3, 24}, 3)), C(b), C(bias)},
                                          {{"activation", std::string(activation)}})));
  }
  cases.push_back(
      Named("of 3 axes without bias", One("FusedGemm", {X(Random({3, 5, 24}, 3)), C(b)})));
  cases.push_back(
      Named("of 4 axes", One("FusedGemm", {X(Random({3, 2, 5, 24}, 3)), C(b), C(bias)})));
  cases.push_back(One("Gemm", {X(Random({3, 24}, 3)), C(b), C(bias)}));
  cases.push_back(Named("transposed, alpha, beta",
                        One("Gemm", {X(Random({3, 24}, 3)), C(Random({10, 24}, 4)), C(bias)},
                            {{"transB", int64_t{1}}, {"alpha", 0.5F}, {"beta", -2.0F}})));
  cases.push_back(Named("A transposed",
                        One("Gemm", {X(Random({24, 3}, 3), 1), C(b)}, {{"transA", int64_t{1}}})));
  const std::vector<std::pair<Shape, Shape>> stacks = {{{3, 4, 5}, {3, 5, 6}},
                                                       {{3, 2, 4, 5}, {5, 6}},
                                                       {{3, 2, 4, 5}, {1, 5, 6}},
                                                       {{3, 4, 5}, {5}},
                                                       {{3, 5}, {5}}};
  for (const auto& [left, right] : stacks) {
    const bool same_batch = left.rank() == right.rank() && left[0] == right[0];
    cases.push_back(Named(
        ToString(left) + ToString(right),
        One("MatMul",
            {X(Random(left, 5)), same_batch ? X(Random(right, 6)) : Fixed(Random(right, 6))})));
  }
  cases.push_back(
      Named("[5][3,5,6]", One("MatMul", {Fixed(Random({5}, 5)), X(Random({3, 5, 6}, 6))})));
  cases.push_back(Named("[5][5]", One("MatMul", {Fixed(Random({5}, 5)), Fixed(Random({5}, 6))})));
  for (const char* equation : {"bij,bjk->bik", "bi,bj->bij", "bij,jk->bik", "bi,bi->b"}) {
    const std::string text = equation;
    const bool cube = text.find("bij,") != std::string::npos;
    const bool shared = text.find(",jk") != std::string::npos;
    const Constant a = cube ? Random({3, 4, 5}, 7) : Random({3, 5}, 7);
    const Constant c = shared ? Random({5, 6}, 8) : cube ? Random({3, 5, 6}, 8) : Random({3, 5}, 8);
    cases.push_back(Named(text, One("Einsum", {X(a), shared ? C(c) : X(c)}, {{"equation", text}})));
  }
}

void AddNormalizations(std::vector<NetworkCase>& cases) {
  const Constant x = Random({3, 5, 16}, 11, 4.0F);
  const Constant scale = Random({16}, 12), bias = Random({16}, 13);
  cases.push_back(One("LayerNormalization", {X(x), C(scale), C(bias)}));
  cases.push_back(Named("statistics", One("LayerNormalization", {X(x), C(scale)}, {}, 3)));
  cases.push_back(Named(
      "two axes", One("LayerNormalization", {X(x), C(Random({5, 16}, 14)), C(Random({5, 16}, 15))},
                      {{"axis", int64_t{1}}, {"epsilon", 1e-3F}})));
  cases.push_back(One("RMSNormalization", {X(x), C(scale)}));
  const Constant image = Random({3, 6, 4, 5}, 16, 3.0F);
  const Constant channels = Random({6}, 17), shifts = Random({6}, 18);
  cases.push_back(
      One("GroupNormalization", {X(image), C(channels), C(shifts)}, {{"num_groups", int64_t{3}}}));
  cases.push_back(
      Named("of 2 axes", One("GroupNormalization", {X(Random({3, 6}, 19)), C(channels), C(shifts)},
                             {{"num_groups", int64_t{2}}})));
  cases.push_back(One("InstanceNormalization", {X(image), C(channels), C(shifts)}));
  std::vector<float> variance(6, 0.5F);
  variance[3] = 2.0F;
  for (const Constant& data : {image, Random({3, 6}, 20)}) {
    cases.push_back(One("BatchNormalization", {X(data), C(channels), C(shifts), C(Random({6}, 21)),
                                               C(Tensor<float>({6}, variance))}));
  }
  for (int64_t p : {1, 2}) {
    cases.push_back(Named(std::to_string(p), One("LpNormalization", {X(x)}, {{"p", p}})));
  }
  cases.push_back(
      Named("of zeros", One("LpNormalization", {X(Tensor<float>({2, 2}, {0, 0, 3, 4}))})));
}

void AddConvolutions(std::vector<NetworkCase>& cases) {
  const Constant line = Random({3, 4, 12}, 31), image = Random({3, 4, 9, 8}, 32);
  const auto ints = [](std::vector<int64_t> values) { return values; };
  cases.push_back(One("Conv", {X(line), C(Random({6, 4, 3}, 33)), C(Random({6}, 34))}));
  cases.push_back(Named("padded, strides", One("Conv", {X(line), C(Random({6, 4, 3}, 33))},
                                               {{"pads", ints({1, 2})}, {"strides", ints({2})}})));
  cases.push_back(Named(
      "dilated", One("Conv", {X(line), C(Random({6, 4, 3}, 33))}, {{"dilations", ints({2})}})));
  cases.push_back(
      Named("2-D", One("Conv", {X(image), C(Random({6, 4, 3, 2}, 35)), C(Random({6}, 34))},
                       {{"pads", ints({1, 0, 1, 1})}})));
  cases.push_back(Named(
      "groups", One("Conv", {X(image), C(Random({4, 1, 3, 3}, 36))}, {{"group", int64_t{4}}})));
  cases.push_back(Named("SAME_UPPER",
                        One("Conv", {X(image), C(Random({2, 4, 2, 3}, 37))},
                            {{"auto_pad", std::string("SAME_UPPER")}, {"strides", ints({2, 2})}})));
  for (const char* op : {"MaxPool", "AveragePool"}) {
    cases.push_back(
        Named("1-D", One(op, {X(line)}, {{"kernel_shape", ints({3})}, {"strides", ints({2})}})));
    cases.push_back(
        Named("padded",
              One(op, {X(image)}, {{"kernel_shape", ints({3, 2})}, {"pads", ints({1, 1, 1, 0})}})));
    cases.push_back(Named("ceil_mode", One(op, {X(image)},
                                           {{"kernel_shape", ints({2, 3})},
                                            {"strides", ints({2, 2})},
                                            {"ceil_mode", int64_t{1}}})));
  }
  cases.push_back(Named("padding counts", One("AveragePool", {X(image)},
                                              {{"kernel_shape", ints({3, 3})},
                                               {"pads", ints({1, 1, 1, 1})},
                                               {"count_include_pad", int64_t{1}}})));
  for (const char* op : {"GlobalAveragePool", "GlobalMaxPool"}) {
    cases.push_back(One(op, {X(line)}));
    cases.push_back(Named("2-D", One(op, {X(image)})));
  }
}

void AddAttention(std::vector<NetworkCase>& cases) {
  const auto heads = [](int64_t q, int64_t kv) {
    return Attributes{{"q_num_heads", q}, {"kv_num_heads", kv}};
  };
  const Constant q = Random({2, 6, 16}, 41, 2.0F), k = Random({2, 7, 16}, 42, 2.0F),
                 v = Random({2, 7, 16}, 43, 2.0F);
  cases.push_back(One("Attention", {X(q), X(k), X(v)}, heads(2, 2)));
  cases.push_back(
      Named("4-D", One("Attention", {X(Random({2, 2, 6, 8}, 41)), X(Random({2, 2, 7, 8}, 42)),
                                     X(Random({2, 2, 7, 4}, 43))})));
  cases.push_back(Named(
      "shared key heads",
      One("Attention", {X(q), X(Random({2, 7, 8}, 42)), X(Random({2, 7, 8}, 43))}, heads(4, 2))));
  std::vector<float> padding(14, 0.0F);
  for (size_t i : {5U, 6U, 13U}) padding[i] = -kInfinity;
  const Constant mask = Tensor<float>({2, 1, 1, 7}, padding);
  std::vector<float> hides_all(14, -kInfinity);
  std::fill_n(hides_all.begin(), 7, 0.0F);
  const Constant all = Tensor<float>({2, 1, 1, 7}, hides_all);
  Attributes added = heads(2, 2);
  added["mask_as_add"] = int64_t{1};
  cases.push_back(Named("added mask", One("Attention", {X(q), X(k), X(v), X(mask)}, added)));
  cases.push_back(Named("float mask", One("Attention", {X(q), X(k), X(v), X(mask)}, heads(2, 2))));
  cases.push_back(Named("a sample hidden altogether",
                        One("Attention", {X(q), X(k), X(v), X(all)}, heads(2, 2))));
  auto [flags, data] = Constant::Allocate(DataType::kBool, Shape{6, 7});
  for (int64_t i = 0; i < 42; ++i) static_cast<bool*>(data)[i] = i % 3 != 0 && i / 7 != 2;
  cases.push_back(Named("bool mask", One("Attention", {X(q), X(k), X(v), C(flags)}, heads(2, 2))));
  Attributes causal = heads(2, 2);
  causal["is_causal"] = int64_t{1};
  causal["scale"] = 0.3F;
  cases.push_back(Named("causal", One("Attention", {X(q), X(k), X(v)}, causal)));
  cases.push_back(
      Named("causal, any length",
            One("Attention", {X(q, 1), X(Random({2, 6, 16}, 44), 1), X(Random({2, 6, 16}, 45), 1)},
                causal)));
  Attributes capped = heads(2, 2);
  capped["softcap"] = 2.0F;
  cases.push_back(Named("softcap", One("Attention", {X(q), X(k), X(v)}, capped)));
}

struct RecurrentProblem {
  std::string op = "LSTM";
  int64_t steps = 5, batch = 3, inputs = 4, hidden = 6, directions = 1;
  bool batch_first = false;
  bool any_steps = false;  // the steps are the symbol, not the batch
  bool bias = true, lengths = false, start = false, peepholes = false;
};

NetworkCase Recurrent(const RecurrentProblem& p, Attributes attributes = {}) {
  const int64_t gates = p.op == "LSTM" ? 4 : p.op == "GRU" ? 3 : 1;
  const int64_t d = p.directions;
  attributes["hidden_size"] = p.hidden;
  attributes["layout"] = int64_t{p.batch_first};
  if (d == 2) attributes["direction"] = std::string("bidirectional");
  const int symbol = p.any_steps ? (p.batch_first ? 1 : 0) : (p.batch_first ? 0 : 1);
  const Shape x =
      p.batch_first ? Shape{p.batch, p.steps, p.inputs} : Shape{p.steps, p.batch, p.inputs};
  const Shape state = p.batch_first ? Shape{p.batch, d, p.hidden} : Shape{d, p.batch, p.hidden};
  const auto of_batch = [&](Constant value, int batch_axis) {
    return p.any_steps ? Fixed(std::move(value)) : X(std::move(value), batch_axis);
  };
  std::vector<CaseInput> inputs = {X(Random(x, 51), symbol),
                                   C(Random({d, gates * p.hidden, p.inputs}, 52, 0.7F)),
                                   C(Random({d, gates * p.hidden, p.hidden}, 53, 0.7F)),
                                   p.bias ? C(Random({d, 2 * gates * p.hidden}, 54)) : None()};
  std::vector<int32_t> lengths(static_cast<size_t>(p.batch));
  for (size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = static_cast<int32_t>(p.steps - static_cast<int64_t>(i) * 2);
  }
  lengths.back() = 0;
  inputs.push_back(p.lengths ? of_batch(Tensor<int32_t>({p.batch}, lengths), 0) : None());
  const int state_axis = p.batch_first ? 0 : 1;
  inputs.push_back(p.start ? of_batch(Random(state, 55), state_axis) : None());
  if (p.op == "LSTM") {
    inputs.push_back(p.start ? of_batch(Random(state, 56), state_axis) : None());
    inputs.push_back(p.peepholes ? C(Random({d, 3 * p.hidden}, 57)) : None());
  }
  std::string name = std::to_string(p.steps) + "x" + std::to_string(p.batch);
  for (const auto& [is_set, text] : {std::pair{d == 2, " both ways"},
                                     {p.batch_first, " batch first"},
                                     {p.any_steps, " any steps"},
                                     {!p.bias, " no bias"},
                                     {p.lengths, " lengths"},
                                     {p.start, " states"},
                                     {p.peepholes, " peepholes"}}) {
    if (is_set) name += text;
  }
  return Named(name, One(p.op, std::move(inputs), std::move(attributes), p.op == "LSTM" ? 3 : 2));
}

NetworkCase QuantizedProduct(const std::string& name, const Constant& zero, const Constant& weights,
                             const Constant& weight_scale, const Constant& weight_zero,
                             const Shape& shape) {
  return {.name = name,
          .inputs = {X(Random(shape, 61)), C(Tensor<float>(Shape{}, {1.0F / 127})), C(zero),
                     C(weights), C(weight_scale), C(weight_zero), C(Random({8}, 62))},
          .nodes = {{"QuantizeLinear", {"x0", "x1", "x2"}, {"q"}, {}},
                    {"DequantizeLinear", {"q", "x1", "x2"}, {"a"}, {}},
                    {"DequantizeLinear", {"x3", "x4", "x5"}, {"w"}, {{"axis", int64_t{1}}}},
                    {"FusedGemm", {"a", "w", "x6"}, {"y"}, {{"activation", std::string("Relu")}}}},
          .outputs = {"y"},
          // A quotient that lies next to a half may be rounded to the other side: one quantum of
          // 1 / 127 times a weight of at most 1.
          .tolerance = 0.01};
}

template <typename T>
Constant Quanta(const Shape& shape, int middle) {
  std::mt19937 random(63);
  std::vector<T> values(static_cast<size_t>(NumElements(shape).value()));
  for (T& value : values) {
    value = static_cast<T>(static_cast<int>(random() % 255) - 127 + middle);
  }
  return Tensor<T>(shape, values);
}

Constant Halves(const Shape& shape, uint32_t seed) {
  const Constant floats = Random(shape, seed);
  auto [constant, data] = Constant::Allocate(DataType::kFloat16, shape);
  const auto from = floats.view().as<const float>();
  std::transform(from.begin(), from.end(), static_cast<Float16*>(data), Float16::Of);
  return constant;
}

}  // namespace

std::vector<NetworkCase> LayerCases() {
  std::vector<NetworkCase> cases;
  AddProducts(cases);
  AddNormalizations(cases);
  AddConvolutions(cases);
  AddAttention(cases);
  return cases;
}

std::vector<NetworkCase> RecurrentCases() {
  std::vector<NetworkCase> cases;
  for (const char* op : {"LSTM", "GRU", "RNN"}) {
    // Few steps are unrolled, 20 and any are a loop.
    for (int64_t steps : {5, 20}) {
      for (int64_t directions : {1, 2}) {
        cases.push_back(Recurrent({.op = op, .steps = steps, .directions = directions}));
        cases.push_back(Recurrent({.op = op,
                                   .steps = steps,
                                   .directions = directions,
                                   .batch_first = true,
                                   .lengths = true,
                                   .start = true}));
      }
      cases.push_back(Named("backwards", Recurrent({.op = op, .steps = steps, .lengths = true},
                                                   {{"direction", std::string("reverse")}})));
    }
    cases.push_back(Recurrent({.op = op, .any_steps = true, .bias = false}));
    cases.push_back(Recurrent(
        {.op = op, .directions = 2, .batch_first = true, .any_steps = true, .lengths = true}));
  }
  for (int64_t steps : {5, 20}) {
    cases.push_back(
        Named("clip", Recurrent({.steps = steps, .peepholes = true}, {{"clip", 0.5F}})));
    cases.push_back(
        Named("input_forget", Recurrent({.steps = steps}, {{"input_forget", int64_t{1}}})));
    for (bool bias : {true, false}) {
      cases.push_back(Named("linear_before_reset",
                            Recurrent({.op = "GRU", .steps = steps, .directions = 2, .bias = bias},
                                      {{"linear_before_reset", int64_t{1}}})));
    }
  }
  cases.push_back(Named(
      "activations", Recurrent({}, {{"activations", std::vector<std::string>{"HardSigmoid", "Relu",
                                                                             "Softsign"}}})));
  // Weights behind DequantizeLinear.
  NetworkCase quantized = Recurrent({});
  quantized.name = "LSTM of int8 weights";
  quantized.inputs[1] = C(Quanta<int8_t>({1, 24, 4}, 0));
  quantized.inputs[2] = C(Quanta<int8_t>({1, 24, 6}, 0));
  quantized.inputs.push_back(C(Tensor<float>({24}, std::vector<float>(24, 0.005F))));
  const std::string scale = "x" + std::to_string(quantized.inputs.size() - 1);
  CaseNode lstm = quantized.nodes[0];
  lstm.inputs[1] = "w";
  lstm.inputs[2] = "r";
  lstm.attributes.insert_or_assign("compute_type", std::string("int8"));
  quantized.nodes = {{"DequantizeLinear", {"x1", scale}, {"w"}, {{"axis", int64_t{1}}}},
                     {"DequantizeLinear", {"x2", scale}, {"r"}, {{"axis", int64_t{1}}}},
                     lstm};
  cases.push_back(quantized);
  return cases;
}

std::vector<NetworkCase> QuantizedCases() {
  std::vector<NetworkCase> cases;
  const Constant zero = Tensor<int8_t>(Shape{}, {0}), middle = Tensor<uint8_t>(Shape{}, {128});
  const Constant scales = Tensor<float>({8}, std::vector<float>(8, 1.0F / 127));
  const Constant zeros = Tensor<int8_t>({8}, std::vector<int8_t>(8, 0));
  const Constant one_scale = Tensor<float>(Shape{}, {1.0F / 127});
  const Constant weights = Quanta<int8_t>({16, 8}, 0);
  cases.push_back(
      QuantizedProduct("int8, scale per column", zero, weights, scales, zeros, {3, 16}));
  cases.push_back(QuantizedProduct("int8 of 3 axes", zero, weights, scales, zeros, {3, 5, 16}));
  cases.push_back(QuantizedProduct("int8, one scale", zero, weights, one_scale, zero, {3, 16}));
  cases.push_back(QuantizedProduct("uint8 activations", middle, weights, scales, zeros, {3, 16}));
  cases.push_back(QuantizedProduct("uint8 weights", middle, Quanta<uint8_t>({16, 8}, 128),
                                   one_scale, middle, {3, 16}));
  cases.push_back({.name = "int8 weights of a float product",
                   .inputs = {X(Random({3, 16}, 64)), C(weights), C(scales)},
                   .nodes = {{"DequantizeLinear", {"x1", "x2"}, {"w"}, {{"axis", int64_t{1}}}},
                             {"FusedGemm", {"x0", "w"}, {"y"}, {}}},
                   .outputs = {"y"}});
  cases.push_back(
      {.name = "int8 table",
       .inputs = {X(Tensor<int64_t>({3, 2}, {0, 15, 3, 3, 1, 7})), C(weights), C(scales)},
       .nodes = {{"Gather", {"x1", "x0"}, {"rows"}, {}},
                 {"DequantizeLinear", {"rows", "x2"}, {"y"}, {{"axis", int64_t{2}}}}},
       .outputs = {"y"}});
  cases.push_back({.name = "f16 table",
                   .inputs = {X(Tensor<int64_t>({3}, {0, 15, 3})), C(Halves({16, 8}, 65))},
                   .nodes = {{"Gather", {"x1", "x0"}, {"rows"}, {}},
                             {"Cast", {"rows"}, {"y"}, {{"to", kFloat32}}}},
                   .outputs = {"y"}});
  // Sums are rounded to halves there: 2 to the -11 of up to 4, and each factor's product beside.
  cases.push_back({.name = "f16 product",
                   .inputs = {X(Random({3, 16}, 66)), C(Halves({16, 8}, 67)), C(Random({8}, 68))},
                   .nodes = {{"Cast", {"x0"}, {"h"}, {{"to", kFloat16}}},
                             {"Cast", {"h"}, {"a"}, {{"to", kFloat32}}},
                             {"Cast", {"x1"}, {"w"}, {{"to", kFloat32}}},
                             {"FusedGemm", {"a", "w", "x2"}, {"y"}, {}}},
                   .outputs = {"y"},
                   .tolerance = 1e-2});
  return cases;
}

}  // namespace verdict::tensorrt
