#include "serve/http/compress.h"

#include <zlib.h>

#include <boost/beast/core/string.hpp>
#include <cstdlib>

namespace verdict {
namespace {

constexpr int kFast = 1;  // scores are short and hardly repeat: more effort gains little
constexpr int kZlibWindow = 15;
constexpr int kGzipWindow = 15 + 16;

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The weight of "gzip;q=0.5" in thousandths; 1000 without one, 0 if it is no weight.
int WeightOf(std::string_view parameters) {
  parameters = Trimmed(parameters);
  if (parameters.empty()) return 1000;
  if (!parameters.starts_with("q=") && !parameters.starts_with("Q=")) return 0;
  parameters.remove_prefix(2);
  int weight = 0;
  int unit = 1000;
  for (size_t i = 0; i < parameters.size() && i < 5; ++i) {
    const char c = parameters[i];
    if (i == 1 && c == '.') continue;
    if (c < '0' || c > '9') return 0;
    weight += (c - '0') * unit;
    unit /= 10;
  }
  return weight;
}

}  // namespace

Coding ChooseCoding(std::string_view accept_encoding) {
  int gzip = 0;
  int deflate = 0;
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    const std::string_view entry = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(comma == std::string_view::npos ? accept_encoding.size()
                                                                  : comma + 1);
    const size_t semicolon = entry.find(';');
    const std::string_view name = Trimmed(entry.substr(0, semicolon));
    const std::string_view parameters =
        semicolon == std::string_view::npos ? std::string_view() : entry.substr(semicolon + 1);
    const auto is = [name](std::string_view wanted) {
      return boost::beast::iequals({name.data(), name.size()}, {wanted.data(), wanted.size()});
    };
    if (is("gzip") || is("x-gzip")) gzip = WeightOf(parameters);
    if (is("deflate")) deflate = WeightOf(parameters);
  }
  if (gzip == 0 && deflate == 0) return Coding::kNone;
  return gzip >= deflate ? Coding::kGzip : Coding::kDeflate;
}

bool Compress(Coding coding, std::string* body) {
  z_stream stream{};
  if (deflateInit2(&stream, kFast, Z_DEFLATED, coding == Coding::kGzip ? kGzipWindow : kZlibWindow,
                   MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
    return false;
  }
  std::string out(deflateBound(&stream, body->size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(body->data());
  stream.avail_in = static_cast<uInt>(body->size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) return false;
  body->swap(out);
  return true;
}

}  // namespace verdict
