#pragma once

#include <vector>

#include "plan/profile.h"
#include "quant/sample_axes.h"
#include "quant/sample_source.h"

namespace verdict {

/// Samples as a device calibrates on them: each set has the profile's opt shapes. Whole batches are
/// taken, up to 4,096 rows; where there are fewer rows than one batch has, they come again and
/// again. Errors: as the source; kInvalidArgument: no samples, or none of the profile's opt shapes.
Result<std::vector<std::vector<Constant>>> CalibrationBatches(const Profile& profile,
                                                              const SampleAxes& axes,
                                                              SampleSource& source);

}  // namespace verdict
