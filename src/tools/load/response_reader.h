#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace verdict::load {

/// Reads HTTP/1.x responses from whatever pieces they come in. The server is hostile: what is kept
/// is bounded (kMaxHeadBytes, kMaxKeptBody), and what does not parse ends the connection. Threads:
/// one at a time.
class ResponseReader {
 public:
  static constexpr size_t kMaxHeadBytes = size_t{32} << 10;
  static constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 30;

  enum class State : uint8_t {
    kMore,       // give it more bytes
    kDone,       // a whole response
    kMalformed,  // error() says why; the connection is of no further use
  };

  /// kept_body: the beginning of a body that is kept, the rest is counted and dropped.
  explicit ResponseReader(size_t kept_body = 512) : kept_body_(kept_body) {}

  /// Takes bytes of the present response. *taken: how many of them belong to it; after kDone the
  /// others belong to the next. After kDone or kMalformed call Reset() before the next Feed().
  State Feed(std::string_view bytes, size_t* taken);

  /// The server has closed: kDone if that is how this response ends, else kMalformed.
  State Close();

  /// Ready for the next response.
  void Reset();

  /// True if no byte of a response has come since Reset().
  bool idle() const { return phase_ == Phase::kHead && head_.empty(); }
  int code() const { return code_; }
  /// True if the server closes the connection after this response, or its end was the closing.
  bool closes() const { return closes_; }
  uint64_t body_bytes() const { return body_bytes_; }
  /// The first kept_body bytes of the body.
  const std::string& body() const { return body_; }
  const char* error() const { return error_; }

 private:
  enum class Phase : uint8_t {
    kHead,
    kSized,       // Content-Length
    kUntilClose,  // neither length nor chunks
    kChunkSize,
    kChunkData,
    kChunkEnd,  // CRLF after a chunk's data
    kTrailer,
    kDone,
  };

  State Malformed(const char* why);
  State ParseHead(std::string_view head);
  State ParseField(std::string_view name, std::string_view value);
  State FeedHead(std::string_view bytes, size_t* taken);
  State FeedChunked(std::string_view bytes, size_t* taken);
  State EndLine();
  bool KeepBody(std::string_view bytes);

  size_t kept_body_;
  Phase phase_ = Phase::kHead;
  std::string head_;  // only a head or a chunk's line that came in pieces
  std::string body_;
  uint64_t body_bytes_ = 0;
  uint64_t left_ = 0;  // of the sized body or the chunk
  size_t trailer_bytes_ = 0;
  int code_ = 0;
  bool closes_ = false;
  bool chunked_ = false;
  bool sized_ = false;
  const char* error_ = "";
};

}  // namespace verdict::load
