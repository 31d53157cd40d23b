#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ir/types.h"
#include "runtime/engine.h"
#include "serve/endpoints/request_checks.h"
#include "serve/endpoints/shared_memory_tensor.h"

namespace verdict {

/// How many readable bytes must follow a JSON text that is given to a reader here.
inline constexpr size_t kJsonPadding = 64;
/// Longest JSON text of a request, in bytes: parsed, it takes up to 14 times its size. Raw tensors
/// behind it are no part of it.
inline constexpr size_t kMaxJsonBytes = size_t{8} << 20;
/// How deep arrays and objects of a request may be nested.
inline constexpr size_t kMaxJsonDepth = 32;
/// Longest sequence_id of a request, in bytes: the server keeps it as long as the sequence.
inline constexpr size_t kMaxSequenceIdBytes = 256;

/// An inference request, checked against the engine's inputs and outputs. Its views point into the
/// request's bytes and into the reader that made it.
struct InferRequest {
  std::optional<std::string_view> id;
  std::vector<TensorView> inputs;  // one per input, in the engine's order
  std::vector<RequestedOutput> outputs;

  // Parameters of the request.
  uint32_t priority = 0;    // 1 is most urgent; 0: none given
  uint64_t timeout_us = 0;  // how long it may wait in the queue; 0: none given
  std::string sequence;     // whose state it goes on with; empty: of no sequence
  bool sequence_start = false;
  bool sequence_end = false;

  /// For the next request: keeps the memory.
  void Clear();
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
  /// others: what becomes of inputs that the engine does not have: refused, or passed over, as a
  ///   route's lesser models take fewer.
  enum class Others { kRefuse, kPassOver };
  Status Read(std::string_view json, std::span<const std::byte> binary,
              std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs,
              InferRequest* request, Others others = Others::kRefuse);

  /// Requests may from now on name regions of `registry`, which outlives the reader.
  void UseSharedMemory(const RegionRegistry* registry) { registry_ = registry; }

  /// Gives back what a rare big request took. Call it after each request.
  void Shrink();

  /// Hands on to `next`, which holds no request, what is needed to read one: most of the
  /// memory. `request`, which was read here last, stays valid.
  void HandOnParser(InferRequestReader* next, InferRequest* request);
  /// Bytes that the request read last takes here, after HandOnParser.
  size_t held_bytes() const;

 private:
  struct Parser;  // hides simdjson
  std::unique_ptr<Parser> parser_;
  std::vector<TensorBuffer> buffers_;         // one per input
  std::vector<TensorBuffer> string_buffers_;  // of those in shared memory that are strings
  std::vector<size_t> json_strings_;          // inputs whose strings are the parser's
  std::string kept_strings_;                  // those that were the parser's
  const RegionRegistry* registry_ = nullptr;
};

}  // namespace verdict
