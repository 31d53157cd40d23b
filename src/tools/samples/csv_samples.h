#pragma once

#include <memory>

#include "tools/samples/row_source.h"
#include "tools/samples/text_input.h"

namespace verdict {

/// Samples of a CSV file: a header, then one sample a record, read as they are asked for.
/// Errors: kInvalidArgument naming the file and what is missing; as CsvReader::Next.
Result<std::unique_ptr<SampleSource>> OpenCsvSamples(TextInput input, SampleLayout layout,
                                                     const SampleOptions& options);

}  // namespace verdict
