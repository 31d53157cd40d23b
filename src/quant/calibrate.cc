#include "quant/calibrate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/quantize.h"
#include "quant/histogram.h"

namespace verdict {
namespace {

/// Of a tensor, on which kAuto compares thresholds.
constexpr int64_t kKeptRows = 256;
constexpr std::array kCandidates = {Observer::kEntropy,         Observer::kMinMax,
                                    Observer::kPercentile999,   Observer::kPercentile9999,
                                    Observer::kPercentile99999, Observer::kMse};

/// What is seen of one tensor whose last axis has `columns` elements.
struct Observed {
  ValueId id = kNoValue;
  int64_t columns = 0;
  float largest = 0;
  std::vector<double> sums;  // by column
  int64_t rows = 0;
  std::vector<uint64_t> histogram;
  std::vector<float> kept;  // [<= kKeptRows, columns]
  int64_t seen = 0;         // rows, of which some are kept
  bool varies = false;
  float first = 0;
};

class Calibrator {
 public:
  Calibrator(const Graph& graph, std::span<const QuantizableLayer> layers, SampleSource& source,
             const CalibrationOptions& options)
      : graph_(graph), layers_(layers), source_(source), options_(options) {
    for (const QuantizableLayer& layer : layers) {
      if (layer.input == kNoValue || Find(layer.input) != nullptr) continue;
      // Not the input's own last extent, which may be a symbol.
      const Shape& weights = graph.constant(layer.weights)->shape;
      Observed tensor{.id = layer.input, .columns = weights[weights.rank() == 3 ? 2 : 0]};
      tensor.sums.resize(static_cast<size_t>(tensor.columns));
      tensors_.push_back(std::move(tensor));
    }
  }

  Result<CalibrationResult> Run(const MakeGraphRunner& make_runner) {
    VERDICT_RETURN_IF_ERROR(MakeRunner(make_runner));
    CalibrationResult result;
    VERDICT_RETURN_IF_ERROR(
        ForEachTensor([&](Observed& tensor, std::span<const float> values, int64_t first_row) {
          return See(tensor, values, first_row);
        }));
    result.rows = rows_;
    if (rows_ < options_.min_rows) {
      return InvalidArgument("calibration has " + std::to_string(rows_) + " samples, at least " +
                             std::to_string(options_.min_rows) +
                             " are needed, and some hundred are sensible");
    }
    for (Observed& tensor : tensors_) {
      if (tensor.largest == 0) continue;
      tensor.histogram.assign(AbsHistogram::kBins, 0);
    }
    VERDICT_RETURN_IF_ERROR(
        ForEachTensor([&](Observed& tensor, std::span<const float> values, int64_t) {
          if (tensor.largest > 0) AbsHistogram::Add(values, tensor.largest, tensor.histogram);
          Keep(tensor, values);
          return OkStatus();
        }));
    for (const Observed& tensor : tensors_) {
      const std::string& name = graph_.value(tensor.id).name;
      TensorRange& range = result.ranges[name];
      VERDICT_ASSIGN_OR_RETURN(const auto chosen, Choose(tensor));
      range.threshold = chosen.threshold;
      range.largest = tensor.largest;
      result.observers[name] = chosen.observer;
      for (double sum : tensor.sums) {
        range.means.push_back(sum / static_cast<double>(std::max<int64_t>(tensor.rows, 1)));
      }
      if (tensor.varies) continue;
      // A layer that always gives the same is a model's own business; input that is always the
      // same is not.
      const bool is_input = std::ranges::find(graph_.inputs, tensor.id) != graph_.inputs.end();
      const bool needs_range = std::ranges::any_of(layers_, [&](const QuantizableLayer& layer) {
        return layer.input == tensor.id && layer.needs_range;
      });
      if (needs_range && is_input) {
        return InvalidArgument("tensor '" + name + "' is " + std::to_string(tensor.first) +
                               " in every sample: nothing can be calibrated on it; are the "
                               "samples all the same?");
      }
    }
    return result;
  }

 private:
  Observed* Find(ValueId id) {
    const auto found = std::ranges::find(tensors_, id, &Observed::id);
    return found == tensors_.end() ? nullptr : &*found;
  }

  /// The graph with every tensor among its outputs that no sample holds.
  Status MakeRunner(const MakeGraphRunner& make_runner) {
    Graph graph = graph_;
    for (const Observed& tensor : tensors_) {
      if (std::ranges::find(graph.inputs, tensor.id) != graph.inputs.end()) continue;
      if (std::ranges::find(graph.outputs, tensor.id) == graph.outputs.end()) {
        graph.outputs.push_back(tensor.id);
      }
    }
    outputs_ = graph.outputs;
    VERDICT_ASSIGN_OR_RETURN(runner_, make_runner(std::move(graph)));
    return OkStatus();
  }

