#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backends/tensorrt/engine_tensors.h"
#include "backends/tensorrt/network_builder.h"
#include "backends/tensorrt/trials.h"

namespace verdict::tensorrt {

/// An input or output of a program.
struct EngineTensor {
  std::string name;                       // TensorRT's
  std::string label;                      // the graph's, for messages
  DataType dtype = DataType::kUndefined;  // the graph's
  Conversion conversion = Conversion::kNone;
  bool indexes = false;  // an IndexRange speaks of it
};

/// Where the tensors of one set of shapes lie within a runner's two blocks, that of all inputs and
/// that of all outputs; on the card and in pinned memory alike.
struct RunLayout {
  std::vector<Shape> inputs, outputs;  // set by the caller
  std::vector<size_t> input_offsets, output_offsets;
  /// Inputs that are copied one by one: they lie behind the others.
  std::vector<bool> is_large;
  size_t small_bytes = 0;                    // of all others, which one copy takes there
  size_t input_bytes = 0, output_bytes = 0;  // of the blocks
  bool zero_copy = false;  // inputs are read where they lie in pinned memory, outputs written there
};

/// With room for a program's tensors, none of them placed.
RunLayout MakeRunLayout(size_t inputs, size_t outputs);
/// Places them, by layout.inputs and layout.outputs. Allocates nothing.
void PlaceTensors(const std::vector<EngineTensor>& inputs, const std::vector<EngineTensor>& outputs,
                  const Trials& trials, RunLayout& layout);

/// Elements of a static shape.
int64_t Elements(const Shape& shape);
/// Bytes of a tensor of this shape in its form on the card.
size_t DeviceBytes(const EngineTensor& tensor, const Shape& shape);

/// Checks what the range says of a dense tensor. Errors: kInvalidArgument, naming it. Cost:
/// O(elements).
Status CheckIndices(const IndexRange& range, const EngineTensor& tensor, const TensorView& view);

/// Fills elements [first, end) of a tensor of this shape, in its form on the card, with zeros, and
/// where a range of the input says that 0 is no index with its least one.
void FillPadding(const std::vector<IndexRange>& ranges, size_t input, const EngineTensor& tensor,
                 const Shape& shape, int64_t first, std::byte* data);

}  // namespace verdict::tensorrt
