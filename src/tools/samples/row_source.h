#pragma once

#include <string>
#include <utility>

#include "quant/sample_source.h"
#include "tools/samples/sample_layout.h"
#include "tools/samples/sample_rows.h"

namespace verdict {

/// How a file of samples is read.
struct SampleOptions {
  std::string label;            // name of the labels' column; empty: there are none
  bool label_required = false;  // or it is read if it is there
  bool label_ignored = false;   // where it is there, it is passed over
  bool allow_nan = false;       // in inputs of floats
};

/// A source that reads one sample after another: what the formats share.
class RowSource : public SampleSource {
 public:
  Result<Samples> Next(int64_t max_rows) final;

 protected:
  RowSource(SampleLayout layout, const SampleOptions& options)
      : layout_(std::move(layout)), options_(options) {}

  /// Adds the values of one sample, and its label if there are labels; false at the end.
  virtual Result<bool> NextRow(SampleRows* rows) = 0;

  SampleLayout layout_;
  SampleOptions options_;
};

}  // namespace verdict
