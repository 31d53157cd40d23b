#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <random>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

using Vector = std::vector<double>;
using Function = std::function<double(double)>;

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double Tanh(double x) { return std::tanh(x); }

constexpr size_t kSteps = 4;
constexpr size_t kBatch = 3;
constexpr size_t kInputs = 5;
constexpr size_t kHidden = 9;

/// A recurrent node's tensors in ONNX's layout 0.
struct Problem {
  size_t gates;
  size_t directions;
  Vector x, w, r, b, initial_h, initial_c, p;
  std::vector<size_t> lengths;

  Problem(size_t gates, size_t directions, unsigned seed)
      : gates(gates), directions(directions), lengths(kBatch, kSteps) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 0.7F);  // floats, so that both sides get the same
    const auto fill = [&](Vector& v, size_t n) {
      for (size_t i = 0; i < n; ++i) v.push_back(normal(random));
    };
    fill(x, kSteps * kBatch * kInputs);
    fill(w, directions * gates * kHidden * kInputs);
    fill(r, directions * gates * kHidden * kHidden);
    fill(b, directions * 2 * gates * kHidden);
    fill(initial_h, directions * kBatch * kHidden);
    fill(initial_c, directions * kBatch * kHidden);
    fill(p, directions * 3 * kHidden);
  }

  /// Weighted sum into row `row` of gate `gate`: W x + Wb, or R h + Rb.
  double Wx(size_t d, size_t gate, size_t row, size_t step, size_t sample) const {
    const size_t line = (d * gates + gate) * kHidden + row;
    double sum = b[(d * 2 * gates + gate) * kHidden + row];
    for (size_t i = 0; i < kInputs; ++i) {
      sum += w[line * kInputs + i] * x[(step * kBatch + sample) * kInputs + i];
    }
    return sum;
  }
  double Rh(size_t d, size_t gate, size_t row, const Vector& h) const {
    const size_t line = (d * gates + gate) * kHidden + row;
    double sum = b[(d * 2 * gates + gates + gate) * kHidden + row];
    for (size_t i = 0; i < kHidden; ++i) sum += r[line * kHidden + i] * h[i];
    return sum;
  }
};

struct States {
  Vector y = Vector();
  Vector y_h = Vector();
  Vector y_c = Vector();
};

/// One step: (direction, sample, step, h, c) to the next h and c.
using Step = std::function<void(size_t, size_t, size_t, Vector&, Vector&)>;

/// The walk as ONNX's text has it, in double. reverse: direction 0 runs backwards.
States Expected(const Problem& problem, bool reverse, const Step& advance) {
  States out;
  out.y.resize(kSteps * problem.directions * kBatch * kHidden);
  out.y_h.resize(problem.directions * kBatch * kHidden);
  out.y_c.resize(problem.directions * kBatch * kHidden);
  for (size_t d = 0; d < problem.directions; ++d) {
    for (size_t sample = 0; sample < kBatch; ++sample) {
      const size_t state = (d * kBatch + sample) * kHidden;
      Vector h(kHidden), c(kHidden);
      for (size_t i = 0; i < kHidden; ++i) {
        h[i] = problem.initial_h[state + i];
        c[i] = problem.initial_c[state + i];
      }
      const size_t length = problem.lengths[sample];
      for (size_t i = 0; i < length; ++i) {
        const size_t step = d == 1 || reverse ? length - 1 - i : i;
        advance(d, sample, step, h, c);
        for (size_t j = 0; j < kHidden; ++j) {
          out.y[((step * problem.directions + d) * kBatch + sample) * kHidden + j] = h[j];
        }
      }
      for (size_t i = 0; i < kHidden; ++i) {
        out.y_h[state + i] = length == 0 ? 0 : h[i];
        out.y_c[state + i] = length == 0 ? 0 : c[i];
      }
    }
  }
  return out;
}

struct LstmOptions {
  Function f = Sigmoid, g = Tanh, h = Tanh;
  bool peepholes = false;
  bool couples_forget = false;
  double clip = INFINITY;
};

Step LstmStep(const Problem& problem, const LstmOptions& options) {
  return [=, &problem](size_t d, size_t sample, size_t step, Vector& h, Vector& c) {
    const Vector h0 = h;
    const Vector c0 = c;
    for (size_t j = 0; j < kHidden; ++j) {
      const auto gate = [&](size_t index) {
        return problem.Wx(d, index, j, step, sample) + problem.Rh(d, index, j, h0);
      };
      const auto peephole = [&](size_t index, double cell) {
        return options.peepholes ? problem.p[(d * 3 + index) * kHidden + j] * cell : 0;
      };
      const auto clip = [&](double v) {
        return std::min(std::max(v, -options.clip), options.clip);
      };
      const double i = options.f(clip(gate(0) + peephole(0, c0[j])));
      double forget = options.f(clip(gate(2) + peephole(2, c0[j])));
      if (options.couples_forget) forget = 1 - i;
      c[j] = forget * c0[j] + i * options.g(clip(gate(3)));
      h[j] = options.f(clip(gate(1) + peephole(1, c[j]))) * options.h(c[j]);
    }
  };
}

