#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ir/types.h"
#include "runtime/engine.h"
#include "serve/endpoints/shared_memory_tensor.h"

namespace verdict {

// What every form of an inference request is checked for, in the same words. `field` says where in
// the request something stands, for example "inputs[0]". All errors are kInvalidArgument unless
// said otherwise.

struct RequestedOutput {
  size_t index = 0;                 // into the engine's outputs
  bool binary = false;              // raw bytes instead of numbers in JSON
  SharedMemoryRange shared_memory;  // where it has a region, the values go there and nowhere else
};

/// Memory for one tensor, aligned to 64 bytes; kept from request to request.
class TensorBuffer {
 public:
  /// At least `bytes` bytes, contents unspecified; null if there is no memory.
  std::byte* Reserve(size_t bytes);
  /// Nothing in it is needed any more: gives memory beyond `bytes` back.
  void ShrinkTo(size_t bytes);
  /// What was reserved last, in bytes, since ShrinkTo.
  size_t used() const { return used_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_ = 0;
  size_t used_ = 0;
};

/// "input 'x'", for the context of errors.
std::string InputContext(const TensorSpec& spec);

bool HasSpec(std::span<const TensorSpec> specs, std::string_view name);

/// The place of the named input. `views`: those read so far, one per spec; kUndefined: not yet.
/// Errors: unknown, or given twice.
Result<size_t> ChooseInput(std::span<const TensorSpec> specs, std::string_view name,
                           const std::string& field, std::span<const TensorView> views);

/// Errors: every input that has no view yet is missing, but for states, whose data is null then.
Status CheckComplete(std::span<const TensorSpec> specs, std::span<const TensorView> views);

Status CheckDatatype(const TensorSpec& spec, std::string_view datatype);

/// The extents as a shape that fits the model's and whose bytes can be counted.
Result<Shape> CheckShape(std::span<const int64_t> extents, const TensorSpec& spec);

/// Memory for a tensor of this type and shape. Errors: kResourceExhausted.
Result<std::byte*> TensorMemory(DataType dtype, const Shape& shape, TensorBuffer* buffer);

/// A tensor from its raw bytes, in place where they are aligned to the element size.
///
/// what: what the client calls the number of bytes, for errors.
Result<TensorView> ReadRawTensor(DataType dtype, const Shape& shape,
                                 std::span<const std::byte> bytes, const char* what,
                                 TensorBuffer* buffer);

/// A tensor's copy out of shared memory, in the binary form: its owner may go on writing there, and
/// what is checked has to be what is used.
///
/// tensor: memory for the tensor; strings: for the bytes that the elements of a BYTES tensor are
///   in. Both must outlive what is returned.
/// Errors: also kResourceExhausted, and those of SharedMemoryRegion::Read.
Result<TensorView> ReadSharedMemoryTensor(DataType dtype, const Shape& shape,
                                          const SharedMemoryRange& range, TensorBuffer* tensor,
                                          TensorBuffer* strings);

/// Adds the named output. Errors: unknown, or asked for twice.
Status AddOutput(std::span<const TensorSpec> specs, std::string_view name, const std::string& field,
                 bool binary, std::vector<RequestedOutput>* outputs);

/// Where the request names no output, all are wanted but states.
void AddAllOutputs(std::span<const TensorSpec> specs, bool binary,
                   std::vector<RequestedOutput>* outputs);

/// Errors of a parameter that asks for what is not offered: kUnimplemented.
Status ClassificationNotOffered(const std::string& field);

/// Reads "priority": 0 (none) or a level. Errors: over what 32 bits hold.
Status ReadPriority(uint64_t value, const std::string& field, uint32_t* priority);

/// Reads "sequence_id" where it is a text. Errors: over kMaxSequenceIdBytes.
Status ReadSequenceId(std::string_view text, const std::string& field, std::string* sequence);

}  // namespace verdict
