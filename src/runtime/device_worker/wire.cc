#include "runtime/device_worker/wire.h"

#include <cstring>

#include "base/checked_math.h"

namespace verdict {
namespace {

constexpr size_t kTensorAlignment = 64;

}  // namespace

void WriteStatus(const Status& status, proto::WorkerStatus& message) {
  message.set_code(static_cast<int>(status.code()));
  message.set_message(status.message());
}

Status ReadStatus(const proto::WorkerStatus& message) {
  const int code = message.code();
  if (code == 0) return OkStatus();
  const bool known = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
  return {known ? static_cast<StatusCode>(code) : StatusCode::kInternal, message.message()};
}

void WriteShape(const Shape& shape, proto::WorkerShape& message) {
  for (const Dim dim : shape.dims()) message.add_dims(dim);
}

Result<Shape> ReadShape(const proto::WorkerShape& message) {
  if (message.dims_size() > Shape::kMaxRank) {
    return DataLoss("a shape from the device worker's socket has rank " +
                    std::to_string(message.dims_size()));
  }
  Shape shape;
  for (const Dim dim : message.dims()) {
    if (dim < 0) return DataLoss("a shape from the device worker's socket is negative");
    shape.push_back(dim);
  }
  return shape;
}

Status WriteTensors(std::span<const TensorView> tensors, proto::WorkerTensors& message,
                    std::vector<std::byte>& bytes) {
  for (const TensorView& tensor : tensors) {
    if (tensor.dtype == DataType::kString || tensor.dtype == DataType::kUndefined) {
      return InvalidArgument("devices take no strings");
    }
    VERDICT_ASSIGN_OR_RETURN(const size_t size, ByteSize(tensor.dtype, tensor.shape));
    proto::WorkerTensor& added = *message.add_tensors();
    added.set_dtype(std::string(DataTypeName(tensor.dtype)));
    WriteShape(tensor.shape, *added.mutable_shape());
    const size_t offset = AlignUp(bytes.size(), kTensorAlignment);
    added.set_offset(offset);
    bytes.resize(offset + size);
    if (size > 0) std::memcpy(bytes.data() + offset, tensor.data, size);
  }
  return OkStatus();
}

Result<std::vector<Constant>> ReadTensors(const proto::WorkerTensors& message,
                                          std::span<const std::byte> bytes,
                                          const std::shared_ptr<const void>& owner) {
  std::vector<Constant> tensors;
  for (const proto::WorkerTensor& tensor : message.tensors()) {
    const DataType dtype = DataTypeFromName(tensor.dtype());
    VERDICT_ASSIGN_OR_RETURN(const Shape shape, ReadShape(tensor.shape()));
    const auto size = ByteSize(dtype, shape);
    if (dtype == DataType::kUndefined || dtype == DataType::kString || !size.ok() ||
        tensor.offset() % kTensorAlignment != 0 || tensor.offset() > bytes.size() ||
        *size > bytes.size() - tensor.offset()) {
      return DataLoss("a tensor from the device worker's socket is not within its payload");
    }
    tensors.push_back({dtype, shape, bytes.data() + tensor.offset(), owner});
  }
  return tensors;
}

void WriteInfo(const DeviceInfo& info, proto::WorkerDeviceInfo& message) {
  message.set_backend(info.backend);
  message.set_name(info.name);
  message.set_fingerprint(info.fingerprint);
  message.set_versions(info.versions);
  message.set_uuid(info.uuid);
  message.set_index(info.index);
  message.set_memory_bytes(info.memory_bytes);
}

DeviceInfo ReadInfo(const proto::WorkerDeviceInfo& message) {
  DeviceInfo info;
  info.backend = message.backend();
  info.name = message.name();
  info.fingerprint = message.fingerprint();
  info.versions = message.versions();
  info.uuid = message.uuid();
  info.index = message.index();
  info.memory_bytes = message.memory_bytes();
  return info;
}

void WriteBuildOptions(const DeviceBuildOptions& options, proto::BuildCall& message) {
  message.set_tf32(options.tf32);
  message.set_fp16(options.fp16);
  message.set_bf16(options.bf16);
  message.set_int8(options.int8);
  message.set_calibration_cache(options.calibration_cache);
  message.set_optimization_level(options.optimization_level);
  for (const auto& [name, bytes] : options.memory_pools) {
    proto::MemoryPool& pool = *message.add_memory_pools();
    pool.set_name(name);
    pool.set_bytes(bytes);
  }
  for (const std::string& source : options.tactic_sources) message.add_tactic_sources(source);
  message.set_refittable(options.refittable);
  message.set_detailed_layers(options.detailed_layers);
  message.set_timing_cache(options.timing_cache != nullptr);
  message.set_log(options.log != nullptr);
}

DeviceBuildOptions ReadBuildOptions(const proto::BuildCall& message) {
  DeviceBuildOptions options;
  options.tf32 = message.tf32();
  options.fp16 = message.fp16();
  options.bf16 = message.bf16();
  options.int8 = message.int8();
  options.calibration_cache = message.calibration_cache();
  options.optimization_level = message.optimization_level();
  for (const proto::MemoryPool& pool : message.memory_pools()) {
    options.memory_pools.insert_or_assign(pool.name(), pool.bytes());
  }
  options.tactic_sources.assign(message.tactic_sources().begin(), message.tactic_sources().end());
  options.refittable = message.refittable();
  options.detailed_layers = message.detailed_layers();
  return options;
}

void WriteRunnerOptions(const DeviceRunnerOptions& options, proto::NewRunnerCall& message) {
  for (const std::vector<Shape>& shapes : options.captured_shapes) {
    proto::CapturedShapes& captured = *message.add_captured_shapes();
    for (const Shape& shape : shapes) WriteShape(shape, *captured.add_shapes());
  }
  message.set_rows_independent(options.rows_independent);
  message.set_graphs(options.graphs);
}

Result<DeviceRunnerOptions> ReadRunnerOptions(const proto::NewRunnerCall& message) {
  DeviceRunnerOptions options;
  for (const proto::CapturedShapes& captured : message.captured_shapes()) {
    std::vector<Shape>& shapes = options.captured_shapes.emplace_back();
    for (const proto::WorkerShape& shape : captured.shapes()) {
      VERDICT_ASSIGN_OR_RETURN(shapes.emplace_back(), ReadShape(shape));
    }
  }
  options.rows_independent = message.rows_independent();
  options.graphs = message.graphs();
  return options;
}

}  // namespace verdict
