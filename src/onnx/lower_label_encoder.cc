#include <algorithm>
#include <cmath>
#include <numeric>

#include "onnx/opset_table.h"

// Our LabelEncoder takes ascending keys, their values and the default as inputs.

namespace verdict {
namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

template <typename T>
Constant List(const std::vector<T>& values) {
  return Constant::Of<T>({static_cast<Dim>(values.size())}, values);
}

Constant List(Strings values) {
  const auto count = static_cast<Dim>(values.size());
  return Constant::OfStrings({count}, std::move(values));
}

/// Ascending, with NaN last: a total order of the keys.
template <typename T>
bool Precedes(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  }
  return a < b;
}

/// Where the keys stand in ascending order; of equal keys the first one counts.
template <typename T>
std::vector<size_t> AscendingOrder(std::span<const T> keys) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return Precedes(keys[a], keys[b]); });
  const auto repeats =
      std::ranges::unique(order, [&](size_t a, size_t b) { return !Precedes(keys[a], keys[b]); });
  order.erase(repeats.begin(), repeats.end());
  return order;
}

template <typename T>
Constant Pick(std::span<const T> values, const std::vector<size_t>& order) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    Strings picked;
    for (size_t i : order) picked.emplace_back(values[i]);
    return List(std::move(picked));
  } else {
    std::vector<T> picked;
    for (size_t i : order) picked.push_back(values[i]);
    return List(picked);
  }
}

/// Calls `function` with the elements of a list that LabelEncoder can have. False for other types.
template <typename Function>
bool WithElements(const Constant& list, Function function) {
  const TensorView view = list.view();
  switch (list.dtype) {
    case DataType::kInt64:
      function(view.as<const int64_t>());
      return true;
    case DataType::kFloat32:
      function(view.as<const float>());
      return true;
    case DataType::kFloat64:
      function(view.as<const double>());
      return true;
    case DataType::kString:
      function(view.as<const std::string_view>());
      return true;
    default:
      return false;
  }
}

Status EmitEncoder(NodeTranslation& translation, const Constant& keys, const Constant& values,
                   Constant fallback) {
  if (keys.shape.rank() != 1 || keys.shape != values.shape) {
    return translation.Error("keys and values must be lists of the same length");
  }
  if (fallback.dtype != values.dtype || fallback.view().size() != 1) {
    return translation.Error("the default must be one element of the values' type");
  }
  fallback.shape = {};
  std::vector<size_t> order;
  Constant sorted_keys;
  Constant sorted_values;
  const bool known =
      WithElements(keys,
                   [&](auto elements) {
                     order = AscendingOrder(elements);
                     sorted_keys = Pick(elements, order);
                   }) &&
      WithElements(values, [&](auto elements) { sorted_values = Pick(elements, order); });
  if (!known) {
    return translation.Unsupported("keys of type " + std::string(DataTypeName(keys.dtype)) +
                                   " with values of type " +
                                   std::string(DataTypeName(values.dtype)) +
                                   " are not supported; use i64, f32, f64 or strings");
  }
  translation.node.op = "LabelEncoder";
  translation.SetInput(1, translation.AddConstant("keys", std::move(sorted_keys)));
  translation.SetInput(2, translation.AddConstant("values", std::move(sorted_values)));
  translation.SetInput(3, translation.AddConstant("default", std::move(fallback)));
  return translation.EmitNode();
}

struct Defaults {
  int64_t number;
  std::string text;
};

Result<Defaults> TakeDefaults(NodeTranslation& translation) {
  Defaults defaults;
  VERDICT_ASSIGN_OR_RETURN(defaults.number, translation.TakeOr<int64_t>("default_int64", -1));
  VERDICT_ASSIGN_OR_RETURN(defaults.text,
                           translation.TakeOr<std::string>("default_string", "_Unused"));
  return defaults;
}

/// Between names and numbers, in the direction that the input's type tells.
Status EmitBetween(NodeTranslation& translation, const Strings& names, const Ints& numbers) {
  VERDICT_ASSIGN_OR_RETURN(const Value* input, translation.Input(0));
  const bool from_names = input->dtype == DataType::kString;
  VERDICT_ASSIGN_OR_RETURN(const Defaults defaults, TakeDefaults(translation));
  if (from_names) {
    return EmitEncoder(translation, List(names), List(numbers), List(Ints{defaults.number}));
  }
  return EmitEncoder(translation, List(numbers), List(names), List(Strings{defaults.text}));
}

/// The list in NAME_int64s, NAME_floats, NAME_strings or NAME_tensor: exactly one of them.
Result<Constant> TakeList(NodeTranslation& translation, const std::string& name) {
  VERDICT_ASSIGN_OR_RETURN(auto ints, translation.Take<Ints>(name + "_int64s"));
  VERDICT_ASSIGN_OR_RETURN(auto floats, translation.Take<Floats>(name + "_floats"));
  VERDICT_ASSIGN_OR_RETURN(auto strings, translation.Take<Strings>(name + "_strings"));
  auto tensor = translation.TakeTensor(name + "_tensor");
  const int given =
      ints.has_value() + floats.has_value() + strings.has_value() + tensor.has_value();
  if (given != 1) {
    return translation.Error("needs exactly one attribute of '" + name + "_*', has " +
                             std::to_string(given));
  }
  if (ints.has_value()) return List(*ints);
  if (floats.has_value()) return List(*floats);
  if (strings.has_value()) return List(*std::move(strings));
  return *std::move(tensor);
}

Result<Constant> DefaultFor(NodeTranslation& translation, DataType dtype) {
  VERDICT_ASSIGN_OR_RETURN(const Defaults defaults, TakeDefaults(translation));
  VERDICT_ASSIGN_OR_RETURN(const float number, translation.TakeOr("default_float", -0.0f));
  if (auto tensor = translation.TakeTensor("default_tensor")) return *std::move(tensor);
  switch (dtype) {
    case DataType::kInt64:
      return List(Ints{defaults.number});
    case DataType::kFloat64:
      return List(std::vector<double>{number});
    case DataType::kString:
      return List(Strings{defaults.text});
    default:
      return List(Floats{number});
  }
}

}  // namespace

// Version 1 numbers a list of strings.
Status LowerLabelEncoder1(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Strings classes,
                           translation.TakeOr<Strings>("classes_strings", {}));
  Ints numbers(classes.size());
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  return EmitBetween(translation, classes, numbers);
}

Status LowerLabelEncoder2(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Constant keys, TakeList(translation, "keys"));
  VERDICT_ASSIGN_OR_RETURN(const Constant values, TakeList(translation, "values"));
  VERDICT_ASSIGN_OR_RETURN(Constant fallback, DefaultFor(translation, values.dtype));
  return EmitEncoder(translation, keys, values, std::move(fallback));
}

Status LowerCategoryMapper(NodeTranslation& translation) {
  VERDICT_ASSIGN_OR_RETURN(const Ints numbers, translation.TakeOr<Ints>("cats_int64s", {}));
  VERDICT_ASSIGN_OR_RETURN(const Strings names, translation.TakeOr<Strings>("cats_strings", {}));
  return EmitBetween(translation, names, numbers);
}

}  // namespace verdict
