#include "serve/http/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>

namespace verdict {
namespace {

/// zlib's state, ended when it goes out of scope.
struct InflateStream {
  InflateStream() { ok = inflateInit2(&stream, kWindowBits) == Z_OK; }
  ~InflateStream() {
    if (ok) inflateEnd(&stream);
  }
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;

  static constexpr int kWindowBits = 15 + 32;  // largest window; gzip and zlib told apart by zlib
  z_stream stream{};
  bool ok = false;
};

}  // namespace

Status Inflate(std::string_view compressed, size_t max_bytes, BodyBuffer* out) {
  if (compressed.size() > std::numeric_limits<uInt>::max()) {
    return OutOfRange("the compressed body is larger than 4 GiB");
  }
  InflateStream inflate_stream;
  if (!inflate_stream.ok) return ResourceExhausted("no memory to decompress the body");
  z_stream& stream = inflate_stream.stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  char chunk[16384];
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk);
    stream.avail_out = sizeof(chunk);
    const int result = inflate(&stream, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR) return ResourceExhausted("no memory to decompress the body");
    if (result != Z_OK && result != Z_STREAM_END) {
      return InvalidArgument(result == Z_BUF_ERROR
                                 ? "the compressed body is cut off"
                                 : "the body is not what its Content-Encoding says");
    }
    const size_t produced = sizeof(chunk) - stream.avail_out;
    if (produced > max_bytes - std::min(max_bytes, out->size())) {
      return OutOfRange("the body is larger than " + std::to_string(max_bytes) +
                        " bytes once decompressed");
    }
    if (!out->Append({chunk, produced})) {
      return ResourceExhausted(
          "too many requests and responses are held at this moment; try again");
    }
    if (result == Z_STREAM_END) break;
    if (produced == 0 && stream.avail_in == 0) {
      return InvalidArgument("the compressed body is cut off");
    }
  }
  if (stream.avail_in != 0) {
    return InvalidArgument("the compressed body is followed by " + std::to_string(stream.avail_in) +
                           " more bytes");
  }
  return OkStatus();
}

}  // namespace verdict
