#include "config/read_config.h"

#include <algorithm>
#include <utility>

#include "config/config_scalar.h"
#include "config/nearest_name.h"

namespace verdict {
namespace {

using Kind = YamlNode::Kind;

std::string_view KindText(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "one value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a section";
  }
  return "";
}

/// Reads one document into its keys.
class Reader {
 public:
  Reader(ConfigProblems* problems, ScalarForm quoted) : problems_(*problems), quoted_(quoted) {}

  void ReadSection(const YamlNode& node, const std::string& path, const ConfigKeys& keys) {
    if (node.kind != Kind::kMap && node.kind != Kind::kNull) {
      return WrongKind(node, path, "a section ('key: value' lines)");
    }
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlKey& name = node.keys[i];
      const std::string below = path.empty() ? name.text : path + "." + name.text;
      const auto key = std::ranges::find(keys, name.text, &ConfigKey::name);
      if (key == keys.end()) {
        problems_.Add(name.mark, below,
                      "there is no such key" + DidYouMean(name.text, KeyNames(keys)) +
                          "; correct it or leave it out");
      } else {
        ReadKey(node.items[i], below, *key, name.mark);
      }
    }
    for (const ConfigKey& key : keys) {
      if (key.required &&
          std::ranges::find(node.keys, key.name, &YamlKey::text) == node.keys.end()) {
        problems_.Add(node.mark, path.empty() ? key.name : path + "." + key.name,
                      "is missing; add it: " + key.help);
      }
    }
  }

 private:
  ScalarForm FormOf(const YamlNode& node) const {
    return node.quoted ? quoted_ : ScalarForm::kPlainYaml;
  }

  void WrongKind(const YamlNode& node, const std::string& path, std::string_view wanted) {
    problems_.Add(node.mark, path,
                  "has " + std::string(KindText(node.kind)) + "; write " + std::string(wanted));
  }

  void ReadKey(const YamlNode& node, const std::string& path, const ConfigKey& key,
               YamlMark name_mark) {
    if (const auto* section = std::get_if<SectionValue>(&key.value)) {
      ReadSection(node, path, section->keys);
    } else if (const auto* optional = std::get_if<OptionalSectionValue>(&key.value)) {
      ReadSection(node, path, optional->add());
    } else if (const auto* sections = std::get_if<SectionListValue>(&key.value)) {
      ReadSectionList(node, path, *sections);
    } else if (const auto* by_number = std::get_if<SectionMapValue>(&key.value)) {
      ReadSectionMap(node, path, *by_number);
    } else if (const auto* texts = std::get_if<TextListValue>(&key.value)) {
      texts->target->clear();
      ReadList(node, path, [&](const YamlNode& item) {
        VERDICT_RETURN_IF_ERROR(CheckConfigText(item.text, FormOf(item)));
        texts->target->push_back(item.text);
        return OkStatus();
      });
    } else if (const auto* integers = std::get_if<IntegerListValue>(&key.value)) {
      ReadIntegerList(node, path, *integers);
    } else if (std::holds_alternative<RefusedValue>(key.value)) {
      problems_.Add(name_mark, path, key.help);
    } else if (node.kind != Kind::kScalar) {
      WrongKind(node, path, "one value: " + key.help);
    } else {
      Report(node, path, SetScalar(key, node.text, FormOf(node)));
    }
  }

  void Report(const YamlNode& node, const std::string& path, const Status& status) {
    if (!status.ok()) problems_.Add(node.mark, path, status.message());
  }

  /// Calls `read` with each scalar of a list.
  template <typename Read>
  void ReadList(const YamlNode& node, const std::string& path, const Read& read) {
    if (node.kind != Kind::kList) return WrongKind(node, path, "a list, as in [a, b]");
    for (size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      const std::string below = path + "[" + std::to_string(i) + "]";
      if (item.kind != Kind::kScalar) {
        WrongKind(item, below, "one value");
      } else {
        Report(item, below, read(item));
      }
    }
  }

