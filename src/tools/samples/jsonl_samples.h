#pragma once

#include <memory>

#include "tools/samples/row_source.h"
#include "tools/samples/text_input.h"

namespace verdict {

/// Samples of JSON lines: an object a line, keyed by input, read as they are asked for. Values are
/// numbers, or arrays flat or nested; null is NaN. Other keys and empty lines are passed over.
/// Errors: kInvalidArgument naming the file and what is missing in its first line; as
/// TextInput::ReadLine.
Result<std::unique_ptr<SampleSource>> OpenJsonlSamples(TextInput input, SampleLayout layout,
                                                       const SampleOptions& options);

}  // namespace verdict
