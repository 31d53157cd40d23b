#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config_key.h"

namespace verdict {

/// A configuration with a key of each kind, for tests.
struct SampleInner {
  int count = 3;
};

struct SampleConfig {
  enum class Color { kRed, kGreen };
  bool flag = false;
  uint16_t port = 80;
  double ratio = 0.5;
  std::string text = "t";
  Color color = Color::kRed;
  std::vector<std::string> names;
  std::vector<int64_t> sizes;
  std::map<std::string, SampleInner> by_name;
  SampleInner section;
  std::optional<SampleInner> optional;
  std::vector<SampleInner> list;
  std::map<int, SampleInner> by_number;
};

inline ConfigKeys InnerKeys(SampleInner* inner) {
  return {Required(Integer("count", &inner->count, 1, 9, "How many"))};
}

inline ConfigKeys SampleKeys(SampleConfig* sample) {
  return {
      Flag("flag", &sample->flag, "A flag"),
      Integer("port", &sample->port, 0, 65535, "A port"),
      Number("ratio", &sample->ratio, 0, 1, "A ratio"),
      Text("text", &sample->text, "A text"),
      Choice("color", &sample->color, {"red", "green"}, "A choice"),
      TextList("names", &sample->names, "Some names"),
      IntegerList("sizes", &sample->sizes, 1, 100, "Some sizes"),
      NamedSections("by_name", &sample->by_name, InnerKeys, "Sections by name"),
      Section("section", {Integer("count", &sample->section.count, 1, 9, "How many")}, "A section"),
      OptionalSection("optional", &sample->optional, InnerKeys, "Perhaps a section"),
      SectionList("list", &sample->list, 0, 2, InnerKeys, "A list"),
      NumberedSections("by_number", &sample->by_number, 1, 9, InnerKeys, "Sections by number"),
      Refused("old", "is gone; leave it out"),
  };
}

}  // namespace verdict