Step GruStep(const Problem& problem, bool linear_before_reset) {
  return [=, &problem](size_t d, size_t sample, size_t step, Vector& h, Vector&) {
    const Vector h0 = h;
    Vector reset(kHidden), reset_h(kHidden);
    for (size_t j = 0; j < kHidden; ++j) {
      reset[j] = Sigmoid(problem.Wx(d, 1, j, step, sample) + problem.Rh(d, 1, j, h0));
      reset_h[j] = reset[j] * h0[j];
    }
    for (size_t j = 0; j < kHidden; ++j) {
      const double z = Sigmoid(problem.Wx(d, 0, j, step, sample) + problem.Rh(d, 0, j, h0));
      const double recurrent =
          linear_before_reset ? reset[j] * problem.Rh(d, 2, j, h0) : problem.Rh(d, 2, j, reset_h);
      h[j] = (1 - z) * std::tanh(problem.Wx(d, 2, j, step, sample) + recurrent) + z * h0[j];
    }
  };
}

Step RnnStep(const Problem& problem, const Function& f) {
  return [=, &problem](size_t d, size_t sample, size_t step, Vector& h, Vector&) {
    const Vector h0 = h;
    for (size_t j = 0; j < kHidden; ++j) {
      h[j] = f(problem.Wx(d, 0, j, step, sample) + problem.Rh(d, 0, j, h0));
    }
  };
}

template <typename T>
Constant Of(const Shape& shape, const Vector& values) {
  return Tensor<T>(shape, std::vector<T>(values.begin(), values.end()));
}

/// Swaps the axes so that the batch comes first: [A, B, C, ...] to [B, A, C, ...].
Vector BatchFirst(const Vector& v, size_t outer, size_t batch) {
  const size_t inner = v.size() / outer / batch;
  Vector out(v.size());
  for (size_t o = 0; o < outer; ++o) {
    for (size_t b = 0; b < batch; ++b) {
      for (size_t i = 0; i < inner; ++i) {
        out[(b * outer + o) * inner + i] = v[(o * batch + b) * inner + i];
      }
    }
  }
  return out;
}

template <typename T = float>
std::vector<Constant> Inputs(const Problem& problem, bool batch_first = false) {
  const auto d = static_cast<int64_t>(problem.directions);
  const auto rows = static_cast<int64_t>(problem.gates * kHidden);
  const int64_t s = kSteps, n = kBatch, k = kInputs, h = kHidden;
  std::vector<int32_t> lengths(problem.lengths.begin(), problem.lengths.end());
  const auto state = [&](const Vector& v) {
    return batch_first ? Of<T>({n, d, h}, BatchFirst(v, problem.directions, kBatch))
                       : Of<T>({d, n, h}, v);
  };
  return {batch_first ? Of<T>({n, s, k}, BatchFirst(problem.x, kSteps, kBatch))
                      : Of<T>({s, n, k}, problem.x),
          Of<T>({d, rows, k}, problem.w),
          Of<T>({d, rows, h}, problem.r),
          Of<T>({d, 2 * rows}, problem.b),
          Tensor<int32_t>({n}, lengths),
          state(problem.initial_h),
          state(problem.initial_c),
          Of<T>({d, 3 * h}, problem.p)};
}

void ExpectNear(const Constant& actual, const Vector& expected, const char* what) {
  const auto view = actual.view();
  ASSERT_EQ(view.size(), static_cast<int64_t>(expected.size())) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value =
        view.dtype == DataType::kFloat64 ? view.as<const double>()[i] : view.as<const float>()[i];
    ASSERT_NEAR(value, expected[i], 2e-6) << what << " at " << i;
  }
}

