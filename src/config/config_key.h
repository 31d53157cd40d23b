#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace verdict {

// A configuration is described once, as a list of keys bound to the members of a struct. Reading a
// file (read_config.h), overriding (override_config.h), printing (print_config.h) and the JSON
// schema (config_schema.h) all walk that list, so that they cannot disagree. The struct must
// outlive the list.

struct ConfigKey;
using ConfigKeys = std::vector<ConfigKey>;

struct FlagValue {
  bool* target = nullptr;
};

struct IntegerValue {
  int64_t min = 0;
  int64_t max = 0;
  std::function<int64_t()> get;
  std::function<void(int64_t)> set;
};

struct NumberValue {
  double min = 0;
  double max = 0;
  double* target = nullptr;
};

struct TextValue {
  std::string* target = nullptr;
};

/// One of a few names.
struct ChoiceValue {
  std::vector<std::string> names;
  std::function<size_t()> get;
  std::function<void(size_t)> set;
};

struct TextListValue {
  std::vector<std::string>* target = nullptr;
};

struct IntegerListValue {
  int64_t min = 0;
  int64_t max = 0;
  std::vector<int64_t>* target = nullptr;
};

/// A section that is always there.
struct SectionValue {
  ConfigKeys keys;
};

/// The keys of a section, bound to a value of their own that has the defaults.
struct BlankSection {
  std::shared_ptr<void> value;
  ConfigKeys keys;
};

/// A section that means something by being there.
struct OptionalSectionValue {
  std::function<std::optional<ConfigKeys>()> get;
  std::function<ConfigKeys()> add;
  BlankSection blank;
};

struct SectionListValue {
  size_t min_items = 0;
  size_t max_items = 0;
  std::function<std::vector<ConfigKeys>()> get;
  std::function<ConfigKeys()> add;
  BlankSection blank;
};

/// Sections under names of the user's choice, or under whole numbers.
struct SectionMapValue {
  struct Numbers {
    int64_t min = 0;
    int64_t max = 0;
  };
  std::optional<Numbers> numbers;
  std::function<std::vector<std::pair<std::string, ConfigKeys>>()> get;
  std::function<ConfigKeys(const std::string&)> add;  // of numbers: within their range
  BlankSection blank;
};

/// A key of Triton's that would have no effect here: refused, with the reason.
struct RefusedValue {};

using ConfigValue =
    std::variant<FlagValue, IntegerValue, NumberValue, TextValue, ChoiceValue, TextListValue,
                 IntegerListValue, SectionValue, OptionalSectionValue, SectionListValue,
                 SectionMapValue, RefusedValue>;

struct ConfigKey {
  std::string name;
  std::string help;  // one sentence without a full stop: what it does, its unit, what 0 means
  ConfigValue value;
  bool required = false;
};

inline ConfigKey Flag(std::string name, bool* target, std::string help) {
  return {std::move(name), std::move(help), FlagValue{target}};
}

/// T: an integer type; min and max lie within it.
template <typename T>
ConfigKey Integer(std::string name, T* target, int64_t min, int64_t max, std::string help) {
  return {std::move(name), std::move(help),
          IntegerValue{min, max, [target] { return static_cast<int64_t>(*target); },
                       [target](int64_t value) { *target = static_cast<T>(value); }}};
}

inline ConfigKey Number(std::string name, double* target, double min, double max,
                        std::string help) {
  return {std::move(name), std::move(help), NumberValue{min, max, target}};
}

inline ConfigKey Text(std::string name, std::string* target, std::string help) {
  return {std::move(name), std::move(help), TextValue{target}};
}

/// E: an enum whose values are 0, 1, … in the order of `names`.
template <typename E>
ConfigKey Choice(std::string name, E* target, std::vector<std::string> names, std::string help) {
  return {std::move(name), std::move(help),
          ChoiceValue{std::move(names), [target] { return static_cast<size_t>(*target); },
                      [target](size_t value) { *target = static_cast<E>(value); }}};
}

inline ConfigKey TextList(std::string name, std::vector<std::string>* target, std::string help) {
  return {std::move(name), std::move(help), TextListValue{target}};
}

inline ConfigKey IntegerList(std::string name, std::vector<int64_t>* target, int64_t min,
                             int64_t max, std::string help) {
  return {std::move(name), std::move(help), IntegerListValue{min, max, target}};
}

inline ConfigKey Section(std::string name, ConfigKeys keys, std::string help) {
  return {std::move(name), std::move(help), SectionValue{std::move(keys)}};
}

inline ConfigKey Refused(std::string name, std::string reason) {
  return {std::move(name), std::move(reason), RefusedValue{}};
}

inline ConfigKey Required(ConfigKey key) {
  key.required = true;
  return key;
}

template <typename S>
BlankSection Blank(ConfigKeys (*describe)(S*)) {
  auto value = std::make_shared<S>();
  return {value, describe(value.get())};
}

template <typename S>
ConfigKey OptionalSection(std::string name, std::optional<S>* target, ConfigKeys (*describe)(S*),
                          std::string help) {
  OptionalSectionValue value;
  value.get = [target, describe]() -> std::optional<ConfigKeys> {
    if (!target->has_value()) return std::nullopt;
    return describe(&**target);
  };
  value.add = [target, describe] { return describe(&target->emplace(S())); };
  value.blank = Blank(describe);
  return {std::move(name), std::move(help), std::move(value)};
}

template <typename S>
ConfigKey SectionList(std::string name, std::vector<S>* target, size_t min_items, size_t max_items,
                      ConfigKeys (*describe)(S*), std::string help) {
  SectionListValue value{min_items, max_items};
  value.get = [target, describe] {
    std::vector<ConfigKeys> sections;
    for (S& section : *target) sections.push_back(describe(&section));
    return sections;
  };
  value.add = [target, describe] { return describe(&target->emplace_back()); };
  value.blank = Blank(describe);
  return {std::move(name), std::move(help), std::move(value)};
}

template <typename S>
ConfigKey NamedSections(std::string name, std::map<std::string, S>* target,
                        ConfigKeys (*describe)(S*), std::string help) {
  SectionMapValue value;
  value.get = [target, describe] {
    std::vector<std::pair<std::string, ConfigKeys>> sections;
    for (auto& [key, section] : *target) sections.emplace_back(key, describe(&section));
    return sections;
  };
  value.add = [target, describe](const std::string& key) { return describe(&(*target)[key]); };
  value.blank = Blank(describe);
  return {std::move(name), std::move(help), std::move(value)};
}

/// min, max: of the numbers, in the range of N, an integer type.
template <typename N, typename S>
ConfigKey NumberedSections(std::string name, std::map<N, S>* target, int64_t min, int64_t max,
                           ConfigKeys (*describe)(S*), std::string help) {
  SectionMapValue value;
  value.numbers = {min, max};
  value.get = [target, describe] {
    std::vector<std::pair<std::string, ConfigKeys>> sections;
    for (auto& [key, section] : *target) {
      sections.emplace_back(std::to_string(key), describe(&section));
    }
    return sections;
  };
  value.add = [target, describe](const std::string& key) {
    return describe(&(*target)[static_cast<N>(std::stoll(key))]);
  };
  value.blank = Blank(describe);
  return {std::move(name), std::move(help), std::move(value)};
}

}  // namespace verdict
