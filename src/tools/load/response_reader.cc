#include "tools/load/response_reader.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace verdict::load {
namespace {

bool SameText(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

/// The whole of `text` as a number; false if it is none.
bool ParseNumber(std::string_view text, int base, uint64_t* value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

/// True if `value`, a comma-separated list, has `token`.
bool HasToken(std::string_view value, std::string_view token) {
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    if (SameText(Trim(value.substr(0, comma)), token)) return true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return false;
}

}  // namespace

void ResponseReader::Reset() {
  phase_ = Phase::kHead;
  head_.clear();
  body_.clear();
  body_bytes_ = left_ = 0;
  trailer_bytes_ = 0;
  code_ = 0;
  closes_ = chunked_ = sized_ = false;
  error_ = "";
}

ResponseReader::State ResponseReader::Malformed(const char* why) {
  error_ = why;
  closes_ = true;
  return State::kMalformed;
}

bool ResponseReader::KeepBody(std::string_view bytes) {
  if (body_.size() < kept_body_) body_.append(bytes.substr(0, kept_body_ - body_.size()));
  body_bytes_ += bytes.size();
  return body_bytes_ <= kMaxBodyBytes;
}

ResponseReader::State ResponseReader::Feed(std::string_view bytes, size_t* taken) {
  *taken = 0;
  while (phase_ != Phase::kDone) {
    const std::string_view rest = bytes.substr(*taken);
    size_t used = 0;
    State state = State::kMore;
    if (phase_ == Phase::kHead) {
      state = FeedHead(rest, &used);
    } else if (phase_ == Phase::kSized || phase_ == Phase::kUntilClose) {
      used = phase_ == Phase::kSized ? static_cast<size_t>(std::min<uint64_t>(left_, rest.size()))
                                     : rest.size();
      if (!KeepBody(rest.substr(0, used))) state = Malformed("its body is over 1 GiB");
      left_ -= phase_ == Phase::kSized ? used : 0;
      if (phase_ == Phase::kSized && left_ == 0) phase_ = Phase::kDone;
    } else {
      state = FeedChunked(rest, &used);
    }
    *taken += used;
    if (state == State::kMalformed) return state;
    if (phase_ != Phase::kDone && *taken == bytes.size()) return State::kMore;
  }
  return State::kDone;
}

ResponseReader::State ResponseReader::FeedHead(std::string_view bytes, size_t* taken) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  if (head_.empty()) {  // the usual case: the whole head has come at once
    const size_t end = bytes.find(kEnd);
    if (end != std::string_view::npos && end <= kMaxHeadBytes) {
      *taken = end + kEnd.size();
      return ParseHead(bytes.substr(0, end + 2));
    }
  }
  const size_t before = head_.size();
  const size_t from = before < kEnd.size() ? 0 : before - (kEnd.size() - 1);
  head_.append(bytes.substr(0, kMaxHeadBytes + kEnd.size() - before));
  const size_t end = head_.find(kEnd, from);
  if (end == std::string::npos) {
    *taken = bytes.size();
    return head_.size() > kMaxHeadBytes ? Malformed("its header is over 32 KiB") : State::kMore;
  }
  *taken = end + kEnd.size() - before;
  const State state = ParseHead(std::string_view(head_).substr(0, end + 2));
  head_.clear();
  return state;
}

/// head: the lines, each with its CRLF.
ResponseReader::State ResponseReader::ParseHead(std::string_view head) {
  constexpr size_t kStatusLine = 12;  // "HTTP/1.1 200"
  uint64_t code = 0;
  if (!head.starts_with("HTTP/1.") || head.size() < kStatusLine || head[8] != ' ' ||
      !ParseNumber(head.substr(9, 3), 10, &code) || code < 100 ||
      (head[kStatusLine] != ' ' && head[kStatusLine] != '\r')) {
    return Malformed("it does not begin as HTTP/1.1 does");
  }
  code_ = static_cast<int>(code);
  closes_ = head[7] == '0';
  chunked_ = sized_ = false;
  left_ = 0;
  head.remove_prefix(head.find("\r\n") + 2);
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return Malformed("a header has no colon");
    const State state = ParseField(line.substr(0, colon), Trim(line.substr(colon + 1)));
    if (state == State::kMalformed) return state;
    head.remove_prefix(end + 2);
  }
  const bool interim = code_ < 200 && code_ != 101;
  if (interim) return State::kMore;  // the answer itself follows
  if (code_ == 101) return Malformed("it switches protocols");
  if (code_ == 204 || code_ == 304) {
    phase_ = Phase::kDone;
  } else if (chunked_) {
    phase_ = Phase::kChunkSize;
  } else if (sized_) {
    phase_ = left_ == 0 ? Phase::kDone : Phase::kSized;
  } else {
    phase_ = Phase::kUntilClose;
    closes_ = true;
  }
  return State::kMore;
}

