#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "quant/sample_source.h"
#include "tools/samples/sample_layout.h"
#include "tools/samples/sample_number.h"

namespace verdict {

/// Collects samples value by value, row after row, and makes tensors of them. The layout must
/// outlive it.
class SampleRows {
 public:
  SampleRows(const SampleLayout& layout, bool allow_nan);

  /// Appends one value to an input. Errors: kInvalidArgument: the value does not fit its type.
  Status AddNumber(size_t input, const Number& number);
  Status AddString(size_t input, std::string_view text);
  /// As one of both, whichever the input takes; "true" and "false" count as 1 and 0 in booleans.
  Status AddText(size_t input, std::string_view text);

  void AddLabel(float label) { labels_.push_back(label); }

  /// All of it as tensors. rows: how many were added; each input has as many values as `rows` times
  /// its row in the layout says. Errors: extents too large for a tensor.
  Result<Samples> Finish(int64_t rows) &&;

 private:
  struct Column {
    std::vector<std::byte> elements;   // of numbers
    std::vector<std::string> strings;  // of kString
  };

  const SampleLayout& layout_;
  bool allow_nan_;
  std::vector<Column> columns_;  // one per input
  std::vector<float> labels_;
};

}  // namespace verdict
