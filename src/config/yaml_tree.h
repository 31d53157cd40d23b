#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

/// A place in a YAML file; both count from 1. 0: no place.
struct YamlMark {
  int line = 0;
  int column = 0;
};

struct YamlKey {
  std::string text;
  YamlMark mark;
};

/// One value of a YAML document: plain data, owned, without anchors, aliases or tags.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  YamlMark mark;
  std::string text;             // kScalar
  bool quoted = false;          // kScalar: whether it stood in quotes or is a block of text
  std::vector<YamlKey> keys;    // kMap: each once
  std::vector<YamlNode> items;  // kList, or kMap: the value of each key

  /// The value at a dotted path below this one; null if there is none.
  const YamlNode* Find(std::string_view path) const;
};

inline constexpr size_t kMaxYamlBytes = size_t{1} << 20;
inline constexpr int kMaxYamlDepth = 16;  // a configuration needs 5

/// Parses the one document of a configuration file. An empty file is kNull.
///
/// name: stands for the file in messages.
/// Errors: kInvalidArgument "name:line:column: …": not YAML, not UTF-8, control characters, tabs
/// as indentation, larger than kMaxYamlBytes, deeper than kMaxYamlDepth, a key that stands twice
/// or is no plain text, more than one document, anchors, aliases and tags (what they can do to a
/// reader is worth more than what they save in a configuration).
/// Threads: pure.
Result<YamlNode> ParseYaml(std::string_view text, const std::string& name);

}  // namespace verdict
