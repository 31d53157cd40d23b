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
  }
  return "[" + list + "]";
}

void Print(const ConfigKeys& keys, const std::string& indent, std::string* out);

/// The value of a key, from behind its colon to the end of its last line.
void PrintValue(const ConfigValue& value, const std::string& indent, std::string* out) {
  const std::string below = indent + "  ";
  if (const auto* section = std::get_if<SectionValue>(&value)) {
    *out += "\n";
    Print(section->keys, below, out);
  } else if (const auto* optional = std::get_if<OptionalSectionValue>(&value)) {
    *out += "\n";
    Print(*optional->get(), below, out);
  } else if (const auto* list = std::get_if<SectionListValue>(&value)) {
    const std::vector<ConfigKeys> sections = list->get();
    *out += sections.empty() ? " []\n" : "\n";
    for (const ConfigKeys& keys : sections) {
      *out += below + "-\n";
      Print(keys, below + "  ", out);
    }
  } else if (const auto* map = std::get_if<SectionMapValue>(&value)) {
    const auto sections = map->get();
    *out += sections.empty() ? " {}\n" : "\n";
    for (const auto& [name, keys] : sections) {
      *out += below + QuotedText(name) + ":\n";
      Print(keys, below + "  ", out);
    }
  } else {
    *out += " " + ScalarText(value) + "\n";
  }
}

void Print(const ConfigKeys& keys, const std::string& indent, std::string* out) {
  for (const ConfigKey& key : keys) {
    if (std::holds_alternative<RefusedValue>(key.value)) continue;
    const auto* optional = std::get_if<OptionalSectionValue>(&key.value);
    if (optional != nullptr && !optional->get()) continue;
    *out += indent + "# " + key.help + "\n" + indent + key.name + ":";
    PrintValue(key.value, indent, out);
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
