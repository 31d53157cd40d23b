#include "tools/device_samples.h"

#include <cstring>

namespace verdict {
namespace {

constexpr int64_t kMostRows = 4096;

/// The tensor with `rows` along the axis, of which it has fewer: they come again and again.
Constant Repeated(const Constant& tensor, int axis, int64_t rows) {
  Shape shape = tensor.shape;
  const int64_t have = shape[axis];
  shape[axis] = rows;
  if (tensor.dtype == DataType::kString) return tensor;  // no device takes it
  auto [repeated, data] = Constant::Allocate(tensor.dtype, shape);
  int64_t outer = 1;
  size_t inner = ElementSize(tensor.dtype);
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= static_cast<size_t>(shape[i]);
  const auto* from = static_cast<const std::byte*>(tensor.data);
  auto* to = static_cast<std::byte*>(data);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(to + static_cast<size_t>(o * rows + row) * inner,
                  from + static_cast<size_t>(o * have + row % have) * inner, inner);
    }
  }
  return std::move(repeated);
}

bool HaveShapes(const Profile& profile, std::span<const Constant> tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!(tensors[i].shape == profile.inputs[i].opt)) return false;
  }
  return true;
}

}  // namespace

Result<std::vector<std::vector<Constant>>> CalibrationBatches(const Profile& profile,
                                                              const SampleAxes& axes,
                                                              SampleSource& source) {
  const int64_t rows =
      axes.inputs.empty() ? 1 : std::max<int64_t>(1, profile.inputs[0].opt[axes.inputs[0]]);
  VERDICT_RETURN_IF_ERROR(source.Rewind());
  std::vector<std::vector<Constant>> batches;
  Shape seen;
  for (int64_t taken = 0; taken < kMostRows || batches.empty();) {
    VERDICT_ASSIGN_OR_RETURN(Samples samples, source.Next(rows));
    if (samples.rows == 0) break;
    taken += samples.rows;
    if (samples.rows < rows) {
      if (!batches.empty()) break;  // what is left over at the end
      for (size_t i = 0; i < samples.inputs.size(); ++i) {
        samples.inputs[i] = Repeated(samples.inputs[i], axes.inputs[i], rows);
      }
    }
    seen = samples.inputs[0].shape;
    if (HaveShapes(profile, samples.inputs)) batches.push_back(std::move(samples.inputs));
  }
  if (batches.empty()) {
    return InvalidArgument("calibration on a device needs samples of the opt shapes: " +
                           ToString(profile.inputs[0].opt) + " where the samples have " +
                           ToString(seen) + "; give --optShapes, or build with --explicit");
  }
  return batches;
}

}  // namespace verdict
