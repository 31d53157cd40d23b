#pragma once

#include "plan/profile.h"
#include "quant/graph_runner.h"
#include "quant/sample_axes.h"

namespace verdict {

/// The profile with any number of samples from 1 to `rows` along the axes; as it is where a run
/// takes one sample.
Profile SampleProfile(Profile profile, const SampleAxes& axes, int64_t rows);

/// Runs the graph with this machine's best tactics, untuned. Errors: as Engine::FromContents.
Result<std::unique_ptr<GraphRunner>> MakeSampleRunner(Graph graph, const Profile& profile);

}  // namespace verdict
