#include "config/config_scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config/nearest_name.h"

namespace verdict {
namespace {

constexpr size_t kMaxQuotedBytes = 60;

std::string Quoted(std::string_view text) {
  if (text.size() <= kMaxQuotedBytes) return "'" + std::string(text) + "'";
  return "'" + std::string(text.substr(0, kMaxQuotedBytes)) + "…'";
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Digits, without a leading zero that other readers take for octal.
bool IsPlainDigits(std::string_view digits) {
  return !digits.empty() && std::ranges::all_of(digits, IsDigit) &&
         (digits.size() == 1 || digits[0] != '0');
}

/// The whole of `text` as a finite number.
bool ReadNumber(std::string_view text, double* value) {
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, *value);
  return read.ec == std::errc() && read.ptr == end && std::isfinite(*value);
}

/// Whether another reader of YAML takes plain text for a number or a truth value.
bool IsOtherType(std::string_view text) {
  double number = 0;
  return text == "true" || text == "false" ||
         (std::ranges::any_of(text, IsDigit) && ReadNumber(text, &number));
}

std::string RangeText(int64_t min, int64_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

Status SetFlag(const FlagValue& flag, std::string_view text) {
  if (text != "true" && text != "false") {
    return InvalidArgument(Quoted(text) + " is no truth value; write true or false");
  }
  *flag.target = text == "true";
  return OkStatus();
}

Status SetNumber(const NumberValue& number, std::string_view text) {
  double value = 0;
  const bool ok = !text.empty() && (IsDigit(text[0]) || text[0] == '-') && ReadNumber(text, &value);
  if (!ok || !(value >= number.min && value <= number.max)) {
    return InvalidArgument(Quoted(text) + (ok ? " is out of range" : " is not a number") +
                           "; write one from " + NumberText(number.min) + " to " +
                           NumberText(number.max));
  }
  *number.target = value;
  return OkStatus();
}

}  // namespace

Result<int64_t> ParseConfigInteger(std::string_view text, int64_t min, int64_t max) {
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (!IsPlainDigits(digits)) {
    if (!digits.empty() && IsDigit(digits[0]) && IsLetter(digits.back())) {
      return InvalidArgument(Quoted(text) + " has a unit; write the number alone, from " +
                             RangeText(min, max) + ", in the unit of the key");
    }
    return InvalidArgument(Quoted(text) + " is not a whole number; write one from " +
                           RangeText(min, max));
  }
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || value < min || value > max) {
    return InvalidArgument(Quoted(text) + " is out of range; write one from " +
                           RangeText(min, max));
  }
  return value;
}

Status CheckConfigText(std::string_view text, ScalarForm form) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::ranges::any_of(text, is_control)) {
    return InvalidArgument(Quoted(text) + " has control characters in it; leave them out");
  }
  if (form == ScalarForm::kPlainYaml && IsOtherType(text)) {
    return InvalidArgument(Quoted(text) +
                           " is taken for a number or truth value; put it in quotes");
  }
  return OkStatus();
}

Result<size_t> ParseChoice(std::string_view text, const std::vector<std::string>& names) {
  const auto found = std::ranges::find(names, text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  std::string message = Quoted(text) + " is none of the choices" + DidYouMean(text, names);
  for (size_t i = 0; i < names.size(); ++i) message += (i == 0 ? "; write " : ", ") + names[i];
  return InvalidArgument(message);
}

std::string NumberText(double value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), written.ptr};
}

Status SetScalar(const ConfigKey& key, std::string_view text, ScalarForm form) {
  if (const auto* value = std::get_if<TextValue>(&key.value)) {
    VERDICT_RETURN_IF_ERROR(CheckConfigText(text, form));
    *value->target = std::string(text);
    return OkStatus();
  }
  if (const auto* value = std::get_if<ChoiceValue>(&key.value)) {
    VERDICT_ASSIGN_OR_RETURN(const size_t choice, ParseChoice(text, value->names));
    value->set(choice);
    return OkStatus();
  }
  const auto* flag = std::get_if<FlagValue>(&key.value);
  const auto* integer = std::get_if<IntegerValue>(&key.value);
  const auto* number = std::get_if<NumberValue>(&key.value);
  if (flag == nullptr && integer == nullptr && number == nullptr) {
    return InvalidArgument(Quoted(text) + " is one value; here stand several");
  }
  if (form == ScalarForm::kQuotedYaml) {
    return InvalidArgument(Quoted(text) + " is in quotes and thereby text; leave them out");
  }
  if (flag != nullptr) return SetFlag(*flag, text);
  if (number != nullptr) return SetNumber(*number, text);
  VERDICT_ASSIGN_OR_RETURN(const int64_t value,
                           ParseConfigInteger(text, integer->min, integer->max));
  integer->set(value);
  return OkStatus();
}

}  // namespace verdict
