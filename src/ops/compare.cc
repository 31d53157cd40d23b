#include <cmath>

#include "ops/elementwise.h"
#include "ops/list.h"

namespace verdict {
namespace {

using EqualTypes = Types<float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t,
                         uint32_t, uint64_t, bool, std::string_view>;
using BoolType = Types<bool>;

}  // namespace

const OpDef kEqualOp = CompareOp("Equal", EqualTypes{}, [](auto a, auto b) { return a == b; });
const OpDef kGreaterOp = CompareOp("Greater", NumericTypes{}, [](auto a, auto b) { return a > b; });
const OpDef kGreaterOrEqualOp =
    CompareOp("GreaterOrEqual", NumericTypes{}, [](auto a, auto b) { return a >= b; });
const OpDef kLessOp = CompareOp("Less", NumericTypes{}, [](auto a, auto b) { return a < b; });
const OpDef kLessOrEqualOp =
    CompareOp("LessOrEqual", NumericTypes{}, [](auto a, auto b) { return a <= b; });

const OpDef kAndOp = CompareOp("And", BoolType{}, [](bool a, bool b) { return a && b; });
const OpDef kOrOp = CompareOp("Or", BoolType{}, [](bool a, bool b) { return a || b; });
const OpDef kXorOp = CompareOp("Xor", BoolType{}, [](bool a, bool b) { return a != b; });
const OpDef kNotOp = UnaryOp("Not", BoolType{}, [](bool x) { return !x; });

}  // namespace verdict
