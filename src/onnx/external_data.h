#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "onnx/proto.h"

namespace verdict {

/// Opens the files that tensors of one model point to, each once. Only files inside the model's own
/// folder are opened, whatever a model says: no absolute paths, no "..", no links that lead out.
class ExternalData {
 public:
  struct Bytes {
    std::span<const std::byte> bytes;
    std::shared_ptr<const MappedFile> file;  // keeps `bytes` mapped
  };

  /// folder: empty means that there is none, and every request is refused.
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// The bytes that `tensor`'s external_data names. size_bytes: what the tensor's shape needs, > 0.
  /// Errors: kInvalidArgument where the location leaves the folder, or offset and length do not fit
  /// the file or the shape; kNotFound; kUnavailable.
  Result<Bytes> Read(const onnx::TensorProto& tensor, size_t size_bytes);

  /// Counts bytes that cannot be used where they lie. Errors: kResourceExhausted where a model has
  /// more than 4 GiB of them, which a sparse file costs nothing.
  Status CountCopy(size_t bytes);

 private:
  Result<std::shared_ptr<const MappedFile>> Open(const std::string& location);

  std::filesystem::path folder_;
  size_t copied_bytes_ = 0;
  std::map<std::filesystem::path, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace verdict
