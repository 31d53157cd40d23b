#pragma once

#include <cstddef>
#include <string_view>

#include "base/status.h"
#include "serve/http/body_buffer.h"

namespace verdict {

/// Undoes Content-Encoding gzip or deflate (zlib's format).
///
/// max_bytes: how many bytes may come out, against bombs.
/// out: where they go; started by the caller.
/// Errors: kInvalidArgument (not in that format, cut off, or followed by more), kOutOfRange (more
/// than max_bytes), kResourceExhausted (memory).
Status Inflate(std::string_view compressed, size_t max_bytes, BodyBuffer* out);

}  // namespace verdict
