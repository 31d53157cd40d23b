#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/load/infer_inputs.h"

namespace verdict::load {

/// What all HTTP requests of a run have in common.
struct HttpRequestOptions {
  std::string host;           // for "Host:", with its port
  std::string target;         // "/v2/models/M/infer"
  bool json = false;          // tensors as JSON instead of raw bytes, in both directions
  bool has_deadline = false;  // "Verdict-Deadline-Us", for SetDeadline to fill in
  uint64_t priority = 0;      // the protocol's "priority" parameter; 0: none
  std::vector<std::pair<std::string, std::string>> headers;
};

/// "/v2/models/M[/versions/V]", with what a path may not hold escaped.
std::string ModelTarget(std::string_view model, std::string_view version);

/// A whole POST request with these tensors, ready to be sent. Errors: kInvalidArgument naming the
/// input: NaN, infinity, text that is not UTF-8 and halves, which JSON does not carry.
Result<std::string> InferRequestText(const RequestInputs& inputs,
                                     const HttpRequestOptions& options);

/// Where the deadline stands in a request that has one; the same place in all of a run.
size_t DeadlineOffset(std::string_view request);
/// Writes the deadline into a copy of a request, or of its beginning. offset: DeadlineOffset. us: >
/// 0.
void SetDeadline(std::string* request, size_t offset, int64_t us);

/// A whole POST request with this JSON body as it is.
std::string RawRequestText(std::string_view body, const HttpRequestOptions& options);

/// A whole GET request for `target`.
std::string GetRequestText(std::string_view target, const HttpRequestOptions& options);

}  // namespace verdict::load
