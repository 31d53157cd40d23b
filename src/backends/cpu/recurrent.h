#pragma once

#include "backends/backend.h"
#include "backends/cpu/recurrent_products.h"
#include "ops/op.h"

namespace verdict::cpu {

/// What LSTM and GRU nodes share: constant W [D, G*H, I], R [D, G*H, H] and float32 B [D, 2*G*H]
/// with G gates and D directions, and a fixed set of options.
///
/// Packed, per direction: bias of W, bias of R (each [G*H] padded as the product reads it; an
/// LSTM's first is their sum), W transposed, R transposed. Scratch: the float vectors of the
/// layer's own, then what the products need.
class Recurrent {
 public:
  /// OK if the options are those of the usual layer: default activations, no clip, no peepholes, no
  /// sequence_lens, layout 0; weights are constants and R is finite.
  static Status Accepts(const Graph& graph, const Node& node, int64_t gates);

  /// One direction's initial state [batch * H], zeros where `input` is left out.
  static void LoadState(const KernelContext& context, size_t input, int64_t direction,
                        std::span<float> state);
  /// Writes h [batch * H] as one step of Y [T, D, batch, H], if that is wanted.
  void StoreStep(KernelContext& context, int64_t step, int64_t direction,
                 std::span<const float> h) const;
  /// Writes a last state [batch * H] to output [D, batch, H], if that is wanted.
  static void StoreState(KernelContext& context, size_t output, int64_t direction,
                         std::span<const float> state);

  int64_t directions() const { return directions_; }
  int64_t hidden() const { return hidden_; }
  int64_t gate_columns() const { return gates_ * hidden_; }
  bool IsReverse(int64_t direction) const { return reverse_ || direction == 1; }

 protected:
  Recurrent(const Node& node, int64_t gates, const Shape& w, const Shape& r)
      : gates_(gates),
        directions_(r[0]),
        hidden_(r[2]),
        input_(w[2]),
        reverse_(AttributeReader(node).String("direction", "forward") == "reverse") {}

  int64_t gates_, directions_, hidden_, input_;
  bool reverse_;
};

/// A layer whose weights `Product` multiplies with.
template <typename Product>
class RecurrentLayer : public Recurrent {
 public:
  struct Weights {
    const float* w_bias;
    const float* r_bias;
    const std::byte* w;
    const std::byte* r;
  };

  RecurrentLayer(const Node& node, int64_t gates, const Shape& w, const Shape& r)
      : Recurrent(node, gates, w, r) {}

  static Status Accepts(const Graph& graph, const Node& node, int64_t gates);
  static size_t PackedBytes(const Graph& graph, const Node& node, int64_t gates);
  static Result<std::vector<std::byte>> PackWeights(const Graph& graph, const Node& node,
                                                    int64_t gates);
  /// `vectors` float vectors [batch, hidden], and what the products need; what no machine has where
  /// that overflows.
  static size_t ScratchBytes(std::span<const TensorView> inputs, int64_t vectors);

  Weights At(const std::byte* packed, int64_t direction) const;

  /// gates [rows, G*H] = x [rows, input] * W^T + bias
  void ProjectInput(const Weights& weights, const float* x, int64_t rows, float* gates,
                    std::byte* scratch) const;
  /// gates [batch, G*H] = h [batch, H] * R^T + bias, or added to gates if `accumulate`. A state of
  /// zeros, as most sequences begin with, costs no product (1/7 of R6's).
  void ProjectState(const Weights& weights, const float* h, int64_t batch, bool accumulate,
                    float* gates, std::byte* scratch) const;

 private:
  size_t BiasBytes() const {
    return 2 * static_cast<size_t>(Product::Padded(gate_columns())) * sizeof(float);
  }
  size_t DirectionBytes() const {
    return BiasBytes() + Product::Bytes(input_, gate_columns()) +
           Product::Bytes(hidden_, gate_columns());
  }
};

extern template class RecurrentLayer<FloatProduct>;
extern template class RecurrentLayer<Int8Product>;
extern template class RecurrentLayer<BFloat16Product>;
extern template class RecurrentLayer<Float16Product>;

/// The tactic of a layer of `kGates` gates.
template <typename Layer, int64_t kGates>
constexpr Tactic RecurrentTactic(std::string_view id, std::string_view op,
                                 decltype(Tactic::run) run,
                                 decltype(Tactic::scratch_bytes) scratch_bytes) {
  return {.id = id,
          .op = op,
          .accepts = [](const Graph& graph,
                        const Node& node) { return Layer::Accepts(graph, node, kGates); },
          .pack = [](const Graph& graph,
                     const Node& node) { return Layer::PackWeights(graph, node, kGates); },
          .packed_bytes = [](const Graph& graph,
                             const Node& node) { return Layer::PackedBytes(graph, node, kGates); },
          .run = run,
          .scratch_bytes = scratch_bytes};
}

}  // namespace verdict::cpu
