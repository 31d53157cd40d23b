#include "ir/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "base/crc32c.h"

namespace verdict {
namespace {

constexpr int64_t kMaxPrinted = 64;
constexpr int64_t kMaxParsed = 1 << 20;  // elements of a constant in a text

// ---- printing ----

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '/' || c == '-';
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
      continue;
    }
    quoted += c;
  }
  return quoted + "\"";
}

std::string NameText(std::string_view name) {
  return "%" + (std::ranges::all_of(name, IsPlain) ? std::string(name) : Quote(name));
}

template <typename T>
std::string NumberText(T number) {
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
  return {buffer.data(), end};
}

/// A float attribute keeps a mark that tells it from an integer.
std::string FloatText(float number) {
  std::string text = NumberText(number);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

template <typename Range, typename Print>
std::string ListText(const Range& range, Print print) {
  std::string text = "[";
  bool first = true;
  for (const auto& item : range) {
    if (!first) text += ", ";
    first = false;
    text += print(item);
  }
  return text + "]";
}

std::string AttributeText(const Attribute& attribute) {
  struct Printer {
    std::string operator()(int64_t v) const { return NumberText(v); }
    std::string operator()(float v) const { return FloatText(v); }
    std::string operator()(const std::string& v) const { return Quote(v); }
    std::string operator()(const std::vector<int64_t>& v) const {
      return ListText(v, NumberText<int64_t>);
    }
    std::string operator()(const std::vector<float>& v) const { return ListText(v, FloatText); }
    std::string operator()(const std::vector<std::string>& v) const { return ListText(v, Quote); }
  };
  return std::visit(Printer{}, attribute);
}

template <typename T>
std::string NumbersText(const TensorView& view) {
  return ListText(view.as<const T>(), [](T v) { return NumberText(v); });
}

std::string ConstantText(const Constant& constant) {
  const TensorView view = constant.view();
  if (view.size() <= kMaxPrinted) {
    switch (constant.dtype) {
      case DataType::kFloat32:
        return NumbersText<float>(view);
      case DataType::kFloat64:
        return NumbersText<double>(view);
      case DataType::kInt8:
        return NumbersText<int8_t>(view);
      case DataType::kInt32:
        return NumbersText<int32_t>(view);
      case DataType::kInt64:
        return NumbersText<int64_t>(view);
      case DataType::kUInt8:
        return NumbersText<uint8_t>(view);
      case DataType::kBool:
        return ListText(view.as<const bool>(), [](bool v) { return std::string(v ? "1" : "0"); });
      case DataType::kString:
        return ListText(view.as<const std::string_view>(), Quote);
      default:
        break;
    }
  }
  if (constant.dtype == DataType::kString) return "#strings";
  const size_t bytes = ByteSize(constant.dtype, constant.shape).value();
  std::array<char, 16> hex;
  const uint32_t crc = Crc32c({static_cast<const std::byte*>(constant.data), bytes});
  const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), crc, 16).ptr;
  return "#" + std::string(hex.data(), end);
}

std::string TypeText(const Graph& graph, const Value& value) {
  return std::string(DataTypeName(value.dtype)) + graph.ShapeText(value.shape);
}

