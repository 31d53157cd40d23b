#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "ir/graph.h"

namespace verdict {

/// One graph input as a file of samples has it.
struct SampleInput {
  std::string name;
  DataType dtype = DataType::kUndefined;
  int axis = 0;           // where the batch extent is; -1 if a run takes one sample
  Shape row;              // one sample: all other extents, symbols until they are bound
  bool open = false;      // whether `row` had symbols
  std::string model_has;  // "float32 [N,30]", for messages
};

/// What the graph's inputs look like in a file that holds one sample a row. Extents that the graph
/// leaves open besides the batch (a sequence's length) are bound by the first sample: a file has
/// one value for each. Does not refer to the graph.
class SampleLayout {
 public:
  /// Errors: as FindSampleAxes.
  static Result<SampleLayout> Of(const Graph& graph);

  const std::vector<SampleInput>& inputs() const { return inputs_; }
  std::vector<std::string> Names() const;
  /// True if there is no batch extent: a run takes one sample.
  bool one_a_run() const { return inputs_.front().axis < 0; }

  /// Says that one sample of an input has so many values, and binds what is open in its row.
  /// Errors: kInvalidArgument saying how many the model takes.
  Status BindCount(size_t input, int64_t count);

  /// Says that one sample of an input has this shape. Errors: as BindCount.
  Status BindExtents(size_t input, std::span<const int64_t> extents);

 private:
  Status Mismatch(const SampleInput& input, const std::string& what) const;
  void Bind(Dim symbol, int64_t extent);

  std::vector<SampleInput> inputs_;  // not empty
};

}  // namespace verdict
