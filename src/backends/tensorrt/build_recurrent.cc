// LSTM, GRU and RNN: the input's part of all steps is one product, then the steps follow each other
// in a loop of the network or, where they are few, one by one.
#include <array>
#include <string>

#include "backends/tensorrt/activation_layers.h"
#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/shared_layers.h"
#include "ops/recurrent.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::LoopOutput;

/// Of as many steps known beforehand no loop is made: TensorRT fuses and schedules them itself, and
/// they fit into one CUDA graph. 0: always loops.
constexpr int64_t kMostUnrolledSteps = 16;

constexpr RecurrentKind kLstm = {.gates = 4,
                                 .peephole_gates = 3,
                                 .has_cell_state = true,
                                 .activations = {"Sigmoid", "Tanh", "Tanh"}};
constexpr RecurrentKind kGru = {.gates = 3,
                                .peephole_gates = 0,
                                .has_cell_state = false,
                                .activations = {"Sigmoid", "Tanh", ""}};
constexpr RecurrentKind kRnn = {
    .gates = 1, .peephole_gates = 0, .has_cell_state = false, .activations = {"Tanh", "", ""}};

const RecurrentKind& KindOf(const Node& node) {
  return node.op == "LSTM" ? kLstm : node.op == "GRU" ? kGru : kRnn;
}

Status Supports(const Graph& graph, const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!HasInput(node, i) || i == kRecurrentSequenceLens) continue;
    if (graph.value(node.inputs[i]).dtype != DataType::kFloat32) return Decline("not float32");
  }
  const Shape& x = InputShape(graph, node, kRecurrentX);
  if (x[0] == 0 || x[1] == 0) return Decline("no steps or no samples");
  return OkStatus();
}

struct State {
  ITensor* h = nullptr;  // [N, H]; null: zeros
  ITensor* c = nullptr;
};

/// One direction's weights.
struct Direction {
  bool backwards = false;
  std::span<const verdict::Activation> activations;
  ITensor* x_gates = nullptr;           // of all steps: [T, N, G*H], unrolled [N, T*G*H]
  ITensor* r = nullptr;                 // [G*H, H]
  ITensor* recurrent_bias = nullptr;    // [1, G*H], where it is not part of x_gates
  std::array<ITensor*, 3> peepholes{};  // [1, H] each: input, output, forget
  State start;
};

/// What happens at one node.
class Layer {
 public:
  Layer(NetworkContext& context, const Node& node)
      : context_(context), node_(node), kind_(KindOf(node)), attributes_(node) {
    const Shape& x = context.InputShape(kRecurrentX);
    const Shape& r = context.InputShape(kRecurrentR);
    batch_first_ = attributes_.Int("layout", 0) != 0;
    steps_ = x[batch_first_ ? 1 : 0];
    batch_ = x[batch_first_ ? 0 : 1];
    hidden_ = r[2];
    directions_.resize(static_cast<size_t>(r[0]));
    rows_ = kind_.gates * hidden_;
    linear_before_reset_ = attributes_.Int("linear_before_reset", 0) != 0 && node.op == "GRU";
    has_lengths_ = context.HasInput(kRecurrentSequenceLens);
    unrolled_ = !IsSymbol(steps_) && steps_ <= kMostUnrolledSteps;
  }

  Status Add() {
    VERDICT_CHECK(
        ReadRecurrentActivations(attributes_, kind_, std::ssize(directions_), &activations_));
    VERDICT_RETURN_IF_ERROR(ReadInputs());
    outputs_.resize(directions_.size());
    last_.resize(directions_.size());
    VERDICT_RETURN_IF_ERROR(unrolled_ ? Unroll() : Loop());
    return SetOutputs();
  }

