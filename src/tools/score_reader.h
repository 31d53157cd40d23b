#pragma once

#include <string>
#include <vector>

#include "plan/profile.h"
#include "quant/graph_runner.h"
#include "quant/sample_axes.h"
#include "quant/sample_source.h"

namespace verdict {

/// Which number of a model's outputs is the score.
struct ScoreOutput {
  size_t output = 0;
  std::string name;
};

/// The output of that name; where `name` is empty the last one of floats. What has several columns
/// (a probability for each class) has the score in its last. Errors: kInvalidArgument that lists
/// the outputs of floats.
Result<ScoreOutput> FindScore(const Graph& graph, const std::string& name);

struct Scores {
  std::vector<float> values;
  std::vector<float> labels;  // empty if the source has none
};

/// The score of every sample, by a runner of the graph. Errors: as the source's and the runner's;
/// kInvalidArgument if an output is not a number a sample.
Result<Scores> ReadScores(GraphRunner& runner, const SampleAxes& axes, const ScoreOutput& score,
                          int64_t rows_at_once, SampleSource& source);

/// The score of every sample. profile: of the samples, as of SampleProfile. Errors: as the source's
/// and the runner's; kInvalidArgument if an output is not a number a sample.
Result<Scores> ReadScores(const Graph& graph, const Profile& profile, const SampleAxes& axes,
                          const ScoreOutput& score, int64_t rows_at_once, SampleSource& source);

}  // namespace verdict
