#include "config/nearest_name.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace verdict {
namespace {

constexpr size_t kMaxTextBytes = 128;  // what is longer is no misspelt name

/// Levenshtein's distance.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string DidYouMean(std::string_view text, std::span<const std::string> names) {
  if (text.size() > kMaxTextBytes) return "";
  const std::string* nearest = nullptr;
  // A third of the letters may differ; of short names, two.
  size_t least = std::max<size_t>(text.size() / 3, 2) + 1;
  for (const std::string& name : names) {
    const size_t distance = EditDistance(text, name);
    if (distance < least && distance < name.size()) {
      least = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : " (did you mean '" + *nearest + "'?)";
}

}  // namespace verdict
