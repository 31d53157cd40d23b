#include <algorithm>
#include <cmath>

#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"zeros", AttributeType::kInt}};

using CategoryTypes = Types<float, double, int32_t, int64_t, std::string_view>;

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, CategoryTypes{}));
  if (context.inputs[0].dtype == DataType::kString) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<std::string_view>{}));
  } else {
    VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<int64_t>{}));
  }
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 0, Shape::kMaxRank - 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "cats", 1, 1));
  Shape output = context.inputs[0].shape;
  output.push_back(context.inputs[1].shape[0]);
  context.SetOutput(0, DataType::kFloat32, output);
  return OkStatus();
}

/// Whether x, cut to an integer if it is a float, is the category.
template <typename T>
bool IsCategory(T x, int64_t category) {
  if constexpr (std::is_floating_point_v<T>) {
    // As integers: a float has no 2^24 + 1. The bounds are exact, and refuse NaN.
    return x > T{-0x1p63} && x < T{0x1p63} && static_cast<int64_t>(x) == category;
  } else {
    return static_cast<int64_t>(x) == category;
  }
}
bool IsCategory(std::string_view x, std::string_view category) { return x == category; }

template <typename T, typename Category>
Status RunTyped(KernelContext& context) {
  const auto x = context.in<T>(0);
  const auto categories = context.in<Category>(1);
  const auto y = context.out<float>(0);
  const bool refuses_unknown = context.attributes().Int("zeros", 1) == 0;
  for (size_t i = 0; i < x.size(); ++i) {
    bool known = false;
    for (size_t c = 0; c < categories.size(); ++c) {
      const bool hit = !known && IsCategory(x[i], categories[c]);
      y[i * categories.size() + c] = hit ? 1.0F : 0.0F;
      known = known || hit;
    }
    if (!known && refuses_unknown) {
      return context.Error("element " + std::to_string(i) +
                           " of X is not among the categories the model was trained with");
    }
  }
  return OkStatus();
}

Status Run(KernelContext& context) {
  return Dispatch(CategoryTypes{}, context.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    using Category = std::conditional_t<std::is_arithmetic_v<T>, int64_t, T>;
    return RunTyped<T, Category>(context);
  });
}

}  // namespace

const OpDef kOneHotEncoderOp = {.name = "OneHotEncoder",
                                .min_inputs = 2,
                                .max_inputs = 2,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attributes = kAttributes,
                                .infer = Infer,
                                .run = Run};

}  // namespace verdict
