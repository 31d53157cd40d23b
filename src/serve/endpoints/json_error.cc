#include "serve/endpoints/json_error.h"

#include <simdjson.h>

#include <cmath>
#include <cstdlib>

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

/// Why `token` is refused, or empty.
std::string TokenProblem(std::string_view token) {
  if (token == "true" || token == "false" || token == "null") return {};
  const std::string text = simdjson::validate_utf8(token) ? Quoted(token) : "this";
  if (IsNumber(token)) {
    const std::string copy(token);
    const bool whole = copy.find_first_of(".eE") == std::string::npos;
    const bool long_integer = whole && copy.size() >= 19;
    if (long_integer || std::isinf(std::strtod(copy.c_str(), nullptr))) {
      return "the number " + text + " is out of range";
    }
    return {};
  }
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
      size_t end = i + 1;
      while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
      if (end >= json.size()) return at(i) + "a string is not closed";
      last_string = json.substr(i + 1, end - i - 1);
      if (after_name) tensor = last_string;
      after_name = false;
      i = end + 1;
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
    size_t end = i;
    while (end < json.size() && !EndsToken(json[end])) ++end;
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

}  // namespace verdict