  void ReadIntegerList(const YamlNode& node, const std::string& path,
                       const IntegerListValue& integers) {
    integers.target->clear();
    ReadList(node, path, [&](const YamlNode& item) -> Status {
      if (FormOf(item) == ScalarForm::kQuotedYaml) {
        return InvalidArgument("is text; leave the quotes out");
      }
      VERDICT_ASSIGN_OR_RETURN(const int64_t value,
                               ParseConfigInteger(item.text, integers.min, integers.max));
      integers.target->push_back(value);
      return OkStatus();
    });
  }

  void ReadSectionList(const YamlNode& node, const std::string& path,
                       const SectionListValue& sections) {
    if (node.kind != Kind::kList) return WrongKind(node, path, "a list of sections ('- key: …')");
    if (node.items.size() < sections.min_items || node.items.size() > sections.max_items) {
      problems_.Add(node.mark, path,
                    "has " + std::to_string(node.items.size()) + " entries; write " +
                        std::to_string(sections.min_items) + " to " +
                        std::to_string(sections.max_items));
      return;
    }
    for (size_t i = 0; i < node.items.size(); ++i) {
      ReadSection(node.items[i], path + "[" + std::to_string(i) + "]", sections.add());
    }
  }

  void ReadSectionMap(const YamlNode& node, const std::string& path,
                      const SectionMapValue& sections) {
    if (node.kind != Kind::kMap && node.kind != Kind::kNull) {
      return WrongKind(node, path, "a section under each name ('name: {…}')");
    }
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlKey& name = node.keys[i];
      const std::string below = path + "." + name.text;
      const auto& numbers = sections.numbers;
      const Status status = numbers
                                ? ParseConfigInteger(name.text, numbers->min, numbers->max).status()
                                : CheckConfigText(name.text, ScalarForm::kOverride);
      if (status.ok()) {
        ReadSection(node.items[i], below, sections.add(name.text));
      } else {
        problems_.Add(name.mark, below, status.message());
      }
    }
  }

  ConfigProblems& problems_;
  const ScalarForm quoted_;
};

}  // namespace

void ConfigProblems::Add(YamlMark mark, std::string_view path, std::string_view what) {
  std::string line = file_;
  if (mark.line > 0) line += ":" + std::to_string(mark.line) + ":" + std::to_string(mark.column);
  if (!path.empty()) line += ": key '" + std::string(path) + "'";
  Add(line + ": " + std::string(what));
}

void ConfigProblems::AddAt(const YamlNode& root, std::string_view path, std::string_view what) {
  const YamlNode* node = root.Find(path);
  Add(node == nullptr ? YamlMark{} : node->mark, path, what);
}

void ConfigProblems::Add(std::string line) {
  if (lines_.size() < kMaxLines) {
    lines_.push_back(std::move(line));
  } else {
    ++left_out_;
  }
}

std::vector<std::string> ConfigProblems::lines() const {
  std::vector<std::string> lines = lines_;
  if (left_out_ > 0) lines.push_back("and " + std::to_string(left_out_) + " more");
  return lines;
}

Status ConfigProblems::ToStatus() const {
  if (lines_.empty()) return OkStatus();
  const size_t others = lines_.size() - 1 + left_out_;
  if (others == 0) return InvalidArgument(lines_[0]);
  return InvalidArgument(lines_[0] + " (and " + std::to_string(others) +
                         (others == 1 ? " more problem)" : " more problems)"));
}

std::vector<std::string> KeyNames(const ConfigKeys& keys) {
  std::vector<std::string> names;
  for (const ConfigKey& key : keys) {
    if (!std::holds_alternative<RefusedValue>(key.value)) names.push_back(key.name);
  }
  return names;
}

void ReadConfig(const YamlNode& root, const ConfigKeys& keys, ConfigProblems* problems,
                ScalarForm quoted) {
  if (root.kind != Kind::kMap && root.kind != Kind::kNull) {
    problems->Add(root.mark, "", "not a configuration; write 'key: value' lines");
    return;
  }
  Reader(problems, quoted).ReadSection(root, "", keys);
}

}  // namespace verdict
