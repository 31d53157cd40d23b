#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "ir/graph.h"

namespace verdict {

/// Some samples in the form in which a graph takes them.
struct Samples {
  int64_t rows = 0;
  std::vector<Constant> inputs;  // one per graph input, in its order; empty if rows == 0
  std::vector<float> labels;     // [rows], each 0 or 1; empty if there are none
};

/// Samples on which a model is calibrated and its accuracy measured, read piece by piece and more
/// than once. Every pass over an unchanged source gives the same rows in the same order.
/// After an error only Rewind and the destructor may be called. Threads: one at a time.
class SampleSource {
 public:
  virtual ~SampleSource() = default;

  /// Begins from the first row again. Errors: what is read from cannot be read again, or is not
  /// what it was.
  virtual Status Rewind() = 0;

  /// The next rows: max_rows at most (> 0), one where a run of the graph takes one sample; fewer
  /// only before the end. rows == 0 is the end. Errors: what is wrong with the data, and where.
  virtual Result<Samples> Next(int64_t max_rows) = 0;

  /// Whether Samples have labels.
  virtual bool has_labels() const = 0;
};

}  // namespace verdict