 private:
  Result<ITensor*> Sum(ITensor* a, ITensor* b) {
    return context_.Elementwise(a, b, ElementWiseOperation::kSUM);
  }
  Result<ITensor*> Times(ITensor* a, ITensor* b) {
    return context_.Elementwise(a, b, ElementWiseOperation::kPROD);
  }
  Result<ITensor*> OneMinus(ITensor* x) {
    return context_.Elementwise(x, 1.0, ElementWiseOperation::kSUB, true);
  }
  /// Columns [first, first + count) of [N, …].
  Result<ITensor*> Columns(ITensor* x, int64_t first, int64_t count) {
    return SliceBlock(context_, x, std::array{int64_t{0}, first}, Shape{batch_, count});
  }
  Result<ITensor*> Gate(ITensor* x, int64_t gate) { return Columns(x, gate * hidden_, hidden_); }
  /// Exchanges the axes of steps and samples.
  Result<ITensor*> SwapSteps(ITensor* x) { return context_.Transpose(x, std::array{1, 0, 2}); }
  bool HasOutput(size_t output) const {
    return output < node_.outputs.size() && node_.outputs[output] != kNoValue;
  }

  Status ReadInputs() {
    VERDICT_ASSIGN_OR_RETURN(ITensor * x, context_.Input(kRecurrentX));
    if (batch_first_ != unrolled_) {
      VERDICT_ASSIGN_OR_RETURN(x, SwapSteps(x));
    }
    // 8.5 computes something else where these come out of DequantizeLinear.
    VERDICT_ASSIGN_OR_RETURN(ITensor * w, FoldedTensor(context_, node_.inputs[kRecurrentW]));
    VERDICT_ASSIGN_OR_RETURN(ITensor * r, FoldedTensor(context_, node_.inputs[kRecurrentR]));
    ITensor* b = nullptr;
    if (context_.HasInput(kRecurrentB)) {
      VERDICT_ASSIGN_OR_RETURN(b, FoldedTensor(context_, node_.inputs[kRecurrentB]));
    }
    const int64_t inputs = context_.InputShape(kRecurrentW)[2];
    for (int64_t d = 0; d < std::ssize(directions_); ++d) {
      Direction& direction = directions_[static_cast<size_t>(d)];
      direction.backwards = d == 1 || attributes_.String("direction", "forward") == "reverse";
      direction.activations = std::span(activations_).subspan(static_cast<size_t>(d) * 3, 3);
      ITensor* own_w = w;
      ITensor* own_r = r;
      if (directions_.size() > 1) {  // else a network that can be refitted would slice in each run
        const std::array<int64_t, 3> first = {d, 0, 0};
        VERDICT_ASSIGN_OR_RETURN(own_w, SliceBlock(context_, w, first, {1, rows_, inputs}));
        VERDICT_ASSIGN_OR_RETURN(own_r, SliceBlock(context_, r, first, {1, rows_, hidden_}));
      }
      VERDICT_ASSIGN_OR_RETURN(direction.r, context_.Squeeze(own_r, 1U << 0));
      VERDICT_ASSIGN_OR_RETURN(ITensor * gates, MatrixProduct(context_, x, false, own_w, true));
      if (b != nullptr) {
        const Shape one_row = {1, rows_};
        VERDICT_ASSIGN_OR_RETURN(ITensor * bias,
                                 SliceBlock(context_, b, std::array<int64_t, 2>{d, 0}, one_row));
        VERDICT_ASSIGN_OR_RETURN(
            ITensor * recurrent,
            SliceBlock(context_, b, std::array<int64_t, 2>{d, rows_}, one_row));
        if (linear_before_reset_) {
          direction.recurrent_bias = recurrent;
        } else {
          VERDICT_ASSIGN_OR_RETURN(bias, Sum(bias, recurrent));
        }
        VERDICT_ASSIGN_OR_RETURN(gates, Sum(gates, bias));
      }
      if (unrolled_) {
        VERDICT_ASSIGN_OR_RETURN(gates,
                                 context_.Reshape(gates, std::array{int64_t{0}, steps_ * rows_}));
      }
      direction.x_gates = gates;
      VERDICT_RETURN_IF_ERROR(ReadPeepholes(d, direction));
      VERDICT_RETURN_IF_ERROR(ReadStart(d, direction));
    }
    if (!has_lengths_) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(lengths_, context_.Input(kRecurrentSequenceLens));
    VERDICT_ASSIGN_OR_RETURN(lengths_, context_.Unsqueeze(lengths_, 1U << 1));
    return OkStatus();
  }

