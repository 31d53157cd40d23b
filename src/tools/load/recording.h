#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tools/load/infer_inputs.h"

namespace verdict::load {

/// A recorded stream of requests.
struct Recording {
  struct Request {
    std::string body;      // a whole JSON body to send as it is, or empty:
    RequestInputs inputs;  // tensors
  };
  std::vector<int64_t> times_ns;  // since the first request; ascending
  std::vector<Request> requests;  // one a time
};

/// Reads JSON lines, one request each, in the order of sending:
///
///   {"at_us": 0, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 1]}]}
///   {"at_us": 1250.5, "body": "{\"inputs\": […]}"}
///
/// at_us: microseconds since any moment common to all lines; the first line's becomes 0. Other
/// members are passed over, empty lines too. Errors: kInvalidArgument naming file and line: not
/// JSON, neither or both of "inputs" and "body", a time before the line above or over a day after
/// the first, no line at all, over 4 million lines or 1 GiB of requests.
Result<Recording> ParseRecording(std::string_view text, const std::string& file);

/// The same from a file. Errors: also as MappedFile::Open.
Result<Recording> ReadRecording(const std::filesystem::path& path);

}  // namespace verdict::load
