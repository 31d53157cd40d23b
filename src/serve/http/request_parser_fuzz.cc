// An HTTP request in pieces, through what stands between the socket and the endpoints: head and
// chunks, path, deadline, codings, decompression. The first byte says how large the pieces are.

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "serve/endpoints/endpoint.h"
#include "serve/http/compress.h"
#include "serve/http/deadline.h"
#include "serve/http/inflate.h"
#include "serve/http/request_parser.h"
#include "serve/http/target.h"

namespace {

constexpr size_t kMaxBody = 1 << 16;

void UseRequest(const verdict::RequestHead& head, verdict::BodyBuffer& body) {
  verdict::TargetPath path;
  if (path.Parse(head.target).ok()) {
    std::string_view model, version, region;
    for (const verdict::Endpoint& endpoint : verdict::Endpoints()) {
      (void)path.Matches(endpoint.path, &model, &version, &region);
    }
  }
  (void)verdict::ParseLength(head.inference_header_length);
  (void)verdict::ChooseCoding(head.accept_encoding);
  (void)verdict::DeadlineOf(head, std::chrono::steady_clock::time_point()).ok();
  verdict::BodyBuffer inflated(body.budget());
  inflated.Start(0);
  if (verdict::Inflate(body.text(), kMaxBody, &inflated).ok() && inflated.size() > kMaxBody) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t step = data[0] == 0 ? size : data[0];
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  verdict::MemoryBudget budget(4 * kMaxBody);
  verdict::BodyBuffer body(budget);
  verdict::RequestHead head;
  verdict::RequestParser parser(kMaxBody, &head, &body);
  std::string waiting;
  for (size_t at = 0; at < text.size() && !parser.is_done();) {
    waiting.append(text, at, step);
    at += step;
    boost::system::error_code error;
    while (!error && !waiting.empty() && !parser.is_done()) {
      // A block of its own, so that AddressSanitizer sees reads beyond it.
      const std::string block = waiting;
      waiting.erase(0, parser.put(boost::asio::buffer(block.data(), block.size()), error));
    }
    if (error && error != boost::beast::http::error::need_more) {
      if (parser.Describe(error).code < 400) std::abort();
      return 0;
    }
  }
  if (body.size() > kMaxBody) std::abort();
  if (parser.is_done()) UseRequest(head, body);
  return 0;
}
