#pragma once

#include <memory>
#include <string>

#include "tools/npz.h"
#include "tools/samples/row_source.h"

namespace verdict {

/// Samples of arrays that are named as the inputs and divide into samples along the batch extent,
/// or along one more in front where a run takes one sample. Other arrays are passed over. Numbers
/// of any type go into inputs of any other type that holds their values. file: for messages.
/// Errors: kInvalidArgument naming file and array: missing, of another shape or another number of
/// samples; a label that is neither 0 nor 1.
Result<std::unique_ptr<SampleSource>> OpenNpzSamples(NamedTensors arrays, const std::string& file,
                                                     SampleLayout layout,
                                                     const SampleOptions& options);

}  // namespace verdict
