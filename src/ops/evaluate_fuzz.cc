// Gives any operator any inputs and attributes. Nothing may crash, and what a shape rule says with
// symbols must hold for the extents they stand for.
#include <cstring>
#include <limits>
#include <string>

#include "ops/evaluate.h"
#include "ops/infer.h"
#include "ops/op.h"
#include "ops/verify.h"

namespace verdict {
namespace {

constexpr int64_t kMaxElements = 1 << 14;
constexpr int64_t kMaxExtent = 4;

/// The fuzzer's bytes as choices; zeros when they are used up.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  int Below(int limit) { return Byte() % limit; }
  bool OneIn(int odds) { return Below(odds) == 1; }

  /// Mostly a number that makes sense as an axis, an index or an extent.
  int64_t Int() {
    constexpr int64_t kExtremes[] = {INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, -9, 255};
    return OneIn(8) ? kExtremes[Below(6)] : Below(12) - 4;
  }

  double Real() {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kExtremes[] = {kInf, -kInf, kNan, 1e300, -1e10, 1e-300};
    return OneIn(8) ? kExtremes[Below(6)] : (Below(64) - 32) / 8.0;
  }

  std::string Text() {
    constexpr const char* kTexts[] = {
        "",          "add",         "mul",     "max",           "min",     "none",
        "tanh",      "constant",    "edge",    "wrap",          "3.5",     "reflect",
        "ij,jk->ik", "bi,kio->bko", "ii->i",   "...i->i",       "NOTSET",  "SAME_UPPER",
        "VALID",     "forward",     "reverse", "bidirectional", "Sigmoid", "Tanh",
        "SUM",       "AVERAGE",     "SOFTMAX", "LOGISTIC",      "L1",      "L2",
        "zz",        "-1e999"};
    return kTexts[Below(std::size(kTexts))];
  }

