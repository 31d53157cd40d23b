#include "config/config_schema.h"

#include <utility>
#include <vector>

#include "config/config_scalar.h"
#include "config/print_config.h"

namespace verdict {
namespace {

/// A JSON object as lines, so that it can be indented where it is put.
using Members = std::vector<std::pair<std::string, std::string>>;  // name, JSON

/// Text without control characters.
constexpr std::string_view kTextPattern = R"("^[^\\u0000-\\u001f\\u007f]*$")";

std::string Object(const Members& members, const std::string& indent) {
  if (members.empty()) return "{}";
  std::string json = "{";
  for (const auto& [name, value] : members) {
    json += json.size() > 1 ? ",\n" : "\n";
    json += indent + "  " + QuotedText(name) + ": " + value;
  }
  return json + "\n" + indent + "}";
}

template <typename Items, typename ToJson>
std::string Array(const Items& items, const ToJson& to_json) {
  std::string json;
  for (const auto& item : items) json += (json.empty() ? "" : ", ") + to_json(item);
  return "[" + json + "]";
}

std::string Integer(int64_t value) { return std::to_string(value); }

Members Range(std::string_view type, const std::string& min, const std::string& max) {
  return {{"type", QuotedText(type)}, {"minimum", min}, {"maximum", max}};
}

Members TextSchema() { return {{"type", "\"string\""}, {"pattern", std::string(kTextPattern)}}; }

Members Section(const ConfigKeys& keys, const std::string& indent);

/// What a key's value may be. indent: of the line that the value begins on.
struct ValueSchema {
  const std::string& indent;

  Members operator()(const FlagValue& value) const {
    return {{"type", "\"boolean\""}, {"default", *value.target ? "true" : "false"}};
  }
  Members operator()(const IntegerValue& value) const {
    Members schema = Range("integer", Integer(value.min), Integer(value.max));
    // Of a key that must be given the struct's value is no default.
    schema.emplace_back("default", Integer(value.get()));
    return schema;
  }
  Members operator()(const NumberValue& value) const {
    Members schema = Range("number", NumberText(value.min), NumberText(value.max));
    schema.emplace_back("default", NumberText(*value.target));
    return schema;
  }
  Members operator()(const TextValue& value) const {
    Members schema = TextSchema();
    schema.emplace_back("default", QuotedText(*value.target));
    return schema;
  }
  Members operator()(const ChoiceValue& value) const {
    return {{"enum", Array(value.names, QuotedText)},
            {"default", QuotedText(value.names[value.get()])}};
  }
  Members operator()(const TextListValue& value) const {
    return {{"type", "\"array\""},
            {"items", Object(TextSchema(), indent + "  ")},
            {"default", Array(*value.target, QuotedText)}};
  }
  Members operator()(const IntegerListValue& value) const {
    return {
        {"type", "\"array\""},
        {"items", Object(Range("integer", Integer(value.min), Integer(value.max)), indent + "  ")},
        {"default", Array(*value.target, Integer)}};
  }
  Members operator()(const SectionValue& value) const { return Section(value.keys, indent); }
  Members operator()(const OptionalSectionValue& value) const {
    return Section(value.blank.keys, indent);
  }
  Members operator()(const SectionListValue& value) const {
    return {{"type", "\"array\""},
            {"minItems", std::to_string(value.min_items)},
            {"maxItems", std::to_string(value.max_items)},
            {"items", Object(Section(value.blank.keys, indent + "  "), indent + "  ")}};
  }
  Members operator()(const SectionMapValue& value) const {
    const std::string below = indent + "  ";
    Members schema = {{"type", "[\"object\", \"null\"]"}};
    if (value.numbers) {
      const std::string section = Object(Section(value.blank.keys, below + "  "), below + "  ");
      schema.emplace_back("patternProperties", Object({{"^[1-9][0-9]*$", section}}, below));
      schema.emplace_back("additionalProperties", "false");
    } else {
      schema.emplace_back("additionalProperties", Object(Section(value.blank.keys, below), below));
    }
    return schema;
  }
  Members operator()(const RefusedValue& /*value*/) const { return {}; }
};

Members Section(const ConfigKeys& keys, const std::string& indent) {
  const std::string below = indent + "    ";
  Members properties;
  std::vector<std::string> required;
  for (const ConfigKey& key : keys) {
    if (std::holds_alternative<RefusedValue>(key.value)) continue;
    Members schema = std::visit(ValueSchema{below}, key.value);
    if (key.required) {
      required.push_back(key.name);
      std::erase_if(schema, [](const auto& member) { return member.first == "default"; });
    }
    schema.insert(schema.begin(), {"description", QuotedText(key.help)});
    properties.emplace_back(key.name, Object(schema, below));
  }
  // With all its keys commented out a section is null.
  Members schema = {{"type", required.empty() ? "[\"object\", \"null\"]" : "\"object\""},
                    {"properties", Object(properties, indent + "  ")},
                    {"additionalProperties", "false"}};
  if (!required.empty()) schema.emplace_back("required", Array(required, QuotedText));
  return schema;
}

}  // namespace

std::string ConfigSchema(const std::string& title, const ConfigKeys& keys) {
  Members schema = {{"$schema", "\"https://json-schema.org/draft/2020-12/schema\""},
                    {"title", QuotedText(title)}};
  for (auto& member : Section(keys, "")) schema.push_back(std::move(member));
  return Object(schema, "") + "\n";
}

}  // namespace verdict
