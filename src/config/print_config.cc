#include "config/print_config.h"

#include <array>
#include <cstdio>

#include "config/config_scalar.h"

namespace verdict {
namespace {

std::string ScalarText(const ConfigValue& value) {
  if (const auto* flag = std::get_if<FlagValue>(&value)) return *flag->target ? "true" : "false";
  if (const auto* integer = std::get_if<IntegerValue>(&value)) {
    return std::to_string(integer->get());
  }
  if (const auto* number = std::get_if<NumberValue>(&value)) return NumberText(*number->target);
  if (const auto* text = std::get_if<TextValue>(&value)) return QuotedText(*text->target);
  if (const auto* choice = std::get_if<ChoiceValue>(&value)) return choice->names[choice->get()];
  std::string list;
  if (const auto* texts = std::get_if<TextListValue>(&value)) {
    for (const std::string& text : *texts->target) {
      list += (list.empty() ? "" : ", ") + QuotedText(text);
    }
  } else if (const auto* integers = std::get_if<IntegerListValue>(&value)) {
    for (const int64_t integer : *integers->target) {
      list += (list.empty() ? "" : ", ") + std::to_string(integer);
    }
  } else if (const auto* choices = std::get_if<ChoiceMapValue>(&value)) {
    for (const auto& [name, text] : *choices->target) {
      list += (list.empty() ? "" : ", ") + QuotedText(name) + ": " + text;
    }
    return "{" + list + "}";
  }
  return "[" + list + "]";
}

void Print(const ConfigKeys& keys, const std::string& indent, std::string* out) {
  for (const ConfigKey& key : keys) {
    if (std::holds_alternative<RefusedValue>(key.value) ||
        std::holds_alternative<SectionListValue>(key.value) ||
        std::holds_alternative<SectionMapValue>(key.value)) {
      continue;
    }
    std::optional<ConfigKeys> below;
    if (const auto* optional = std::get_if<OptionalSectionValue>(&key.value)) {
      below = optional->get();
      if (!below) continue;
    } else if (const auto* section = std::get_if<SectionValue>(&key.value)) {
      below = section->keys;
    }
    *out += indent + "# " + key.help + "\n" + indent + key.name + ":";
    if (below) {
      *out += "\n";
      Print(*below, indent + "  ", out);
    } else {
      *out += " " + ScalarText(key.value) + "\n";
    }
  }
}

}  // namespace

std::string QuotedText(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string PrintConfig(const ConfigKeys& keys) {
  std::string out;
  Print(keys, "", &out);
  return out;
}

}  // namespace verdict