 private:
  std::span<const uint8_t> bytes_;
};

template <typename T, typename F>
std::vector<T> ListOf(Choices& choices, F&& element) {
  std::vector<T> list(static_cast<size_t>(choices.Below(5)));
  for (T& value : list) value = static_cast<T>(element());
  return list;
}

Attribute MakeAttribute(Choices& choices, AttributeType type) {
  switch (type) {
    case AttributeType::kInt:
      return choices.Int();
    case AttributeType::kFloat:
      return static_cast<float>(choices.Real());
    case AttributeType::kString:
      return choices.Text();
    case AttributeType::kInts:
      return ListOf<int64_t>(choices, [&] { return choices.Int(); });
    case AttributeType::kFloats:
      return ListOf<float>(choices, [&] { return choices.Real(); });
    case AttributeType::kStrings:
      return ListOf<std::string>(choices, [&] { return choices.Text(); });
  }
  return int64_t{0};
}

/// Often a tensor that goes with those before it: of their type, of their shape, or a list of
/// integers with one for each of their axes.
Constant MakeTensor(Choices& choices, std::span<const Constant> before) {
  constexpr DataType kUsual[] = {DataType::kFloat32, DataType::kInt64, DataType::kFloat32,
                                 DataType::kInt64,   DataType::kBool,  DataType::kInt32};
  DataType dtype =
      choices.OneIn(3) ? static_cast<DataType>(1 + choices.Below(14)) : kUsual[choices.Below(6)];
  Shape shape;
  for (int rank = choices.Below(5); rank > 0; --rank) {
    shape.push_back(choices.Below(kMaxExtent + 1));
  }
  if (!before.empty()) {
    const Constant& model = before[static_cast<size_t>(choices.Byte()) % before.size()];
    const int likeness = choices.Below(5);
    if (likeness < 3 && model.dtype != DataType::kUndefined) dtype = model.dtype;
    if (likeness == 0) shape = model.shape;
    if (likeness == 1) shape = Shape{choices.Below(kMaxExtent + 1)};
    if (likeness >= 3) dtype = DataType::kInt64;
    if (likeness == 3) shape = Shape{std::max(1, choices.Below(model.shape.rank() + 1))};
  }
  const int64_t count = *NumElements(shape);
  if (dtype == DataType::kString) {
    std::vector<std::string> texts(static_cast<size_t>(count));
    for (std::string& text : texts) text = choices.Text();
    return Constant::OfStrings(shape, std::move(texts));
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t integer = choices.Int();
    switch (dtype) {
      case DataType::kFloat32:
        static_cast<float*>(data)[i] = static_cast<float>(choices.Real());
        break;
      case DataType::kFloat64:
        static_cast<double*>(data)[i] = choices.Real();
        break;
      case DataType::kBool:
        static_cast<bool*>(data)[i] = (integer & 1) != 0;
        break;
      default:  // integers of any width, and the bits of halves
        std::memcpy(static_cast<std::byte*>(data) + static_cast<size_t>(i) * ElementSize(dtype),
                    &integer, ElementSize(dtype));
    }
  }
  return constant;
}

/// The rule once more, with symbols for some extents and some contents unknown: what it says must
/// agree with what it said of the true shapes.
void CheckSymbols(Choices& choices, const Node& node, std::span<const TensorView> inputs,
                  std::span<const TensorView> expected) {
  Graph graph;
  Dim symbols[kMaxExtent + 1];
  for (int64_t extent = 0; extent <= kMaxExtent; ++extent) {
    symbols[extent] = graph.Symbol("E" + std::to_string(extent));
  }
  std::vector<TensorView> views(inputs.begin(), inputs.end());
  for (TensorView& view : views) {
    if (choices.OneIn(2)) continue;
    view.data = nullptr;
    for (int axis = 0; axis < view.shape.rank(); ++axis) {
      // Rules take a symbol for more than 1: an extent of 1 broadcasts and Squeeze drops it, and
      // without elements any Reshape fits.
      if (view.shape[axis] > 1 && choices.OneIn(2)) view.shape[axis] = symbols[view.shape[axis]];
    }
  }
  std::vector<TensorView> outputs(expected.size());
  const Status status = InferNode(node, views, outputs, &graph);
  if (status.code() == StatusCode::kUnimplemented) return;
  VERDICT_CHECK(status.ok());
  for (size_t i = 0; i < expected.size(); ++i) {
    VERDICT_CHECK(outputs[i].dtype == expected[i].dtype);
    VERDICT_CHECK(outputs[i].shape.rank() == expected[i].shape.rank());
    for (int axis = 0; axis < outputs[i].shape.rank(); ++axis) {
      const Dim dim = outputs[i].shape[axis];
      if (!IsSymbol(dim)) {
        VERDICT_CHECK(dim == expected[i].shape[axis]);
      } else if (-dim <= kMaxExtent + 1) {
        VERDICT_CHECK(-dim - 1 == expected[i].shape[axis]);
      }
    }
  }
}

void Try(Choices choices) {
  const auto ops = AllOps();
  const OpDef& op = *ops[static_cast<size_t>(choices.Byte()) % ops.size()];
  Node node{.name = "fuzz", .op = std::string(op.name)};
  const int num_inputs = std::min(op.max_inputs, op.min_inputs + choices.Below(4));
  std::vector<Constant> tensors;
  for (int i = 0; i < num_inputs; ++i) {
    const bool left_out = i >= op.min_inputs && choices.OneIn(4);
    node.inputs.push_back(left_out ? kNoValue : i);
    tensors.push_back(left_out ? Constant{} : MakeTensor(choices, tensors));
  }
  const int num_outputs = std::min(op.max_outputs, op.min_outputs + choices.Below(3));
  for (int i = 0; i < num_outputs; ++i) node.outputs.push_back(num_inputs + i);
  for (const AttributeSpec& spec : op.attributes) {
    if (!spec.required && choices.OneIn(2)) continue;
    node.attributes.emplace(spec.name, MakeAttribute(choices, spec.type));
  }
  if (!VerifyNode(node).ok()) return;

  std::vector<TensorView> inputs;
  for (const Constant& tensor : tensors) inputs.push_back(tensor.view());
  std::vector<TensorView> outputs(node.outputs.size());
  if (!InferNode(node, inputs, outputs, nullptr).ok()) return;
  for (const TensorView& output : outputs) {
    const auto count = NumElements(output.shape);
    if (!count.ok() || *count > kMaxElements) return;
  }
  CheckSymbols(choices, node, inputs, outputs);
  (void)EvaluateNode(node, inputs);
}

}  // namespace
}  // namespace verdict

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  verdict::Try(verdict::Choices({data, size}));
  return 0;
}