ResponseReader::State ResponseReader::ParseField(std::string_view name, std::string_view value) {
  if (SameText(name, "Content-Length")) {
    uint64_t length = 0;
    if (!ParseNumber(value, 10, &length)) return Malformed("its Content-Length is no number");
    if (sized_ && length != left_) return Malformed("it has two Content-Lengths");
    if (length > kMaxBodyBytes) return Malformed("its body is over 1 GiB");
    left_ = length;
    sized_ = true;
  } else if (SameText(name, "Transfer-Encoding")) {
    if (!SameText(value, "chunked")) return Malformed("its Transfer-Encoding is not 'chunked'");
    chunked_ = true;
  } else if (SameText(name, "Connection")) {
    if (HasToken(value, "close")) closes_ = true;
    if (HasToken(value, "keep-alive")) closes_ = false;
  }
  return State::kMore;
}

ResponseReader::State ResponseReader::FeedChunked(std::string_view bytes, size_t* taken) {
  if (phase_ == Phase::kChunkData) {
    *taken = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
    if (!KeepBody(bytes.substr(0, *taken))) return Malformed("its body is over 1 GiB");
    left_ -= *taken;
    if (left_ == 0) phase_ = Phase::kChunkEnd;
    return State::kMore;
  }
  // A line: a chunk's size, the CRLF after its data, or a trailer.
  const size_t end = bytes.find('\n');
  *taken = end == std::string_view::npos ? bytes.size() : end + 1;
  head_.append(bytes.substr(0, std::min(*taken, kMaxHeadBytes + 1)));
  if (head_.size() > kMaxHeadBytes) return Malformed("a line between chunks is over 32 KiB");
  return end == std::string_view::npos ? State::kMore : EndLine();
}

ResponseReader::State ResponseReader::EndLine() {
  const std::string line = std::move(head_);
  head_.clear();
  const std::string_view text = Trim(std::string_view(line).substr(0, line.size() - 1));
  if (phase_ == Phase::kChunkEnd) {
    if (!text.empty()) return Malformed("a chunk is longer than it says");
    phase_ = Phase::kChunkSize;
  } else if (phase_ == Phase::kChunkSize) {
    const std::string_view size = Trim(text.substr(0, text.find(';')));
    if (!ParseNumber(size, 16, &left_)) return Malformed("a chunk's size is no number");
    if (left_ > kMaxBodyBytes) return Malformed("its body is over 1 GiB");
    phase_ = left_ == 0 ? Phase::kTrailer : Phase::kChunkData;
  } else if (text.empty()) {
    phase_ = Phase::kDone;
  } else if ((trailer_bytes_ += line.size()) > kMaxHeadBytes) {
    return Malformed("its trailers are over 32 KiB");
  }
  return State::kMore;
}

ResponseReader::State ResponseReader::Close() {
  if (phase_ == Phase::kUntilClose || phase_ == Phase::kDone) {
    phase_ = Phase::kDone;
    return State::kDone;
  }
  return Malformed("the connection was closed before its end");
}

}  // namespace verdict::load
