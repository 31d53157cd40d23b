#pragma once

#include <string>
#include <string_view>

namespace verdict {

enum class Coding { kNone, kGzip, kDeflate };

/// The coding of Accept-Encoding that an answer is sent in: gzip before deflate, whichever has the
/// higher weight; kNone if neither is welcome.
Coding ChooseCoding(std::string_view accept_encoding);

/// The body in that coding (deflate as zlib's format, as RFC 9110 says). Returns: false if there is
/// no memory; *body is then as it was.
bool Compress(Coding coding, std::string* body);

}  // namespace verdict
