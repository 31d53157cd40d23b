#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace verdict::tensorrt {

/// Numbers that have been reasoned and not yet measured on every kind of card: to try others there
/// without a build, and not for users. VERDICT_TENSORRT_TRIALS="zero_copy_bytes=0,stack_bytes=256"
/// is read when a device is opened.
struct Trials {
  /// Where a run's inputs are together no more than this, and its outputs too, they are read and
  /// written where they lie in pinned memory, without copies (docs/adr/0017). All or none: outputs
  /// of 128 bytes that a kernel wrote there, beside inputs that were copied, took 6 % of R9's
  /// throughput. Few, as several kernels, and many blocks of one, may read the same bytes.
  uint64_t zero_copy_bytes = 512;
  /// An input of at least this goes to the card by a copy of its own, straight from memory of the
  /// caller's if that could be pinned; one that is converted or holds indexes does not.
  uint64_t large_input_bytes = uint64_t{64} << 10U;
  /// Scratch of at least this is shared, and its users take turns.
  uint64_t shared_scratch_bytes = uint64_t{4} << 20U;
  /// Stack of each of the card's threads, which the driver keeps memory for: on an H100 its own
  /// 1,024 bytes take 198 MiB more than these. Kernels that are known to need more get it. 0: the
  /// driver's own.
  uint64_t stack_bytes = 256;
  /// 1: layers in the form in which TensorRT's ONNX parser has them, where there are several.
  uint64_t parser_forms = 0;
};

/// Errors: kInvalidArgument: not a list of name=number, or no such name.
Result<Trials> ParseTrials(std::string_view text);

}  // namespace verdict::tensorrt