std::vector<Constant> RunOne(const Node& node, const std::vector<Constant>& inputs) {
  auto outputs = RunOp(node, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return outputs.ok() ? *outputs : std::vector<Constant>(3, Tensor<float>({0}, {}));
}

void ExpectStates(const std::vector<Constant>& actual, const States& expected) {
  ExpectNear(actual[0], expected.y, "Y");
  ExpectNear(actual[1], expected.y_h, "Y_h");
  if (actual.size() > 2) ExpectNear(actual[2], expected.y_c, "Y_c");
}

Attributes Direction(const char* name) { return {{"direction", std::string(name)}}; }

TEST(Lstm, FollowsTheEquationsInEveryDirection) {
  for (const char* direction : {"forward", "reverse", "bidirectional"}) {
    SCOPED_TRACE(direction);
    const bool both = direction[0] == 'b';
    const Problem problem(4, both ? 2 : 1, 1);
    auto inputs = Inputs(problem);
    inputs.resize(7);
    const auto actual = RunOne(MakeNode("LSTM", 7, Direction(direction), 3), inputs);
    ExpectStates(actual, Expected(problem, direction[0] == 'r', LstmStep(problem, {})));
    EXPECT_EQ(actual[0].shape, (Shape{kSteps, both ? 2 : 1, kBatch, kHidden}));
  }
}

TEST(Lstm, StopsAtEachSamplesLength) {
  Problem problem(4, 2, 2);
  problem.lengths = {2, 0, 4};
  auto inputs = Inputs(problem);
  inputs.resize(7);
  ExpectStates(RunOne(MakeNode("LSTM", 7, Direction("bidirectional"), 3), inputs),
               Expected(problem, false, LstmStep(problem, {})));
}

TEST(Lstm, PeepholesClipAndCoupledForget) {
  const Problem problem(4, 1, 3);
  const LstmOptions options{.peepholes = true, .couples_forget = true, .clip = 0.5};
  ExpectStates(RunOne(MakeNode("LSTM", 8, {{"clip", 0.5F}, {"input_forget", int64_t{1}}}, 3),
                      Inputs(problem)),
               Expected(problem, false, LstmStep(problem, options)));
}

TEST(Lstm, TakesActivationParametersInOrderByThoseThatHaveThem) {
  const Problem problem(4, 1, 4);
  const LstmOptions options{
      .f = [](double x) { return std::min(1.0, std::max(0.0, 0.25 * x + 0.5)); },
      .g = Tanh,
      .h = [](double x) { return x < 0 ? 0.125 * x : x; }};
  Attributes attributes = {
      {"activations", std::vector<std::string>{"HardSigmoid", "Tanh", "LeakyRelu"}},
      {"activation_alpha", std::vector<float>{0.25F, 0.125F}},
      {"activation_beta", std::vector<float>{0.5F}}};
  auto inputs = Inputs(problem);
  inputs.resize(7);
  ExpectStates(RunOne(MakeNode("LSTM", 7, std::move(attributes), 3), inputs),
               Expected(problem, false, LstmStep(problem, options)));
}

TEST(Lstm, BatchFirstLayout) {
  const Problem problem(4, 2, 5);
  auto inputs = Inputs(problem, true);
  inputs.resize(7);
  Attributes attributes = Direction("bidirectional");
  attributes["layout"] = int64_t{1};
  const auto actual = RunOne(MakeNode("LSTM", 7, attributes, 3), inputs);
  States expected = Expected(problem, false, LstmStep(problem, {}));
  expected.y = BatchFirst(expected.y, kSteps * 2, kBatch);
  expected.y_h = BatchFirst(expected.y_h, 2, kBatch);
  expected.y_c = BatchFirst(expected.y_c, 2, kBatch);
  ExpectStates(actual, expected);
  EXPECT_EQ(actual[0].shape, (Shape{kBatch, kSteps, 2, kHidden}));
  EXPECT_EQ(actual[1].shape, (Shape{kBatch, 2, kHidden}));
}

TEST(Lstm, DefaultsOfLeftOutInputsAreZeros) {
  Problem problem(4, 1, 6);
  auto inputs = Inputs(problem);
  inputs.resize(3);
  for (Vector* v : {&problem.b, &problem.initial_h, &problem.initial_c}) {
    std::fill(v->begin(), v->end(), 0);
  }
  ExpectStates(RunOne(MakeNode("LSTM", 3, {}, 3), inputs),
               Expected(problem, false, LstmStep(problem, {})));
}

TEST(Lstm, DoublePrecisionAndOutputsLeftOut) {
  const Problem problem(4, 1, 7);
  auto inputs = Inputs<double>(problem);
  inputs.resize(7);
  Node node = MakeNode("LSTM", 7, {}, 3);
  node.outputs[0] = kNoValue;
  const auto actual = RunOne(node, inputs);
  const States expected = Expected(problem, false, LstmStep(problem, {}));
  ExpectNear(actual[1], expected.y_h, "Y_h");
  ExpectNear(actual[2], expected.y_c, "Y_c");
}

TEST(Gru, FollowsTheEquationsInBothVariants) {
  for (int64_t linear_before_reset : {0, 1}) {
    Problem problem(3, 2, 8);
    problem.lengths = {4, 1, 3};
    auto inputs = Inputs(problem);
    inputs.resize(6);
    Attributes attributes = Direction("bidirectional");
    attributes["linear_before_reset"] = linear_before_reset;
    SCOPED_TRACE(linear_before_reset);
    ExpectStates(RunOne(MakeNode("GRU", 6, attributes, 2), inputs),
                 Expected(problem, false, GruStep(problem, linear_before_reset != 0)));
  }
}

TEST(Gru, WorksWithoutBias) {
  for (int64_t linear_before_reset : {0, 1}) {
    Problem problem(3, 1, 9);
    auto inputs = Inputs(problem);
    inputs.resize(6);
    inputs[3] = Constant{};
    std::fill(problem.b.begin(), problem.b.end(), 0);
    Node node = MakeNode("GRU", 6, {{"linear_before_reset", linear_before_reset}}, 2);
    ExpectStates(RunOne(node, inputs),
                 Expected(problem, false, GruStep(problem, linear_before_reset != 0)));
  }
}

TEST(Rnn, FollowsTheEquation) {
  const Problem problem(1, 2, 10);
  auto inputs = Inputs(problem);
  inputs.resize(6);
  Attributes attributes = Direction("bidirectional");
  ExpectStates(RunOne(MakeNode("RNN", 6, attributes, 2), inputs),
               Expected(problem, false, RnnStep(problem, Tanh)));
  attributes["activations"] = std::vector<std::string>{"Relu", "Relu"};
  ExpectStates(
      RunOne(MakeNode("RNN", 6, attributes, 2), inputs),
      Expected(problem, false, RnnStep(problem, [](double x) { return std::max(x, 0.0); })));
}

TEST(Recurrent, RefusesWhatDoesNotFit) {
  const Problem problem(4, 1, 11);
  const auto message = [&](Attributes attributes, size_t input = 0, Constant value = {}) {
    auto inputs = Inputs(problem);
    if (value.dtype != DataType::kUndefined) inputs[input] = value;
    return RunOp(MakeNode("LSTM", 8, std::move(attributes), 3), inputs).status().message();
  };
  EXPECT_EQ(message({}), "");
  EXPECT_THAT(message(Direction("sideways")), HasSubstr("unknown direction 'sideways'"));
  EXPECT_THAT(message(Direction("bidirectional")), HasSubstr("(W) has shape [1,36,5], needs [2,"));
  EXPECT_THAT(message({{"hidden_size", int64_t{8}}}), HasSubstr("hidden_size is 8"));
  EXPECT_THAT(message({{"activations", std::vector<std::string>{"Tanh"}}}),
              HasSubstr("activations must name 3"));
  EXPECT_THAT(message({{"activations", std::vector<std::string>{"Tanh", "Tan", "Tanh"}}}),
              HasSubstr("activations must name 3"));
  EXPECT_THAT(message({}, 3, Tensor<float>({1, 4}, {1, 2, 3, 4})),
              HasSubstr("input 3 (B) has shape [1,4], needs [1,72]"));
  EXPECT_THAT(message({}, 4, Tensor<int32_t>({3}, {4, 5, 4})),
              HasSubstr("sequence_lens[1] is 5, needs 0 to 4"));
  EXPECT_THAT(message({}, 4, Tensor<int32_t>({3}, {4, 4, -1})), HasSubstr("sequence_lens[2]"));
  EXPECT_THAT(message({}, 5, Tensor<float>({1}, {4})), HasSubstr("(initial_h)"));
  EXPECT_THAT(message({}, 7, Tensor<float>({1}, {4})), HasSubstr("(P)"));
}

TEST(Recurrent, KeepsSymbolicStepsAndBatch) {
  Graph graph;
  const Dim steps = graph.Symbol("S");
  const Dim batch = graph.Symbol("N");
  const TensorView inputs[] = {{DataType::kFloat32, {steps, batch, 5}, nullptr},
                               {DataType::kFloat32, {1, 36, 5}, nullptr},
                               {DataType::kFloat32, {1, 36, 9}, nullptr}};
  TensorView outputs[3];
  ASSERT_TRUE(InferNode(MakeNode("LSTM", 3, {}, 3), inputs, outputs, &graph).ok());
  EXPECT_EQ(outputs[0].shape, (Shape{steps, 1, batch, 9}));
  EXPECT_EQ(outputs[2].shape, (Shape{1, batch, 9}));
}

}  // namespace
}  // namespace verdict