  /// see(tensor, its values, number of the first sample among them), for all samples.
  template <typename See>
  Status ForEachTensor(See see) {
    VERDICT_RETURN_IF_ERROR(source_.Rewind());
    rows_ = 0;
    while (true) {
      VERDICT_ASSIGN_OR_RETURN(const Samples samples, source_.Next(options_.rows_at_once));
      if (samples.rows == 0) return OkStatus();
      std::vector<TensorView> inputs;
      for (const Constant& input : samples.inputs) inputs.push_back(input.view());
      VERDICT_ASSIGN_OR_RETURN(const auto outputs, runner_->Run(inputs));
      for (Observed& tensor : tensors_) {
        const auto input = std::ranges::find(graph_.inputs, tensor.id);
        const TensorView& view =
            input != graph_.inputs.end()
                ? inputs[static_cast<size_t>(input - graph_.inputs.begin())]
                : outputs[static_cast<size_t>(std::ranges::find(outputs_, tensor.id) -
                                              outputs_.begin())];
        VERDICT_RETURN_IF_ERROR(see(tensor, view.as<const float>(), rows_));
      }
      rows_ += samples.rows;
    }
  }

  Status See(Observed& tensor, std::span<const float> values, int64_t first_row) const {
    if (values.empty()) return OkStatus();
    if (tensor.rows == 0) tensor.first = values[0];
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) {
        return InvalidArgument("tensor '" + graph_.value(tensor.id).name + "' is " +
                               std::to_string(values[i]) + " in sample " +
                               std::to_string(first_row) +
                               " or one of the next; nothing can be calibrated on it");
      }
      tensor.largest = std::max(tensor.largest, std::fabs(values[i]));
      tensor.varies = tensor.varies || values[i] != tensor.first;
      tensor.sums[i % static_cast<size_t>(tensor.columns)] += static_cast<double>(values[i]);
    }
    tensor.rows += std::ssize(values) / tensor.columns;
    return OkStatus();
  }

  /// Rows at equal distances over all samples.
  void Keep(Observed& tensor, std::span<const float> values) const {
    if (options_.observer != Observer::kAuto) return;
    const int64_t step = (tensor.rows + kKeptRows - 1) / kKeptRows;
    for (int64_t row = 0; row < std::ssize(values) / tensor.columns; ++row) {
      if (tensor.seen++ % step != 0) continue;
      const auto from = values.subspan(static_cast<size_t>(row * tensor.columns),
                                       static_cast<size_t>(tensor.columns));
      tensor.kept.insert(tensor.kept.end(), from.begin(), from.end());
    }
  }

  struct Choice {
    float threshold;
    Observer observer;
  };

  Result<Choice> Choose(const Observed& tensor) const {
    // All zeros: any range will do.
    if (tensor.largest == 0) return Choice{1.0F, Observer::kMinMax};
    if (options_.observer != Observer::kAuto) {
      VERDICT_ASSIGN_OR_RETURN(const float threshold,
                               Threshold(options_.observer, tensor.histogram, tensor.largest));
      return Choice{threshold, options_.observer};
    }
    Choice best{tensor.largest, Observer::kMinMax};
    double least = std::numeric_limits<double>::infinity();
    for (Observer observer : kCandidates) {
      VERDICT_ASSIGN_OR_RETURN(const float threshold,
                               Threshold(observer, tensor.histogram, tensor.largest));
      const double error = OutputError(tensor, threshold);
      if (error >= least) continue;
      least = error;
      best = {threshold, observer};
    }
    return best;
  }

  /// Mean squared error that clipping and rounding the tensor make in the outputs of the layers
  /// that read it, each relative to its outputs' size.
  double OutputError(const Observed& tensor, float threshold) const {
    const float scale = threshold / 127.0F;
    std::vector<float> errors(tensor.kept.size());
    for (size_t i = 0; i < errors.size(); ++i) {
      errors[i] =
          tensor.kept[i] - static_cast<float>(Quantize<int8_t>(tensor.kept[i], scale, 0)) * scale;
    }
    double total = 0;
    for (const QuantizableLayer& layer : layers_) {
      if (layer.input != tensor.id || !layer.needs_range) continue;
      const Constant* weights = graph_.constant(layer.weights);
      const double size = Squares(tensor.kept, *weights);
      total += Squares(errors, *weights) / std::max(size, 1e-30);
    }
    return total;
  }

  /// Sum of the squares of rows * weights.
  static double Squares(std::span<const float> rows, const Constant& weights) {
    const auto w = weights.view().as<const float>();
    const auto k = static_cast<size_t>(weights.shape[0]), n = static_cast<size_t>(weights.shape[1]);
    std::vector<float> sums(n);
    double total = 0;
    for (size_t row = 0; row + k <= rows.size(); row += k) {
      std::ranges::fill(sums, 0.0F);
      for (size_t p = 0; p < k; ++p) {
        const float x = rows[row + p];
        for (size_t j = 0; j < n; ++j) sums[j] += x * w[p * n + j];
      }
      for (float sum : sums) total += static_cast<double>(sum) * static_cast<double>(sum);
    }
    return total;
  }

  const Graph& graph_;
  std::span<const QuantizableLayer> layers_;
  SampleSource& source_;
  const CalibrationOptions& options_;
  std::vector<Observed> tensors_;
  std::vector<ValueId> outputs_;
  std::unique_ptr<GraphRunner> runner_;
  int64_t rows_ = 0;
};

}  // namespace

Result<CalibrationResult> Calibrate(const Graph& graph, std::span<const QuantizableLayer> layers,
                                    SampleSource& source, const MakeGraphRunner& make_runner,
                                    const CalibrationOptions& options) {
  return Calibrator(graph, layers, source, options).Run(make_runner);
}

}  // namespace verdict