// ---- parsing ----

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Graph> Parse() {
    VERDICT_RETURN_IF_ERROR(Expect("graph"));
    VERDICT_ASSIGN_OR_RETURN(graph_.name, QuotedString());
    VERDICT_RETURN_IF_ERROR(Expect("{"));
    while (!Accept("}")) VERDICT_RETURN_IF_ERROR(Line());
    SkipSpace();
    if (at_ != text_.size()) return Error("text after the closing brace");
    return std::move(graph_);
  }

 private:
  Status Line() {
    if (Accept("input ")) {
      VERDICT_ASSIGN_OR_RETURN(const std::string name, Name());
      VERDICT_RETURN_IF_ERROR(CheckFresh(name));
      VERDICT_RETURN_IF_ERROR(Expect(":"));
      DataType dtype;
      Shape shape;
      VERDICT_RETURN_IF_ERROR(Type(dtype, shape));
      graph_.AddInput(name, dtype, shape);
      return OkStatus();
    }
    if (Accept("output ")) {
      VERDICT_ASSIGN_OR_RETURN(const ValueId id, Known());
      graph_.outputs.push_back(id);
      return OkStatus();
    }
    if (Accept("const ")) return ConstantLine();
    return NodeLine();
  }

  Status ConstantLine() {
    VERDICT_ASSIGN_OR_RETURN(const std::string name, Name());
    VERDICT_RETURN_IF_ERROR(CheckFresh(name));
    VERDICT_RETURN_IF_ERROR(Expect(":"));
    DataType dtype;
    Shape shape;
    VERDICT_RETURN_IF_ERROR(Type(dtype, shape));
    const auto count = NumElements(shape);
    if (!count.ok() || *count > kMaxParsed)
      return Error("a constant's shape must be small and static");
    VERDICT_RETURN_IF_ERROR(Expect("="));
    if (dtype == DataType::kString) {
      VERDICT_ASSIGN_OR_RETURN(std::vector<std::string> strings, StringList());
      if (static_cast<int64_t>(strings.size()) != *count) return Error("wrong number of elements");
      graph_.AddConstant(name, Constant::OfStrings(shape, std::move(strings)));
      return OkStatus();
    }
    std::vector<double> values(static_cast<size_t>(*count));
    if (Accept("fill(")) {
      VERDICT_ASSIGN_OR_RETURN(const double value, Number());
      std::ranges::fill(values, value);
      VERDICT_RETURN_IF_ERROR(Expect(")"));
    } else if (Accept("seed(")) {
      VERDICT_ASSIGN_OR_RETURN(const double seed, Number());
      std::mt19937 random(static_cast<uint32_t>(seed));
      // Not std::uniform_real_distribution: its values differ between standard libraries.
      for (double& value : values) value = static_cast<double>(random() >> 8) / (1 << 23) - 1.0;
      VERDICT_RETURN_IF_ERROR(Expect(")"));
    } else {
      VERDICT_RETURN_IF_ERROR(Expect("["));
      for (size_t i = 0; i < values.size(); ++i) {
        if (i > 0) VERDICT_RETURN_IF_ERROR(Expect(","));
        VERDICT_ASSIGN_OR_RETURN(values[i], Number());
      }
      VERDICT_RETURN_IF_ERROR(Expect("]"));
    }
    return AddNumbers(name, dtype, shape, values);
  }

  template <typename T>
  void AddAs(const std::string& name, const Shape& shape, std::span<const double> values) {
    auto [constant, data] = Constant::Allocate(kDataTypeOf<T>, shape);
    for (size_t i = 0; i < values.size(); ++i) static_cast<T*>(data)[i] = static_cast<T>(values[i]);
    graph_.AddConstant(name, std::move(constant));
  }

  Status AddNumbers(const std::string& name, DataType dtype, const Shape& shape,
                    std::span<const double> values) {
    switch (dtype) {
      case DataType::kFloat32:
        AddAs<float>(name, shape, values);
        return OkStatus();
      case DataType::kFloat64:
        AddAs<double>(name, shape, values);
        return OkStatus();
      case DataType::kInt8:
        AddAs<int8_t>(name, shape, values);
        return OkStatus();
      case DataType::kInt32:
        AddAs<int32_t>(name, shape, values);
        return OkStatus();
      case DataType::kInt64:
        AddAs<int64_t>(name, shape, values);
        return OkStatus();
      case DataType::kUInt8:
        AddAs<uint8_t>(name, shape, values);
        return OkStatus();
      case DataType::kBool:
        AddAs<bool>(name, shape, values);
        return OkStatus();
      default:
        return Error("constants of this type cannot be written as text");
    }
  }

  Status NodeLine() {
    Node node;
    std::vector<std::pair<std::string, std::pair<DataType, Shape>>> outputs;
    do {
      std::string name;
      DataType dtype = DataType::kUndefined;
      Shape shape;
      if (!Accept("_")) {
        VERDICT_ASSIGN_OR_RETURN(name, Name());
        VERDICT_RETURN_IF_ERROR(CheckFresh(name));
        if (Accept(":")) VERDICT_RETURN_IF_ERROR(Type(dtype, shape));
      }
      outputs.emplace_back(std::move(name), std::pair(dtype, shape));
    } while (Accept(","));
    VERDICT_RETURN_IF_ERROR(Expect("="));
    node.op = Word();
    if (node.op.empty()) return Error("expected an operator");
    VERDICT_RETURN_IF_ERROR(Expect("("));
    if (!Accept(")")) {
      do {
        ValueId id = kNoValue;
        if (!Accept("_")) {
          VERDICT_ASSIGN_OR_RETURN(id, Known());
        }
        node.inputs.push_back(id);
      } while (Accept(","));
      VERDICT_RETURN_IF_ERROR(Expect(")"));
    }
    if (Accept("{")) {
      do {
        std::string name = Word();
        if (name.empty()) return Error("expected an attribute's name");
        VERDICT_RETURN_IF_ERROR(Expect("="));
        VERDICT_ASSIGN_OR_RETURN(Attribute attribute, AttributeValue());
        node.attributes.insert_or_assign(std::move(name), std::move(attribute));
      } while (Accept(","));
      VERDICT_RETURN_IF_ERROR(Expect("}"));
    }
    for (const auto& [name, type] : outputs) {
      node.outputs.push_back(name.empty() ? kNoValue
                                          : graph_.AddValue(name, type.first, type.second));
      if (node.name.empty()) node.name = name;
    }
    graph_.nodes.push_back(std::move(node));
    return OkStatus();
  }

  Status Type(DataType& dtype, Shape& shape) {
    dtype = DataTypeFromName(Word());
    if (dtype == DataType::kUndefined) return Error("unknown element type");
    VERDICT_RETURN_IF_ERROR(Expect("["));
    if (Accept("]")) return OkStatus();
    do {
      if (shape.rank() == Shape::kMaxRank) return Error("more than 8 extents");
      const std::string word = Word();
      int64_t extent = 0;
      const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), extent);
      const bool is_number = error == std::errc() && stop == word.data() + word.size();
      if (word.empty() || (is_number && extent < 0)) return Error("expected an extent");
      shape.push_back(is_number ? extent : graph_.Symbol(word));
    } while (Accept(","));
    return Expect("]");
  }

  Result<Attribute> AttributeValue() {
    SkipSpace();
    if (Peek() == '"') {
      VERDICT_ASSIGN_OR_RETURN(std::string text, QuotedString());
      return Attribute(std::move(text));
    }
    if (Peek() != '[') return NumberAttribute();
    const size_t start = at_;
    VERDICT_RETURN_IF_ERROR(Expect("["));
    if (Accept("]")) return Attribute(std::vector<int64_t>());
    SkipSpace();
    if (Peek() == '"') {
      at_ = start;
      VERDICT_ASSIGN_OR_RETURN(std::vector<std::string> strings, StringList());
      return Attribute(std::move(strings));
    }
    std::vector<int64_t> ints;
    std::vector<float> floats;
    do {
      VERDICT_ASSIGN_OR_RETURN(const Attribute item, NumberAttribute());
      if (const auto* integer = std::get_if<int64_t>(&item)) {
        ints.push_back(*integer);
      } else {
        floats.push_back(std::get<float>(item));
      }
    } while (Accept(","));
    VERDICT_RETURN_IF_ERROR(Expect("]"));
    if (!ints.empty() && !floats.empty()) return Error("a list mixes integers and floats");
    return floats.empty() ? Attribute(std::move(ints)) : Attribute(std::move(floats));
  }

  Result<Attribute> NumberAttribute() {
    const std::string word = Word();
    int64_t integer = 0;
    auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), integer);
    if (error == std::errc() && stop == word.data() + word.size()) return Attribute(integer);
    float number = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number);
    if (parsed.ec == std::errc() && parsed.ptr == word.data() + word.size()) {
      return Attribute(number);
    }
    return Error("'" + word + "' is not a number");
  }

  Result<double> Number() {
    const std::string word = Word();
    double number = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || stop != word.data() + word.size()) {
      return Error("'" + word + "' is not a number");
    }
    return number;
  }

  Result<std::vector<std::string>> StringList() {
    std::vector<std::string> strings;
    VERDICT_RETURN_IF_ERROR(Expect("["));
    if (Accept("]")) return strings;
    do {
      VERDICT_ASSIGN_OR_RETURN(std::string text, QuotedString());
      strings.push_back(std::move(text));
    } while (Accept(","));
    VERDICT_RETURN_IF_ERROR(Expect("]"));
    return strings;
  }

  Result<std::string> QuotedString() {
    VERDICT_RETURN_IF_ERROR(Expect("\""));
    std::string text;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        text += text_[at_] == 'n' ? '\n' : text_[at_];
      } else {
        text += text_[at_];
      }
      ++at_;
    }
    if (at_ == text_.size()) return Error("a string does not end");
    ++at_;
    return text;
  }

  Result<std::string> Name() {
    VERDICT_RETURN_IF_ERROR(Expect("%"));
    if (Peek() == '"') return QuotedString();
    std::string word = Word();
    if (word.empty()) return Error("expected a name after %");
    return word;
  }

  Result<ValueId> Known() {
    VERDICT_ASSIGN_OR_RETURN(const std::string name, Name());
    const ValueId id = graph_.FindValue(name);
    if (id == kNoValue) return Error("unknown value '" + name + "'");
    return id;
  }

  Status CheckFresh(const std::string& name) {
    if (name.empty()) return Error("a name is empty");
    if (graph_.FindValue(name) != kNoValue) return Error("value '" + name + "' exists already");
    return OkStatus();
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string Word() {
    SkipSpace();
    const size_t start = at_;
    while (at_ < text_.size() && (IsPlain(text_[at_]) || text_[at_] == '+')) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  void SkipSpace() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {  // a comment, to the end of the line
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' ||
                 text_[at_] == '\r') {
        ++at_;
      } else {
        return;
      }
    }
  }

  bool Accept(std::string_view token) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  Status Expect(std::string_view token) {
    return Accept(token) ? OkStatus() : Error("expected '" + std::string(token) + "'");
  }

  Status Error(const std::string& message) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n');
    return InvalidArgument("line " + std::to_string(line) + ": " + message);
  }

  std::string_view text_;
  size_t at_ = 0;
  Graph graph_;
};

}  // namespace

