#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/samples/row_source.h"
#include "tools/samples/sample_layout.h"

namespace verdict {

/// Which columns of a CSV file hold what.
struct CsvColumns {
  std::vector<std::vector<size_t>> inputs;  // by input: where its values are, in order
  std::optional<size_t> label;
};

/// Finds the inputs' columns by the names in `header`: "x" for an input of one value a sample,
/// "x[0]", "x[1]", … or "x_0", "x_1", … for one of more. A model with a single input may have all
/// columns but the label's instead, in order. Binds in `layout` what the inputs leave open.
/// Errors: kInvalidArgument: a column is missing, too many or too few, or there twice; the first
/// line is no header. Without the file's name.
Result<CsvColumns> FindCsvColumns(std::span<const std::string> header, const SampleOptions& options,
                                  SampleLayout* layout);

}  // namespace verdict