  Status ReadPeepholes(int64_t d, Direction& direction) {
    if (!kind_.has_cell_state || !context_.HasInput(kRecurrentP)) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(ITensor * p, FoldedTensor(context_, node_.inputs[kRecurrentP]));
    for (int64_t i = 0; i < 3; ++i) {
      VERDICT_ASSIGN_OR_RETURN(
          direction.peepholes[static_cast<size_t>(i)],
          SliceBlock(context_, p, std::array<int64_t, 2>{d, i * hidden_}, {1, hidden_}));
    }
    return OkStatus();
  }

  /// Zeros are left out where a step does not need them.
  Status ReadStart(int64_t d, Direction& direction) {
    const bool needs_zeros = !unrolled_ || has_lengths_ || linear_before_reset_;
    VERDICT_ASSIGN_OR_RETURN(direction.start.h, StartOf(kRecurrentInitialH, d, needs_zeros));
    if (!kind_.has_cell_state) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(direction.start.c, StartOf(kRecurrentInitialC, d, needs_zeros));
    return OkStatus();
  }

  Result<ITensor*> StartOf(size_t input, int64_t d, bool needs_zeros) {
    if (!context_.HasInput(input)) return needs_zeros ? Zeros() : Result<ITensor*>(nullptr);
    VERDICT_ASSIGN_OR_RETURN(ITensor * state, context_.Input(input));
    const int axis = batch_first_ ? 1 : 0;
    if (directions_.size() > 1) {
      const std::array<int64_t, 3> starts = {batch_first_ ? 0 : d, batch_first_ ? d : 0, 0};
      const Shape sizes = batch_first_ ? Shape{batch_, 1, hidden_} : Shape{1, batch_, hidden_};
      VERDICT_ASSIGN_OR_RETURN(state, SliceBlock(context_, state, starts, sizes));
    }
    return context_.Squeeze(state, 1U << axis);
  }

