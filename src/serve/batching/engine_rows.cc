#include "serve/batching/engine_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "ops/half.h"

namespace verdict {
namespace {

/// The engine's profile that takes so many rows. Errors: none does.
Result<const Profile*> ProfileFor(const Engine& engine, const EngineRows& engine_rows,
                                  int64_t rows) {
  for (const Profile& profile : engine.profiles()) {
    if (!engine_rows.has_batch) return &profile;
    const InputRange& range = profile.inputs[0];
    if (range.min[0] <= rows && rows <= range.max[0]) return &profile;
  }
  return InvalidArgument("no profile of the engine takes " + std::to_string(rows) +
                         " rows; it takes " + std::to_string(engine_rows.min) + " to " +
                         std::to_string(engine_rows.max));
}

Constant Strings(const Shape& shape, const std::string& value) {
  const int64_t count = NumElements(shape).value();
  return Constant::OfStrings(shape, std::vector<std::string>(static_cast<size_t>(count), value));
}

/// `rows` rows of a tensor, its own over and over.
Constant Repeated(const Constant& tensor, int64_t rows) {
  Shape shape = tensor.shape;
  const int64_t given = shape[0];
  shape[0] = rows;
  auto [repeated, data] = Constant::Allocate(tensor.dtype, shape);
  repeated.owner = std::make_shared<std::pair<std::shared_ptr<const void>, Constant>>(
      repeated.owner, tensor);  // strings go on living there
  const size_t row_bytes = RowBytes(tensor.dtype, shape);
  for (int64_t row = 0; row < rows; ++row) {
    std::memcpy(static_cast<std::byte*>(data) + static_cast<size_t>(row) * row_bytes,
                RowSlice(tensor.view(), row % given, 1).data, row_bytes);
  }
  return repeated;
}

Constant RandomTensor(DataType dtype, const Shape& shape, std::mt19937_64& random) {
  if (dtype == DataType::kString) return Strings(shape, "0");
  const int64_t count = NumElements(shape).value();
  auto [tensor, data] = Constant::Allocate(dtype, shape);
  const auto real = [&] { return static_cast<float>(random() >> 40) * 0x1p-23F - 1; };  // [-1, 1)
  const auto fill = [count, data = data]<typename T>(T, auto draw) {
    for (int64_t i = 0; i < count; ++i) static_cast<T*>(data)[i] = draw();
  };
  switch (dtype) {
    case DataType::kFloat32:
      fill(float{}, real);
      break;
    case DataType::kFloat64:
      fill(double{}, real);
      break;
    case DataType::kFloat16:
      fill(Float16{}, [&] { return Float16::Of(real()); });
      break;
    case DataType::kBFloat16:
      fill(BFloat16{}, [&] { return BFloat16::Of(real()); });
      break;
    default: {
      // 0 or 1 in each element, whatever its width.
      const size_t size = ElementSize(dtype);
      std::memset(data, 0, static_cast<size_t>(count) * size);
      for (int64_t i = 0; i < count; ++i) {
        static_cast<std::byte*>(data)[static_cast<size_t>(i) * size] =
            static_cast<std::byte>(random() & 1);
      }
    }
  }
  return tensor;
}

}  // namespace

EngineRows RowsOf(const Engine& engine) {
  const Graph& graph = engine.graph();
  EngineRows rows;
  Dim batch = 0;
  rows.has_batch = !graph.inputs.empty();
  for (const auto* ids : {&graph.inputs, &graph.outputs}) {
    for (ValueId id : *ids) {
      const Shape& shape = graph.value(id).shape;
      const bool varies = shape.rank() > 0 && IsSymbol(shape[0]);
      if (!varies || (batch != 0 && shape[0] != batch)) rows.has_batch = false;
      if (varies) batch = shape[0];
    }
  }
  for (ValueId id : graph.inputs) {
    const auto dims = graph.value(id).shape.dims();
    for (size_t axis = rows.has_batch ? 1 : 0; axis < dims.size(); ++axis) {
      if (IsSymbol(dims[axis])) rows.uniform = false;
    }
  }
  if (!rows.has_batch) return rows;
  rows.min = std::numeric_limits<int64_t>::max();
  for (const Profile& profile : engine.profiles()) {
    rows.min = std::min(rows.min, std::max<int64_t>(profile.inputs[0].min[0], 1));
    rows.max = std::max(rows.max, profile.inputs[0].max[0]);
  }
  return rows;
}

size_t RowBytes(DataType dtype, const Shape& shape) {
  size_t bytes = ElementSize(dtype);
  for (const Dim dim : shape.dims().subspan(1)) bytes *= static_cast<size_t>(dim);
  return bytes;
}

TensorView RowSlice(const TensorView& tensor, int64_t first, int64_t count) {
  TensorView slice = tensor;
  slice.shape[0] = count;
  slice.data = static_cast<std::byte*>(tensor.data) +
               static_cast<size_t>(first) * RowBytes(tensor.dtype, tensor.shape);
  return slice;
}

Result<std::vector<Constant>> ZeroInputs(const Engine& engine, int64_t rows) {
  const EngineRows engine_rows = RowsOf(engine);
  VERDICT_ASSIGN_OR_RETURN(const Profile* profile, ProfileFor(engine, engine_rows, rows));
  std::vector<Constant> inputs;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    const DataType dtype = engine.inputs()[i].dtype;
    Shape shape = profile->inputs[i].max;
    if (engine_rows.has_batch) shape[0] = rows;
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(dtype, shape));
    if (dtype == DataType::kString) {
      inputs.push_back(Strings(shape, "0"));
      continue;
    }
    auto [tensor, data] = Constant::Allocate(dtype, shape);
    std::memset(data, 0, bytes);
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

Result<std::vector<Constant>> RandomInputs(const Engine& engine, int64_t rows, uint64_t seed) {
  VERDICT_ASSIGN_OR_RETURN(const Profile* profile, ProfileFor(engine, RowsOf(engine), rows));
  const auto& goldens = engine.contents().golden;
  const GoldenVector* golden = goldens.empty() ? nullptr : &goldens.back();
  std::mt19937_64 random(seed);
  std::vector<Constant> inputs;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    const DataType dtype = engine.inputs()[i].dtype;
    const bool has_golden = golden != nullptr && golden->inputs[i].shape[0] > 0;
    Shape shape = has_golden ? golden->inputs[i].shape : profile->inputs[i].opt;
    shape[0] = rows;
    VERDICT_RETURN_IF_ERROR(ByteSize(dtype, shape).status());
    inputs.push_back(has_golden && !IsFloating(dtype) ? Repeated(golden->inputs[i], rows)
                                                      : RandomTensor(dtype, shape, random));
  }
  return inputs;
}

std::vector<TensorView> Views(std::span<const Constant> tensors) {
  std::vector<TensorView> views;
  for (const Constant& tensor : tensors) views.push_back(tensor.view());
  return views;
}

}  // namespace verdict
