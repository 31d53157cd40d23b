#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plan/profile.h"
#include "tools/npz.h"

namespace verdict::load {

/// An input as the server's metadata describe it; an extent of -1 may be any.
struct InputSpec {
  std::string name;
  DataType dtype = DataType::kUndefined;
  std::vector<int64_t> shape;
};

/// The inputs of one request, by name, in the model's order.
using RequestInputs = std::vector<std::pair<std::string, Constant>>;

/// The "inputs" of GET /v2/models/M. The text is the server's, and hostile. Errors:
/// kInvalidArgument: not such a document, or an unknown datatype.
Result<std::vector<InputSpec>> ParseModelMetadata(std::string_view json);

/// A v2 "inputs" array whose tensors hold their "data" as JSON. Errors: kInvalidArgument that names
/// the input and what is wrong.
Result<RequestInputs> ParseJsonInputs(std::string_view json);

/// Different requests that a run prepares at most.
inline constexpr int64_t kMaxRequests = 65'536;

/// `count` requests with random values: floats are standard normal, integers and booleans 0 or 1
/// (an index that every table has), strings "v0" to "v9". shapes: what --shape says; the extents of
/// an input that it does not name are 1 where the model leaves them open. Errors: kInvalidArgument
/// naming the input: unknown, a shape that does not fit, over 64 MiB a request.
Result<std::vector<RequestInputs>> RandomInputs(const std::vector<InputSpec>& specs,
                                                const NamedShapes& shapes, int count,
                                                uint64_t seed);

/// Cuts the file's arrays into requests of `batch` rows each, along the first axis; a rest shorter
/// than that is left out. Where no input has an open first axis, the arrays are one request. The
/// requests share the arrays' memory. file: for messages. Errors: kInvalidArgument naming the
/// array: missing, unknown, of another type or shape, of another number of rows, fewer rows than
/// `batch`.
Result<std::vector<RequestInputs>> CutInputs(const std::vector<InputSpec>& specs,
                                             const NamedTensors& tensors, const std::string& file,
                                             int64_t batch);

}  // namespace verdict::load
