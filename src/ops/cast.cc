#include "ops/cast.h"

#include <charconv>

#include "ops/dispatch.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

using NumberTypes = Types<float, double, Float16, BFloat16, int8_t, int16_t, int32_t, int64_t,
                          uint8_t, uint16_t, uint32_t, uint64_t, bool>;

Status InferTo(InferContext& context, DataType to) {
  const DataType from = context.inputs[0].dtype;
  if (to == DataType::kString && from != DataType::kString) {
    return Unimplemented(Graph::Describe(context.node) + ": a cast from " +
                         std::string(DataTypeName(from)) +
                         " to strings is not supported; leave the output as numbers");
  }
  if (from != DataType::kString) VERDICT_RETURN_IF_ERROR(RequireType(context, 0, NumberTypes{}));
  context.SetOutput(0, to, context.inputs[0].shape);
  return OkStatus();
}

Status InferCast(InferContext& context) {
  const int64_t number = context.attributes().Int("to", 0);
  const DataType to = DataTypeFromOnnx(number);
  if (to == DataType::kUndefined) {
    return Unimplemented(Graph::Describe(context.node) + ": a cast to ONNX type " +
                         std::to_string(number) + " is not supported");
  }
  return InferTo(context, to);
}

Status InferCastLike(InferContext& context) {
  if (!context.has_input(1)) return UnsupportedType(context, 1);
  return InferTo(context, context.inputs[1].dtype);
}

/// Reads a whole text as a number: decimal or scientific, inf and nan in any case, spaces around
/// it. Integers are read as such, so that 64 bits survive.
template <typename To>
bool Parse(std::string_view text, To* value) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  if constexpr (std::is_integral_v<To> && !std::is_same_v<To, bool>) {
    const auto [stop, error] = std::from_chars(text.data(), end, *value);
    if (error == std::errc() && stop == end) return true;
  }
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return false;
  *value = CastElement<To>(number);
  return true;
}

template <typename To>
Status FromStrings(const KernelContext& context) {
  const auto x = context.in<std::string_view>(0);
  const auto y = context.out<To>(0);
  for (size_t i = 0; i < x.size(); ++i) {
    if (Parse(x[i], &y[i])) continue;
    return context.Error("element " + std::to_string(i) + " is '" +
                         std::string(x[i].substr(0, 40)) + "', which is not a number of type " +
                         std::string(DataTypeName(context.outputs[0].dtype)));
  }
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& from = context.inputs[0];
  const TensorView& to = context.outputs[0];
  if (from.dtype == to.dtype) {
    CopyElements(to.data, from.data, from.size(), ElementSize(from.dtype));
    return OkStatus();
  }
  return Dispatch(NumberTypes{}, to.dtype, [&]<typename To>(To) {
    if (from.dtype == DataType::kString) return FromStrings<To>(context);
    return Dispatch(NumberTypes{}, from.dtype, [&]<typename From>(From) {
      const auto x = context.in<From>(0);
      const auto y = context.out<To>(0);
      for (size_t i = 0; i < x.size(); ++i) y[i] = CastElement<To>(x[i]);
      return OkStatus();
    });
  });
}

// `saturate` and `round_mode` concern 8-bit floats only, which we do not have.
constexpr AttributeSpec kCastAttributes[] = {{"to", AttributeType::kInt, true},
                                             {"saturate", AttributeType::kInt},
                                             {"round_mode", AttributeType::kString}};
constexpr AttributeSpec kCastLikeAttributes[] = {{"saturate", AttributeType::kInt},
                                                 {"round_mode", AttributeType::kString}};

}  // namespace

DataType DataTypeFromOnnx(int64_t number) {
  using enum DataType;
  constexpr DataType kTypes[] = {kUndefined, kFloat32, kUInt8,     kInt8,      kUInt16,  kInt16,
                                 kInt32,     kInt64,   kString,    kBool,      kFloat16, kFloat64,
                                 kUInt32,    kUInt64,  kUndefined, kUndefined, kBFloat16};
  return number >= 0 && number < static_cast<int64_t>(std::size(kTypes))
             ? kTypes[static_cast<size_t>(number)]
             : kUndefined;
}

const OpDef kCastOp = {.name = "Cast",
                       .min_inputs = 1,
                       .max_inputs = 1,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = kCastAttributes,
                       .infer = InferCast,
                       .run = Run};

const OpDef kCastLikeOp = {.name = "CastLike",
                           .min_inputs = 2,
                           .max_inputs = 2,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attributes = kCastLikeAttributes,
                           .infer = InferCastLike,
                           .run = Run};

}  // namespace verdict