  /// [N, H]: one zero, walked over with strides of 0.
  Result<ITensor*> Zeros() {
    if (zeros_ != nullptr) return zeros_;
    VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context_.Scalar(Type::kFLOAT, 0, 2));
    const std::array<int64_t, 2> none = {0, 0};
    VERDICT_ASSIGN_OR_RETURN(ITensor * start, context_.Indices(none));
    VERDICT_ASSIGN_OR_RETURN(ITensor * size, context_.ShapeTensor({batch_, hidden_}));
    VERDICT_ASSIGN_OR_RETURN(ITensor * stride, context_.Indices(none));
    VERDICT_ASSIGN_OR_RETURN(zeros_, context_.Slice(zero, start, size, stride));
    return zeros_;
  }

  Result<ITensor*> Activate(const Direction& direction, size_t activation, ITensor* gate) {
    const float clip = attributes_.Float("clip", 0.0F);
    if (clip > 0) {
      VERDICT_ASSIGN_OR_RETURN(
          gate, context_.Activation(gate, nvinfer1::ActivationType::kCLIP, -clip, clip));
    }
    // No score comes out of a gate: TensorRT's own sigmoid is exact enough, and one layer.
    if (direction.activations[activation].kind == ActivationKind::kSigmoid) {
      return context_.Activation(gate, nvinfer1::ActivationType::kSIGMOID);
    }
    return ApplyActivation(context_, gate, direction.activations[activation]);
  }

  /// x_gates + h · Rᵀ.
  Result<ITensor*> Gates(const Direction& direction, ITensor* x_gates, ITensor* h) {
    if (h == nullptr) return x_gates;
    VERDICT_ASSIGN_OR_RETURN(ITensor * product,
                             MatrixProduct(context_, h, false, direction.r, true));
    return Sum(x_gates, product);
  }

  Result<State> Step(const Direction& direction, ITensor* x_gates, const State& old) {
    if (node_.op == "LSTM") return LstmStep(direction, x_gates, old);
    if (node_.op == "GRU") return GruStep(direction, x_gates, old);
    VERDICT_ASSIGN_OR_RETURN(ITensor * gate, Gates(direction, x_gates, old.h));
    VERDICT_ASSIGN_OR_RETURN(ITensor * h, Activate(direction, 0, gate));
    return State{h, nullptr};
  }

  Result<ITensor*> AddPeephole(const Direction& direction, size_t peephole, ITensor* gate,
                               ITensor* c) {
    ITensor* const weights = direction.peepholes[peephole];
    if (weights == nullptr || c == nullptr) return gate;
    VERDICT_ASSIGN_OR_RETURN(ITensor * part, Times(weights, c));
    return Sum(gate, part);
  }

  /// Gates in the order input, output, forget, cell.
  Result<State> LstmStep(const Direction& direction, ITensor* x_gates, const State& old) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * gates, Gates(direction, x_gates, old.h));
    VERDICT_ASSIGN_OR_RETURN(ITensor * input, Gate(gates, 0));
    VERDICT_ASSIGN_OR_RETURN(ITensor * output, Gate(gates, 1));
    VERDICT_ASSIGN_OR_RETURN(ITensor * candidate, Gate(gates, 3));
    VERDICT_ASSIGN_OR_RETURN(input, AddPeephole(direction, 0, input, old.c));
    VERDICT_ASSIGN_OR_RETURN(input, Activate(direction, 0, input));
    VERDICT_ASSIGN_OR_RETURN(candidate, Activate(direction, 1, candidate));
    VERDICT_ASSIGN_OR_RETURN(ITensor * c, Times(input, candidate));
    if (old.c != nullptr) {
      ITensor* forget = nullptr;
      if (attributes_.Int("input_forget", 0) != 0) {
        VERDICT_ASSIGN_OR_RETURN(forget, OneMinus(input));
      } else {
        VERDICT_ASSIGN_OR_RETURN(forget, Gate(gates, 2));
        VERDICT_ASSIGN_OR_RETURN(forget, AddPeephole(direction, 2, forget, old.c));
        VERDICT_ASSIGN_OR_RETURN(forget, Activate(direction, 0, forget));
      }
      VERDICT_ASSIGN_OR_RETURN(ITensor * kept, Times(forget, old.c));
      VERDICT_ASSIGN_OR_RETURN(c, Sum(kept, c));
    }
    VERDICT_ASSIGN_OR_RETURN(output, AddPeephole(direction, 1, output, c));
    VERDICT_ASSIGN_OR_RETURN(output, Activate(direction, 0, output));
    VERDICT_ASSIGN_OR_RETURN(ITensor * h, ApplyActivation(context_, c, direction.activations[2]));
    VERDICT_ASSIGN_OR_RETURN(h, Times(output, h));
    return State{h, c};
  }

  /// Gates in the order update, reset, hidden.
  Result<State> GruStep(const Direction& direction, ITensor* x_gates, const State& old) {
    ITensor* update = nullptr;
    ITensor* candidate = nullptr;
    VERDICT_ASSIGN_OR_RETURN(candidate, Gate(x_gates, 2));
    if (linear_before_reset_) {
      VERDICT_ASSIGN_OR_RETURN(ITensor * recurrent,
                               MatrixProduct(context_, old.h, false, direction.r, true));
      if (direction.recurrent_bias != nullptr) {
        VERDICT_ASSIGN_OR_RETURN(recurrent, Sum(recurrent, direction.recurrent_bias));
      }
      VERDICT_ASSIGN_OR_RETURN(ITensor * sums, Sum(x_gates, recurrent));
      VERDICT_ASSIGN_OR_RETURN(update, Gate(sums, 0));
      VERDICT_ASSIGN_OR_RETURN(ITensor * reset, Gate(sums, 1));
      VERDICT_ASSIGN_OR_RETURN(reset, Activate(direction, 0, reset));
      VERDICT_ASSIGN_OR_RETURN(ITensor * part, Gate(recurrent, 2));
      VERDICT_ASSIGN_OR_RETURN(part, Times(reset, part));
      VERDICT_ASSIGN_OR_RETURN(candidate, Sum(candidate, part));
    } else if (old.h == nullptr) {
      VERDICT_ASSIGN_OR_RETURN(update, Gate(x_gates, 0));
    } else {
      VERDICT_ASSIGN_OR_RETURN(
          ITensor * of_gates,
          SliceBlock(context_, direction.r, std::array<int64_t, 2>{0, 0}, {2 * hidden_, hidden_}));
      VERDICT_ASSIGN_OR_RETURN(
          ITensor * of_candidate,
          SliceBlock(context_, direction.r, std::array<int64_t, 2>{2 * hidden_, 0},
                     {hidden_, hidden_}));
      VERDICT_ASSIGN_OR_RETURN(ITensor * sums, Columns(x_gates, 0, 2 * hidden_));
      VERDICT_ASSIGN_OR_RETURN(ITensor * product,
                               MatrixProduct(context_, old.h, false, of_gates, true));
      VERDICT_ASSIGN_OR_RETURN(sums, Sum(sums, product));
      VERDICT_ASSIGN_OR_RETURN(update, Gate(sums, 0));
      VERDICT_ASSIGN_OR_RETURN(ITensor * reset, Gate(sums, 1));
      VERDICT_ASSIGN_OR_RETURN(reset, Activate(direction, 0, reset));
      VERDICT_ASSIGN_OR_RETURN(reset, Times(reset, old.h));
      VERDICT_ASSIGN_OR_RETURN(product, MatrixProduct(context_, reset, false, of_candidate, true));
      VERDICT_ASSIGN_OR_RETURN(candidate, Sum(candidate, product));
    }
    VERDICT_ASSIGN_OR_RETURN(update, Activate(direction, 0, update));
    VERDICT_ASSIGN_OR_RETURN(candidate, Activate(direction, 1, candidate));
    VERDICT_ASSIGN_OR_RETURN(ITensor * rest, OneMinus(update));
    VERDICT_ASSIGN_OR_RETURN(ITensor * h, Times(rest, candidate));
    if (old.h != nullptr) {
      VERDICT_ASSIGN_OR_RETURN(ITensor * kept, Times(update, old.h));
      VERDICT_ASSIGN_OR_RETURN(h, Sum(h, kept));
    }
    return State{h, nullptr};
  }

  struct Stepped {
    State state;
    ITensor* y = nullptr;
  };

  /// One of the unrolled steps, where samples may have ended: they keep their state, and their
  /// output is 0.
  Result<Stepped> UnrolledStep(const Direction& direction, int64_t step, const State& old) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * x_gates, Columns(direction.x_gates, step * rows_, rows_));
    VERDICT_ASSIGN_OR_RETURN(State next, Step(direction, x_gates, old));
    if (!has_lengths_) return Stepped{next, next.h};
    VERDICT_ASSIGN_OR_RETURN(ITensor * position,
                             context_.Scalar(Type::kINT32, static_cast<double>(step), 2));
    VERDICT_ASSIGN_OR_RETURN(ITensor * active,
                             context_.Elementwise(position, lengths_, ElementWiseOperation::kLESS));
    VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context_.Scalar(Type::kFLOAT, 0, 2));
    VERDICT_ASSIGN_OR_RETURN(ITensor * y, context_.Select(active, next.h, zero));
    VERDICT_ASSIGN_OR_RETURN(next.h, context_.Select(active, next.h, old.h));
    if (kind_.has_cell_state) {
      VERDICT_ASSIGN_OR_RETURN(next.c, context_.Select(active, next.c, old.c));
    }
    return Stepped{next, y};
  }

  Status Unroll() {
    for (size_t d = 0; d < directions_.size(); ++d) {
      const Direction& direction = directions_[d];
      State state = direction.start;
      std::vector<ITensor*> outputs(static_cast<size_t>(steps_));
      for (int64_t i = 0; i < steps_; ++i) {
        const int64_t step = direction.backwards ? steps_ - 1 - i : i;
        VERDICT_ASSIGN_OR_RETURN(const Stepped stepped, UnrolledStep(direction, step, state));
        state = stepped.state;
        outputs[static_cast<size_t>(step)] = stepped.y;
      }
      last_[d] = state;
      if (!HasOutput(0)) continue;
      VERDICT_ASSIGN_OR_RETURN(ITensor * y, context_.Concat(outputs, 1));
      VERDICT_ASSIGN_OR_RETURN(y, context_.Reshape(y, std::array{int64_t{0}, steps_, hidden_}));
      outputs_[d] = y;
    }
    return OkStatus();
  }

  Result<ITensor*> CountOfSteps() {
    if (!IsSymbol(steps_)) return context_.Scalar(Type::kINT32, static_cast<double>(steps_), 0);
    VERDICT_ASSIGN_OR_RETURN(ITensor * count, context_.Extent(steps_));
    return context_.Squeeze(count, 1U << 0);
  }

  /// Of each step and sample [T, N, 1], whether it has not ended: 1 or 0; and the other way round.
  struct Mask {
    ITensor* active = nullptr;  // bool; null without lengths
    ITensor* runs = nullptr;    // float32
    ITensor* rests = nullptr;   // float32
  };
  Result<Mask> MakeMask() {
    Mask mask;
    if (!has_lengths_) return mask;
    VERDICT_ASSIGN_OR_RETURN(ITensor * positions, Positions(context_, steps_, 0b110));
    VERDICT_ASSIGN_OR_RETURN(ITensor * lengths, context_.Unsqueeze(lengths_, 1U << 0));
    VERDICT_ASSIGN_OR_RETURN(mask.active,
                             context_.Elementwise(positions, lengths, ElementWiseOperation::kLESS));
    VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context_.Scalar(Type::kFLOAT, 0, 3));
    VERDICT_ASSIGN_OR_RETURN(ITensor * one, context_.Scalar(Type::kFLOAT, 1, 3));
    VERDICT_ASSIGN_OR_RETURN(mask.runs, context_.Select(mask.active, one, zero));
    VERDICT_ASSIGN_OR_RETURN(mask.rests, context_.Select(mask.active, zero, one));
    return mask;
  }
  /// x where a sample has not ended, else 0. x: [T, N, any].
  Result<ITensor*> WhereActive(const Mask& mask, ITensor* x) {
    if (mask.active == nullptr) return x;
    VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context_.Scalar(Type::kFLOAT, 0, 3));
    return context_.Select(mask.active, x, zero);
  }

  /// Both directions in one loop.
  Status Loop() {
    VERDICT_ASSIGN_OR_RETURN(ITensor * count, CountOfSteps());
    VERDICT_ASSIGN_OR_RETURN(const Mask mask, MakeMask());
    nvinfer1::ILoop* const loop = context_.network().addLoop();
    if (loop == nullptr || loop->addTripLimit(*count, nvinfer1::TripLimit::kCOUNT) == nullptr) {
      return Internal(Graph::Describe(node_) + ": TensorRT refused a loop");
    }
    for (size_t d = 0; d < directions_.size(); ++d) {
      const Direction& direction = directions_[d];
      const auto iterate = [&](ITensor* x) {
        return context_.Output(loop->addIterator(*x, 0, direction.backwards));
      };
      // What comes behind a sample's end may be anything: here the step gets zeros.
      VERDICT_ASSIGN_OR_RETURN(ITensor * x_gates, WhereActive(mask, direction.x_gates));
      VERDICT_ASSIGN_OR_RETURN(x_gates, iterate(x_gates));
      nvinfer1::IRecurrenceLayer* const h = loop->addRecurrence(*direction.start.h);
      nvinfer1::IRecurrenceLayer* const c =
          kind_.has_cell_state ? loop->addRecurrence(*direction.start.c) : nullptr;
      State old;
      VERDICT_ASSIGN_OR_RETURN(old.h, context_.Output(h));
      if (kind_.has_cell_state) {
        VERDICT_ASSIGN_OR_RETURN(old.c, context_.Output(c));
      }
      VERDICT_ASSIGN_OR_RETURN(State next, Step(direction, x_gates, old));
      ITensor* const y_of_step = next.h;
      if (has_lengths_) {
        // Not by a Select: 8.5 then computes something else where states are given to begin with.
        // An infinite state becomes NaN so.
        VERDICT_ASSIGN_OR_RETURN(ITensor * runs, iterate(mask.runs));
        VERDICT_ASSIGN_OR_RETURN(ITensor * rests, iterate(mask.rests));
        const auto keep = [&](ITensor* of_next, ITensor* of_old) -> Result<ITensor*> {
          VERDICT_ASSIGN_OR_RETURN(of_next, Times(of_next, runs));
          VERDICT_ASSIGN_OR_RETURN(of_old, Times(of_old, rests));
          return Sum(of_next, of_old);
        };
        VERDICT_ASSIGN_OR_RETURN(next.h, keep(next.h, old.h));
        if (kind_.has_cell_state) {
          VERDICT_ASSIGN_OR_RETURN(next.c, keep(next.c, old.c));
        }
      }
      h->setInput(1, *next.h);
      if (kind_.has_cell_state) c->setInput(1, *next.c);
      const auto last = [&](ITensor* state) {
        return context_.Output(loop->addLoopOutput(*state, LoopOutput::kLAST_VALUE));
      };
      if (HasOutput(1)) {
        VERDICT_ASSIGN_OR_RETURN(last_[d].h, last(old.h));
      }
      if (HasOutput(2)) {
        VERDICT_ASSIGN_OR_RETURN(last_[d].c, last(old.c));
      }
      if (!HasOutput(0)) continue;
      nvinfer1::ILoopOutputLayer* const y = loop->addLoopOutput(
          *y_of_step, direction.backwards ? LoopOutput::kREVERSE : LoopOutput::kCONCATENATE);
      if (y != nullptr) y->setInput(1, *count);
      VERDICT_ASSIGN_OR_RETURN(outputs_[d], context_.Output(y));
      VERDICT_ASSIGN_OR_RETURN(outputs_[d], WhereActive(mask, outputs_[d]));
    }
    return OkStatus();
  }

  /// A sample of no steps has zeros as its last state.
  Result<ITensor*> LastState(ITensor* state) {
    if (has_lengths_) {
      VERDICT_ASSIGN_OR_RETURN(ITensor * has_steps,
                               context_.Elementwise(lengths_, 0.0, ElementWiseOperation::kGREATER));
      VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context_.Scalar(Type::kFLOAT, 0, 2));
      VERDICT_ASSIGN_OR_RETURN(state, context_.Select(has_steps, state, zero));
    }
    return context_.Unsqueeze(state, batch_first_ ? 1U << 1 : 1U << 0);
  }

  Status SetOutputs() {
    if (HasOutput(0)) {
      const int axis = batch_first_ ? 2 : 1;
      for (ITensor*& y : outputs_) {
        if (batch_first_ != unrolled_) {
          VERDICT_ASSIGN_OR_RETURN(y, SwapSteps(y));
        }
        VERDICT_ASSIGN_OR_RETURN(y, context_.Unsqueeze(y, 1U << axis));
      }
      VERDICT_RETURN_IF_ERROR(context_.SetOutput(0, context_.Concat(outputs_, axis)));
    }
    for (size_t output : {1, 2}) {
      if (!HasOutput(output)) continue;
      std::vector<ITensor*> states;
      for (const State& state : last_) {
        VERDICT_ASSIGN_OR_RETURN(states.emplace_back(), LastState(output == 1 ? state.h : state.c));
      }
      VERDICT_RETURN_IF_ERROR(
          context_.SetOutput(output, context_.Concat(states, batch_first_ ? 1 : 0)));
    }
    return OkStatus();
  }

  NetworkContext& context_;
  const Node& node_;
  const RecurrentKind& kind_;
  const AttributeReader attributes_;
  bool batch_first_ = false;
  Dim steps_ = 0;
  Dim batch_ = 0;
  int64_t hidden_ = 0;
  int64_t rows_ = 0;  // of W and R
  bool linear_before_reset_ = false;
  bool has_lengths_ = false;
  bool unrolled_ = false;
  RecurrentActivations activations_;
  std::vector<Direction> directions_;
  ITensor* lengths_ = nullptr;  // [N, 1]
  ITensor* zeros_ = nullptr;
  std::vector<ITensor*> outputs_;  // a direction each: [T, N, H], unrolled [N, T, H]
  std::vector<State> last_;
};

Status Add(NetworkContext& context, const Node& node) { return Layer(context, node).Add(); }

constexpr NodeBuilder kBuilders[] = {
    {"GRU", Supports, Add}, {"LSTM", Supports, Add}, {"RNN", Supports, Add}};

}  // namespace

std::span<const NodeBuilder> RecurrentBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
