#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ir/types.h"
#include "runtime/engine.h"
#include "serve/endpoints/shared_memory_tensor.h"

namespace verdict {

/// How many readable bytes must follow a JSON text that is given to a reader here.
inline constexpr size_t kJsonPadding = 64;
/// Longest JSON text of a request, in bytes: parsed, it takes up to 14 times its size. Raw tensors
/// behind it are no part of it.
inline constexpr size_t kMaxJsonBytes = size_t{8} << 20;
/// How deep arrays and objects of a request may be nested.
inline constexpr size_t kMaxJsonDepth = 32;

struct RequestedOutput {
  size_t index = 0;                 // into the engine's outputs
  bool binary = false;              // raw bytes after the JSON text instead of numbers in it
  SharedMemoryRange shared_memory;  // where it has a region, the values go there and nowhere else
};

/// An inference request, checked against the engine's inputs and outputs. Its views point into the
/// request's bytes and into the reader that made it.
struct InferRequest {
  std::optional<std::string_view> id;
  std::vector<TensorView> inputs;  // one per input, in the engine's order
  std::vector<RequestedOutput> outputs;
};

/// Memory for one tensor, aligned to 64 bytes; kept from request to request.
class TensorBuffer {
 public:
  /// At least `bytes` bytes, contents unspecified; null if there is no memory.
  std::byte* Reserve(size_t bytes);
  /// Gives memory beyond `bytes` back.
  void ShrinkTo(size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_ = 0;
};

/// Reads inference requests of the Open Inference Protocol v2, in JSON and in the binary form.
/// Keeps its memory from request to request, within bounds. Belongs to one thread.
class InferRequestReader {
 public:
  InferRequestReader();
  ~InferRequestReader();

  /// Reads one request. Everything in it is checked: names, types, shapes, sizes, ranges.
  ///
  /// json: the JSON text; kJsonPadding readable bytes follow it.
  /// binary: the raw tensors that follow it in the binary form, else empty. Read in place where
  ///   aligned to the element size.
  /// inputs, outputs: the engine's, in order; a shape has -1 where it may vary.
  /// request: valid until the next Read or Shrink, and as long as `json` and `binary`.
  /// Errors: kInvalidArgument naming the field; kUnimplemented (classification); those of
  /// FindSharedMemory; kResourceExhausted (no memory).
  Status Read(std::string_view json, std::span<const std::byte> binary,
              std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs,
              InferRequest* request);

  /// Requests may from now on name regions of `registry`, which outlives the reader.
  void UseSharedMemory(const RegionRegistry* registry) { registry_ = registry; }

  /// Gives back what a rare big request took. Call it after each request.
  void Shrink();

 private:
  struct Parser;  // hides simdjson
  std::unique_ptr<Parser> parser_;
  std::vector<TensorBuffer> buffers_;         // one per input
  std::vector<TensorBuffer> string_buffers_;  // of those in shared memory that are strings
  const RegionRegistry* registry_ = nullptr;
};

}  // namespace verdict
