#include "tools/samples/csv_columns.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "config/nearest_name.h"
#include "tools/samples/sample_number.h"

namespace verdict {
namespace {

std::string ElementName(const std::string& name, size_t index, bool brackets) {
  const std::string number = std::to_string(index);
  return brackets ? name + "[" + number + "]" : name + "_" + number;
}

/// The columns of a file by name.
class Header {
 public:
  /// Errors: a name is there twice.
  static Result<Header> Of(std::span<const std::string> names) {
    Header header(names);
    for (size_t i = 0; i < names.size(); ++i) {
      if (!header.positions_.try_emplace(names[i], i).second && !names[i].empty()) {
        return InvalidArgument("column " + Excerpt(names[i]) + " is there twice");
      }
    }
    return header;
  }

  std::optional<size_t> Find(const std::string& name) const {
    const auto it = positions_.find(name);
    if (it == positions_.end()) return std::nullopt;
    return it->second;
  }

  /// The columns that are named after an input; empty if there are none.
  std::vector<size_t> Named(const SampleInput& input) const {
    const bool open = !input.row.IsStatic();
    const auto exact = Find(input.name);
    const auto count = NumElements(input.row);  // an error where it is open
    if (exact.has_value() && count.ok() && *count == 1) return {*exact};
    for (const bool brackets : {true, false}) {
      std::vector<size_t> columns;
      while (const auto column = Find(ElementName(input.name, columns.size(), brackets))) {
        columns.push_back(*column);
      }
      if (!columns.empty()) return columns;
    }
    if (exact.has_value() && open) return {*exact};
    return {};
  }

  std::string Hint(const std::string& name) const { return DidYouMean(name, names_); }

  /// "columns 'a', 'b', …".
  std::string List() const {
    constexpr size_t kMaxListed = 8;
    std::string text = names_.size() == 1 ? "column " : "columns ";
    for (size_t i = 0; i < std::min(names_.size(), kMaxListed); ++i) {
      text += (i == 0 ? "" : ", ") + Excerpt(names_[i]);
    }
    if (names_.size() > kMaxListed) text += ", … (" + std::to_string(names_.size()) + " in all)";
    if (names_.size() == 1 && names_[0].find_first_of(";\t|") != std::string::npos) {
      text += "; fields must be separated by commas";
    }
    return text;
  }

  std::span<const std::string> names() const { return names_; }

 private:
  explicit Header(std::span<const std::string> names) : names_(names) {}

  std::span<const std::string> names_;
  std::unordered_map<std::string, size_t> positions_;
};

/// True for a first line that holds values. "0", "1", "2", … are the names that pandas gives.
bool IsNoHeader(std::span<const std::string> names) {
  bool numbers = true;
  bool counted = true;
  for (size_t i = 0; i < names.size(); ++i) {
    numbers = numbers && !names[i].empty() && ParseNumber(names[i]).ok();
    counted = counted && names[i] == std::to_string(i);
  }
  return numbers && !counted;
}

/// All columns but the label's, for a model's only input.
Result<std::vector<size_t>> InOrder(const Header& header, std::optional<size_t> label,
                                    SampleLayout* layout) {
  std::vector<size_t> columns;
  for (size_t i = 0; i < header.names().size(); ++i) {
    if (i != label) columns.push_back(i);
  }
  if (Status status = layout->BindCount(0, static_cast<int64_t>(columns.size())); !status.ok()) {
    std::string message = status.message() + "; the file has " + header.List();
    if (!label.has_value()) message += "; if one of them is the label, name it with --label-column";
    if (header.names()[0].empty()) message += "; leave the index out: to_csv(…, index=False)";
    return InvalidArgument(std::move(message))
        .WithContext("input '" + layout->inputs()[0].name + "'");
  }
  return columns;
}

Status MissingColumns(const Header& header, const SampleInput& input) {
  const auto count = NumElements(input.row);
  const bool one = count.ok() && *count == 1;
  const std::string first = one ? input.name : ElementName(input.name, 0, true);
  std::string wanted = "'" + first + "'";
  if (!one) {
    wanted += ", '" + ElementName(input.name, 1, true) + "', … (or '" +
              ElementName(input.name, 0, false) + "', …)";
  }
  return InvalidArgument("there is no column " + wanted + " for input '" + input.name + "' (" +
                         input.model_has + ")" + header.Hint(first) + "; the file has " +
                         header.List());
}

}  // namespace

Result<CsvColumns> FindCsvColumns(std::span<const std::string> names, const SampleOptions& options,
                                  SampleLayout* layout) {
  if (IsNoHeader(names)) {
    return InvalidArgument("the first line must name the columns, but holds numbers");
  }
  VERDICT_ASSIGN_OR_RETURN(const Header header, Header::Of(names));
  CsvColumns columns;
  if (!options.label.empty()) columns.label = header.Find(options.label);
  if (options.label_required && !columns.label.has_value()) {
    return InvalidArgument("there is no column " + Excerpt(options.label) + " for the labels" +
                           header.Hint(options.label) + "; the file has " + header.List());
  }
  const size_t num_inputs = layout->inputs().size();
  for (size_t i = 0; i < num_inputs; ++i) {
    const SampleInput& input = layout->inputs()[i];
    const auto count = NumElements(input.row);
    const bool empty = count.ok() && *count == 0;
    std::vector<size_t> found = header.Named(input);
    if (found.empty() && !empty && num_inputs == 1) {
      VERDICT_ASSIGN_OR_RETURN(found, InOrder(header, columns.label, layout));
    } else if (found.empty() && !empty) {
      return MissingColumns(header, input);
    } else if (Status status = layout->BindCount(i, static_cast<int64_t>(found.size()));
               !status.ok()) {
      return status.WithContext("input '" + input.name + "', columns " + Excerpt(names[found[0]]) +
                                " to " + Excerpt(names[found.back()]));
    }
    if (columns.label.has_value() && std::ranges::count(found, *columns.label) > 0) {
      return InvalidArgument("column " + Excerpt(options.label) + " is the label's and input '" +
                             input.name + "' needs it too; name another with --label-column");
    }
    columns.inputs.push_back(std::move(found));
  }
  return columns;
}

}  // namespace verdict
