#include "tools/samples/jsonl_samples.h"

#include <simdjson.h>

#include <array>
#include <limits>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/nearest_name.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMaxDepth = 64;

/// The number that `value` is; null is NaN. Errors: it is none.
Result<Number> NumberOf(const dom::element& value) {
  switch (value.type()) {
    case dom::element_type::INT64:
      return Number(value.get_int64().value_unsafe());
    case dom::element_type::UINT64:
      return Number(value.get_uint64().value_unsafe());
    case dom::element_type::DOUBLE:
      return Number(value.get_double().value_unsafe());
    case dom::element_type::NULL_VALUE:
      return Number(std::numeric_limits<double>::quiet_NaN());
    case dom::element_type::BOOL:
      return InvalidArgument("true or false, where a number must be");
    case dom::element_type::STRING:
      return InvalidArgument("text " + Excerpt(value.get_string().value_unsafe()) +
                             ", where a number must be; write it without quotes");
    case dom::element_type::ARRAY:
    case dom::element_type::OBJECT:
      break;
  }
  return InvalidArgument("an object or array, where a single value must be");
}

/// How the values of an input are nested.
struct Nesting {
  std::array<int64_t, kMaxDepth> extents{};  // by level, the outermost first
  size_t levels = 0;
  bool reached_values = false;

  std::span<const int64_t> shape() const { return {extents.data(), levels}; }
};

/// Goes through arrays within arrays. depth: those around `value`. Errors: two arrays of one level
/// differ in length, or in what they hold.
Status Measure(const dom::element& value, size_t depth, Nesting* nesting) {
  const auto mixed = [] { return InvalidArgument("arrays and single values side by side"); };
  dom::array array;
  if (value.get(array) != simdjson::SUCCESS) {
    nesting->reached_values = true;
    return depth == nesting->levels ? OkStatus() : mixed();
  }
  int64_t length = 0;
  for (const dom::element element : array) {
    static_cast<void>(element);
    ++length;
  }
  if (depth == nesting->levels) {
    if (nesting->reached_values || depth == kMaxDepth) return mixed();
    nesting->extents[nesting->levels++] = length;
  } else if (nesting->extents[depth] != length) {
    return InvalidArgument("arrays of " + std::to_string(nesting->extents[depth]) + " and of " +
                           std::to_string(length) + " values side by side");
  }
  for (const dom::element element : array) {
    VERDICT_RETURN_IF_ERROR(Measure(element, depth + 1, nesting));
  }
  return OkStatus();
}

class JsonlSamples final : public RowSource {
 public:
  JsonlSamples(TextInput input, SampleLayout layout, const SampleOptions& options)
      : RowSource(std::move(layout), options), input_(std::move(input)) {
    const auto& inputs = layout_.inputs();
    for (size_t i = 0; i < inputs.size(); ++i) by_name_.emplace(inputs[i].name, i);
  }

  /// Looks whether the first line has a label. Errors: as OpenJsonlSamples.
  Status Start() {
    if (parser_.allocate(1 << 16, kMaxDepth) != simdjson::SUCCESS) {
      return ResourceExhausted("out of memory");
    }
    VERDICT_ASSIGN_OR_RETURN(const bool more, ReadLine());
    if (!more) return InvalidArgument(input_.name() + ": there are no samples in it");
    if (Status status = FindLabel(); !status.ok()) return status.WithContext(Where());
    return Rewind();
  }

  bool has_labels() const override { return has_labels_; }
  Status Rewind() override { return input_.Rewind(); }

 private:
  std::string Where() const { return input_.name() + ", line " + std::to_string(line_number_); }

  /// The next line that is not empty.
  Result<bool> ReadLine() {
    do {
      line_number_ = input_.line();
      VERDICT_ASSIGN_OR_RETURN(const bool more, input_.ReadLine(&line_));
      if (!more) return false;
    } while (line_.find_first_not_of(" \t\r") == std::string::npos);
    return true;
  }

  Result<dom::object> Parse() {
    dom::element document;
    const auto error = parser_.parse(line_.data(), line_.size()).get(document);
    if (error != simdjson::SUCCESS) {
      std::string message = std::string("not JSON: ") + simdjson::error_message(error);
      if (line_.find("NaN") != std::string::npos || line_.find("Infinity") != std::string::npos) {
        message += "; JSON has neither NaN nor Infinity: a missing value is null";
      }
      return InvalidArgument(std::move(message));
    }
    dom::object object;
    if (document.get(object) != simdjson::SUCCESS) {
      return InvalidArgument(R"(not a JSON object; a sample is {"input": values, …})");
    }
    return object;
  }

  Status FindLabel() {
    VERDICT_ASSIGN_OR_RETURN(const dom::object object, Parse());
    dom::element label;
    has_labels_ = !options_.label.empty() && !options_.label_ignored &&
                  object.at_key(options_.label).get(label) == simdjson::SUCCESS;
    if (options_.label_required && !has_labels_) return Missing(object, options_.label, "labels");
    return OkStatus();
  }

