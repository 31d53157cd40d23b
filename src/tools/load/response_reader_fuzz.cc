#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "tools/load/response_reader.h"

/// The same bytes, whole and in pieces of the first byte's size, must read the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using verdict::load::ResponseReader;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = data[0] % 64 + 1;
  ResponseReader whole;
  size_t whole_taken = 0;
  const ResponseReader::State whole_state = whole.Feed(bytes, &whole_taken);
  VERDICT_CHECK(whole_taken <= bytes.size());
  ResponseReader pieces;
  ResponseReader::State state = ResponseReader::State::kMore;
  size_t taken = 0;
  while (state == ResponseReader::State::kMore && taken < bytes.size()) {
    size_t used = 0;
    state = pieces.Feed(bytes.substr(taken, step), &used);
    VERDICT_CHECK(used <= step);
    taken += used;
  }
  VERDICT_CHECK(bytes.empty() || state == whole_state);
  if (state == ResponseReader::State::kDone) {
    VERDICT_CHECK(taken == whole_taken && pieces.code() == whole.code());
    VERDICT_CHECK(pieces.body() == whole.body() && pieces.body_bytes() == whole.body_bytes());
  }
  pieces.Close();
  return 0;
}
