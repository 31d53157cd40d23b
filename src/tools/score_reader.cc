#include "tools/score_reader.h"

#include "tools/sample_runner.h"

namespace verdict {
namespace {

/// Appends the last column of each sample. axis: which extent counts the samples, -1 for one.
Status AppendScores(const TensorView& output, int axis, int64_t samples, const std::string& name,
                    std::vector<float>& to) {
  const auto values = output.as<const float>();
  // Samples outermost (axis 0, or all extents before it are 1), then their columns.
  int64_t before = 1;
  for (int i = 0; i < axis; ++i) before *= output.shape[i];
  const int64_t each = samples == 0 ? 0 : std::ssize(values) / samples;
  const bool counts_samples = axis < 0 ? samples == 1 : output.shape[axis] == samples;
  if (!counts_samples || before != 1 || each < 1 || each * samples != std::ssize(values)) {
    return InvalidArgument("output '" + name + "' of shape " + ToString(output.shape) +
                           " is not a row a sample; name the score's output with --score");
  }
  for (int64_t sample = 0; sample < samples; ++sample) {
    to.push_back(values[static_cast<size_t>((sample + 1) * each - 1)]);
  }
  return OkStatus();
}

}  // namespace

Result<ScoreOutput> FindScore(const Graph& graph, const std::string& name) {
  std::string known;
  std::optional<ScoreOutput> found;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const Value& value = graph.value(graph.outputs[i]);
    if (value.dtype != DataType::kFloat32) continue;
    known += (known.empty() ? "" : ", ") + value.name;
    if (name.empty() || value.name == name) found = {i, value.name};
  }
  if (found) return *found;
  if (known.empty())
    return InvalidArgument("the model has no output of float32: there is no score");
  return InvalidArgument("--score: there is no output '" + name + "' of float32; there are " +
                         known);
}

Result<Scores> ReadScores(GraphRunner& runner, const SampleAxes& axes, const ScoreOutput& score,
                          int64_t rows_at_once, SampleSource& source) {
  VERDICT_RETURN_IF_ERROR(source.Rewind());
  Scores scores;
  while (true) {
    VERDICT_ASSIGN_OR_RETURN(const Samples samples, source.Next(rows_at_once));
    if (samples.rows == 0) return scores;
    std::vector<TensorView> inputs;
    for (const Constant& input : samples.inputs) inputs.push_back(input.view());
    VERDICT_ASSIGN_OR_RETURN(const auto outputs, runner.Run(inputs));
    const int axis = axes.outputs.empty() ? -1 : axes.outputs[score.output];
    VERDICT_RETURN_IF_ERROR(
        AppendScores(outputs[score.output], axis, samples.rows, score.name, scores.values));
    scores.labels.insert(scores.labels.end(), samples.labels.begin(), samples.labels.end());
  }
}

Result<Scores> ReadScores(const Graph& graph, const Profile& profile, const SampleAxes& axes,
                          const ScoreOutput& score, int64_t rows_at_once, SampleSource& source) {
  VERDICT_ASSIGN_OR_RETURN(const auto runner, MakeSampleRunner(graph, profile));
  return ReadScores(*runner, axes, score, rows_at_once, source);
}

}  // namespace verdict
