#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_writer.h"

namespace verdict {

// How the dumps of an engine write words for people.

/// A name as one printable word of bounded length: a hostile file must neither write to the
/// terminal nor make every row of a table as wide as it likes.
inline std::string Printable(std::string_view name) {
  constexpr size_t kMaxBytes = 200;
  std::string text;
  AppendJsonString(name.substr(0, kMaxBytes), text);
  return text.substr(1, text.size() - 2) + (name.size() > kMaxBytes ? "..." : "");
}

inline std::string BytesText(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

/// Lines of words in columns that are as wide as they have to be, two spaces apart.
class Columns {
 public:
  void Add(std::vector<std::string> words) { lines_.push_back(std::move(words)); }

  std::string Text() const {
    std::vector<size_t> widths;
    for (const auto& line : lines_) {
      widths.resize(std::max(widths.size(), line.size()), 0);
      for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
    }
    std::string text;
    for (const auto& line : lines_) {
      std::string row;
      for (size_t i = 0; i < line.size(); ++i) {
        row += "  " + line[i];
        if (i + 1 < line.size()) row.append(widths[i] - line[i].size(), ' ');
      }
      row.erase(row.find_last_not_of(' ') + 1);
      text += row + "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> lines_;
};

}  // namespace verdict