  static Status Missing(const dom::object& object, const std::string& name,
                        const std::string& what) {
    std::vector<std::string> keys;
    for (const dom::key_value_pair entry : object) keys.emplace_back(entry.key);
    return InvalidArgument("there is no key " + Excerpt(name) + " for " + what +
                           DidYouMean(name, keys));
  }

  Result<bool> NextRow(SampleRows* rows) override {
    VERDICT_ASSIGN_OR_RETURN(const bool more, ReadLine());
    if (!more) return false;
    if (Status status = AddRow(rows); !status.ok()) return status.WithContext(Where());
    return true;
  }

  Status AddRow(SampleRows* rows) {
    VERDICT_ASSIGN_OR_RETURN(const dom::object object, Parse());
    std::vector<bool> seen(layout_.inputs().size());
    bool labelled = false;
    for (const dom::key_value_pair entry : object) {
      if (has_labels_ && entry.key == options_.label) {
        if (std::exchange(labelled, true)) return InvalidArgument("the label is there twice");
        VERDICT_RETURN_IF_ERROR(AddLabel(entry.value, rows));
        continue;
      }
      const auto it = by_name_.find(std::string(entry.key));
      if (it == by_name_.end()) continue;
      const std::string context = "input '" + it->first + "'";
      if (seen[it->second]) return InvalidArgument(context + " is there twice");
      seen[it->second] = true;
      if (Status status = AddInput(it->second, entry.value, rows); !status.ok()) {
        return status.WithContext(context);
      }
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      const SampleInput& input = layout_.inputs()[i];
      if (!seen[i]) return Missing(object, input.name, "an input (" + input.model_has + ")");
    }
    if (has_labels_ && !labelled) return Missing(object, options_.label, "the label");
    return OkStatus();
  }

  static Status AddLabel(const dom::element& value, SampleRows* rows) {
    bool truth = false;
    if (value.get(truth) == simdjson::SUCCESS) {
      rows->AddLabel(truth ? 1 : 0);
      return OkStatus();
    }
    auto number = NumberOf(value);
    if (!number.ok()) return number.status().WithContext("the label");
    VERDICT_ASSIGN_OR_RETURN(const float label, LabelOf(*number));
    rows->AddLabel(label);
    return OkStatus();
  }

  Status AddInput(size_t index, const dom::element& value, SampleRows* rows) {
    Nesting nesting;
    VERDICT_RETURN_IF_ERROR(Measure(value, 0, &nesting));
    const auto rank = static_cast<size_t>(layout_.inputs()[index].row.rank());
    std::span<const int64_t> own = nesting.shape();
    // As a request has it, with the batch in front.
    if (own.size() == rank + 1 && own.front() == 1) own = own.subspan(1);
    if (own.size() == rank) {
      VERDICT_RETURN_IF_ERROR(layout_.BindExtents(index, own));
    } else {
      int64_t count = 1;
      for (const int64_t extent : own) count *= extent;  // so many values are there
      VERDICT_RETURN_IF_ERROR(layout_.BindCount(index, count));
    }
    int64_t position = 0;
    return AddValues(index, value, &position, rows);
  }

  Status AddValues(size_t index, const dom::element& value, int64_t* position, SampleRows* rows) {
    dom::array array;
    if (value.get(array) == simdjson::SUCCESS) {
      for (const dom::element element : array) {
        VERDICT_RETURN_IF_ERROR(AddValues(index, element, position, rows));
      }
      return OkStatus();
    }
    Status status = AddValue(index, value, rows);
    if (!status.ok()) return status.WithContext("value " + std::to_string(*position));
    ++*position;
    return OkStatus();
  }

  Status AddValue(size_t index, const dom::element& value, SampleRows* rows) {
    const DataType dtype = layout_.inputs()[index].dtype;
    std::string_view text;
    if (dtype == DataType::kString && value.get(text) == simdjson::SUCCESS) {
      return rows->AddString(index, text);
    }
    bool truth = false;
    if (dtype == DataType::kBool && value.get(truth) == simdjson::SUCCESS) {
      return rows->AddNumber(index, int64_t{truth ? 1 : 0});
    }
    VERDICT_ASSIGN_OR_RETURN(const Number number, NumberOf(value));
    return rows->AddNumber(index, number);
  }

  TextInput input_;
  dom::parser parser_;
  std::unordered_map<std::string, size_t> by_name_;
  std::string line_;  // at hand, and its number
  int64_t line_number_ = 0;
  bool has_labels_ = false;
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenJsonlSamples(TextInput input, SampleLayout layout,
                                                       const SampleOptions& options) {
  auto source = std::make_unique<JsonlSamples>(std::move(input), std::move(layout), options);
  VERDICT_RETURN_IF_ERROR(source->Start());
  return std::unique_ptr<SampleSource>(std::move(source));
}

}  // namespace verdict
