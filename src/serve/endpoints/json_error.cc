#include "serve/endpoints/json_error.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <system_error>

#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool EndsToken(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == ':' || c == '[' ||
         c == ']' || c == '{' || c == '}' || c == '"';
}

/// True if `token` is a number by JSON's grammar.
bool IsNumber(std::string_view token) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t start = i;
    while (i < token.size() && IsDigit(token[i])) ++i;
    return i - start;
  };
  if (i < token.size() && token[i] == '-') ++i;
  const size_t first = i;
  const size_t whole = digits();
  if (whole == 0 || (whole > 1 && token[first] == '0')) return false;
  if (i < token.size() && token[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < token.size() && (token[i] == 'e' || token[i] == 'E')) {
    ++i;
    if (i < token.size() && (token[i] == '+' || token[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == token.size();
}

/// True if a double can hold that number.
bool IsFinite(std::string_view number) {
  constexpr size_t kDigitsOfLargest = 309;
  if (number.size() < kDigitsOfLargest && number.find_first_of("eE") == std::string_view::npos) {
    return true;
  }
  return !std::isinf(std::strtod(std::string(number).c_str(), nullptr));
}

/// True for a whole number that neither int64_t nor uint64_t can hold.
bool IsWideInteger(std::string_view token) {
  constexpr size_t kDigitsOfLargest = 19;
  if (token.size() < kDigitsOfLargest || !IsNumber(token) ||
      token.find_first_of(".eE") != std::string_view::npos) {
    return false;
  }
  int64_t signed_value;
  uint64_t unsigned_value;
  const char* end = token.data() + token.size();
  return std::from_chars(token.data(), end, signed_value).ec != std::errc() &&
         std::from_chars(token.data(), end, unsigned_value).ec != std::errc();
}

/// Behind the string that begins at `i`, or over the end if it is not closed.
size_t AfterString(std::string_view json, size_t i) {
  size_t end = i + 1;
  while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
  return end + 1;
}

size_t AfterToken(std::string_view json, size_t i) {
  while (i < json.size() && !EndsToken(json[i])) ++i;
  return i;
}

/// Why `token` is refused, or empty.
std::string TokenProblem(std::string_view token) {
  if (token == "true" || token == "false" || token == "null") return {};
  const bool number = IsNumber(token);
  if (number && IsFinite(token)) return {};
  const std::string text = simdjson::validate_utf8(token) ? Quoted(token) : "this";
  if (number) return "the number " + text + " is out of range";
  const std::string_view unsigned_token =
      token.substr(!token.empty() && (token[0] == '-' || token[0] == '+') ? 1 : 0);
  if (unsigned_token == "NaN" || unsigned_token == "nan" || unsigned_token == "Infinity" ||
      unsigned_token == "inf" || unsigned_token == "Inf") {
    return text + " is not JSON: NaN and infinity can be sent in the binary form only";
  }
  return text + " is not JSON";
}

}  // namespace

std::string DescribeJsonError(std::string_view json, size_t max_depth, std::string_view fallback) {
  const auto at = [](size_t position) { return "at byte " + std::to_string(position) + ": "; };
  size_t depth = 0;
  std::string_view last_string;
  bool after_name = false;  // the last string was the key "name"
  std::string_view tensor;  // the last value of such a key
  for (size_t i = 0; i < json.size();) {
    const char c = json[i];
    if (c == '"') {
      const size_t end = AfterString(json, i);
      if (end > json.size()) return at(i) + "a string is not closed";
      last_string = json.substr(i + 1, end - i - 2);
      if (after_name) tensor = last_string;
      after_name = false;
      i = end;
      continue;
    }
    if (EndsToken(c)) {
      if (c == ':') after_name = last_string == "name";
      if ((c == '[' || c == '{') && ++depth > max_depth) {
        return at(i) + "nested deeper than " + std::to_string(max_depth) + " levels";
      }
      if ((c == ']' || c == '}') && depth > 0) --depth;
      ++i;
      continue;
    }
    const size_t end = AfterToken(json, i);
    const std::string problem = TokenProblem(json.substr(i, end - i));
    if (!problem.empty()) {
      const bool named = !tensor.empty() && simdjson::validate_utf8(tensor);
      return at(i) + (named ? "tensor " + Quoted(tensor) + ": " : "") + problem;
    }
    i = end;
  }
  if (depth > 0) return "the JSON text ends before it is complete";
  return std::string(fallback);
}

std::string WithWideIntegersAsFloats(std::string_view json) {
  std::string out;
  size_t copied = 0;
  for (size_t i = 0; i < json.size();) {
    if (json[i] == '"') {
      i = AfterString(json, i);
    } else if (EndsToken(json[i])) {
      ++i;
    } else {
      const size_t end = AfterToken(json, i);
      if (IsWideInteger(json.substr(i, end - i))) {
        out.append(json.substr(copied, end - copied)).append("e0");
        copied = end;
      }
      i = end;
    }
  }
  if (copied > 0) out.append(json.substr(copied));
  return out;
}

}  // namespace verdict
