#include "backends/tensorrt/run_layout.h"

#include <algorithm>
#include <cstring>

namespace verdict::tensorrt {
namespace {

constexpr size_t kAlignment = 256;  // what TensorRT's vectorized formats may want

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Calls visit(first element, count) for each run of elements that the range speaks of, of a dense
/// tensor of this shape.
template <typename Visit>
void VisitRange(const IndexRange& range, const Shape& shape, const Visit& visit) {
  if (range.axis < 0 || range.axis >= shape.rank()) {
    visit(int64_t{0}, Elements(shape));
    return;
  }
  int64_t outer = 1, inner = 1;
  for (int axis = 0; axis < range.axis; ++axis) outer *= shape[axis];
  for (int axis = range.axis + 1; axis < shape.rank(); ++axis) inner *= shape[axis];
  const int64_t extent = shape[range.axis];
  const int64_t begin = std::clamp<int64_t>(range.begin, 0, extent);
  const int64_t end = std::clamp<int64_t>(range.end, begin, extent);
  for (int64_t i = 0; i < outer; ++i) {
    visit((i * extent + begin) * inner, (end - begin) * inner);
  }
}

template <typename T>
bool WithinRange(const TensorView& tensor, const IndexRange& range) {
  const auto* values = static_cast<const T*>(tensor.data);
  bool within = true;
  VisitRange(range, tensor.shape, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) {
      within &= int64_t{values[i]} >= range.least && int64_t{values[i]} <= range.greatest;
    }
  });
  return within;
}

bool WithinRange(const IndexRange& range, const TensorView& view) {
  switch (view.dtype) {
    case DataType::kInt64:
      return WithinRange<int64_t>(view, range);
    case DataType::kInt32:
      return WithinRange<int32_t>(view, range);
    case DataType::kInt8:
      return WithinRange<int8_t>(view, range);
    case DataType::kUInt8:
      return WithinRange<uint8_t>(view, range);
    default:
      return true;
  }
}

}  // namespace

int64_t Elements(const Shape& shape) {
  int64_t elements = 1;
  for (const Dim extent : shape.dims()) elements *= extent;
  return elements;
}

size_t DeviceBytes(const EngineTensor& tensor, const Shape& shape) {
  return static_cast<size_t>(Elements(shape)) * DeviceElementSize(tensor.dtype, tensor.conversion);
}

RunLayout MakeRunLayout(size_t inputs, size_t outputs) {
  RunLayout layout;
  layout.inputs.resize(inputs);
  layout.input_offsets.resize(inputs);
  layout.is_large.resize(inputs);
  layout.outputs.resize(outputs);
  layout.output_offsets.resize(outputs);
  return layout;
}

void PlaceTensors(const std::vector<EngineTensor>& inputs, const std::vector<EngineTensor>& outputs,
                  const Trials& trials, RunLayout& layout) {
  size_t end = 0;  // of all so far, aligned for the next
  const auto place = [&](const EngineTensor& tensor, const Shape& shape, size_t& offset) {
    offset = end;
    const size_t used = end + DeviceBytes(tensor, shape);
    end = Aligned(used);
    return used;
  };
  const auto total = [](const std::vector<EngineTensor>& tensors,
                        const std::vector<Shape>& shapes) {
    size_t bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      bytes += DeviceBytes(tensors[i], shapes[i]);
    }
    return bytes;
  };
  layout.zero_copy = total(inputs, layout.inputs) <= trials.zero_copy_bytes &&
                     total(outputs, layout.outputs) <= trials.zero_copy_bytes;
  layout.small_bytes = layout.output_bytes = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    // What has to be converted, or padded with what is an index, passes through our own memory.
    layout.is_large[i] = !layout.zero_copy && inputs[i].conversion == Conversion::kNone &&
                         !inputs[i].indexes &&
                         DeviceBytes(inputs[i], layout.inputs[i]) >= trials.large_input_bytes;
    if (layout.is_large[i]) continue;
    layout.small_bytes = place(inputs[i], layout.inputs[i], layout.input_offsets[i]);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (layout.is_large[i]) place(inputs[i], layout.inputs[i], layout.input_offsets[i]);
  }
  // Aligned, so that smaller shapes, which may stand in another order, need no more.
  layout.input_bytes = end;
  end = 0;
  for (size_t o = 0; o < outputs.size(); ++o) {
    layout.output_bytes = place(outputs[o], layout.outputs[o], layout.output_offsets[o]);
  }
}

Status CheckIndices(const IndexRange& range, const EngineTensor& tensor, const TensorView& view) {
  if (WithinRange(range, view)) return OkStatus();
  std::string where = "input '" + tensor.label + "'";
  if (range.axis >= 0) {
    where += " (" + std::to_string(range.begin) + " to " + std::to_string(range.end - 1) +
             " of axis " + std::to_string(range.axis) + ")";
  }
  return InvalidArgument(where + " has an index outside [" + std::to_string(range.least) + ", " +
                         std::to_string(range.greatest) + "]");
}

void FillPadding(const std::vector<IndexRange>& ranges, size_t input, const EngineTensor& tensor,
                 const Shape& shape, int64_t first, std::byte* data) {
  const size_t size = DeviceElementSize(tensor.dtype, tensor.conversion);
  std::memset(data + static_cast<size_t>(first) * size, 0,
              static_cast<size_t>(Elements(shape) - first) * size);
  for (const IndexRange& range : ranges) {
    if (range.input != input || (range.least <= 0 && range.greatest >= 0)) continue;
    VisitRange(range, shape, [&](int64_t begin, int64_t count) {
      // Little-endian: the first bytes of a wider integer are the narrower one.
      for (int64_t i = std::max(begin, first); i < begin + count; ++i) {
        std::memcpy(data + static_cast<size_t>(i) * size, &range.least, size);
      }
    });
  }
}

}  // namespace verdict::tensorrt