std::string PrintAttributes(const Attributes& attributes) {
  std::string text = "{";
  for (const auto& [name, attribute] : attributes) {
    if (text.size() > 1) text += ", ";
    text += name + "=" + AttributeText(attribute);
  }
  return text + "}";
}

std::string PrintGraph(const Graph& graph) {
  std::string text = "graph " + Quote(graph.name) + " {\n";
  for (ValueId id : graph.inputs) {
    text += "  input " + NameText(graph.value(id).name) + ": " + TypeText(graph, graph.value(id)) +
            "\n";
  }
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr) continue;
    text += "  const " + NameText(graph.value(id).name) + ": " + TypeText(graph, graph.value(id)) +
            " = " + ConstantText(*constant) + "\n";
  }
  for (const Node& node : graph.nodes) {
    text += "  ";
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (i > 0) text += ", ";
      if (node.outputs[i] == kNoValue) {
        text += "_";
        continue;
      }
      const Value& value = graph.value(node.outputs[i]);
      text += NameText(value.name);
      if (value.dtype != DataType::kUndefined) text += ": " + TypeText(graph, value);
    }
    text += " = " + node.op + "(";
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (i > 0) text += ", ";
      text += node.inputs[i] == kNoValue ? "_" : NameText(graph.value(node.inputs[i]).name);
    }
    text += ")";
    if (!node.attributes.empty()) text += " " + PrintAttributes(node.attributes);
    text += "\n";
  }
  for (ValueId id : graph.outputs) text += "  output " + NameText(graph.value(id).name) + "\n";
  return text + "}\n";
}

Result<Graph> ParseGraph(std::string_view text) { return Parser(text).Parse(); }

}  // namespace verdict
