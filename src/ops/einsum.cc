#include <array>
#include <string>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

/// One or two operands, one letter an axis, no ellipsis: what attention, bilinear layers and
/// mixtures of experts are written with. A letter in the inputs that is not in the output is summed
/// over.
constexpr size_t kMaxOperands = 2;

struct Term {
  std::array<char, Shape::kMaxRank> labels{};
  int rank = 0;

  int Find(char label) const {
    for (int axis = 0; axis < rank; ++axis) {
      if (labels[static_cast<size_t>(axis)] == label) return axis;
    }
    return -1;
  }
  char operator[](int axis) const { return labels[static_cast<size_t>(axis)]; }
};

struct Equation {
  std::array<Term, kMaxOperands> operands;
  size_t num_operands = 0;
  Term output;
};

enum class ParseError { kNone, kLetter, kRank, kOperands, kOutput };

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

ParseError ParseTerm(std::string_view text, Term* term) {
  for (char c : text) {
    if (c == ' ') continue;
    if (!IsLetter(c)) return ParseError::kLetter;
    if (term->rank == Shape::kMaxRank) return ParseError::kRank;
    term->labels[static_cast<size_t>(term->rank++)] = c;
  }
  return ParseError::kNone;
}

/// How often a label stands in the operands.
int Count(const Equation& equation, char label) {
  int count = 0;
  for (const Term& term : equation.operands) {
    for (int axis = 0; axis < term.rank; ++axis) count += term[axis] == label ? 1 : 0;
  }
  return count;
}

ParseError Parse(std::string_view text, Equation* equation) {
  const size_t arrow = text.find("->");
  std::string_view operands = text.substr(0, arrow);
  while (true) {
    if (equation->num_operands == kMaxOperands) return ParseError::kOperands;
    const size_t comma = operands.find(',');
    Term& term = equation->operands[equation->num_operands++];
    if (const auto error = ParseTerm(operands.substr(0, comma), &term);
        error != ParseError::kNone) {
      return error;
    }
    if (comma == std::string_view::npos) break;
    operands.remove_prefix(comma + 1);
  }
  if (arrow != std::string_view::npos) {
    if (const auto error = ParseTerm(text.substr(arrow + 2), &equation->output);
        error != ParseError::kNone) {
      return error;
    }
  } else {
    // Without an output: the letters that stand once, in alphabetical order, capitals first.
    for (char label = 'A'; label <= 'z'; ++label) {
      if (!IsLetter(label) || Count(*equation, label) != 1) continue;
      if (equation->output.rank == Shape::kMaxRank) return ParseError::kRank;
      equation->output.labels[static_cast<size_t>(equation->output.rank++)] = label;
    }
  }
  for (int axis = 0; axis < equation->output.rank; ++axis) {
    const char label = equation->output[axis];
    if (Count(*equation, label) == 0 || equation->output.Find(label) != axis) {
      return ParseError::kOutput;
    }
  }
  return ParseError::kNone;
}

/// The extent of a label, or nothing if operands disagree or no operand has it.
bool LabelExtent(const Equation& equation, std::span<const TensorView> inputs, char label,
                 Dim* extent) {
  bool found = false;
  for (size_t i = 0; i < equation.num_operands; ++i) {
    for (int axis = 0; axis < equation.operands[i].rank; ++axis) {
      if (equation.operands[i][axis] != label) continue;
      const Dim dim = inputs[i].shape[axis];
      if (found && !MayEqual(*extent, dim)) return false;
      *extent = found ? MoreKnown(*extent, dim) : dim;
      found = true;
    }
  }
  return found;
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, FloatTypes{}));
  const std::string_view text = context.attributes().String("equation", "");
  Equation equation;
  const ParseError error = Parse(text, &equation);
  if (error == ParseError::kOutput) {
    return context.Error("equation '" + std::string(text) +
                         "': each letter of the output must be in an input, and once");
  }
  if (error != ParseError::kNone) {
    return Unimplemented(Graph::Describe(context.node) + ": equation '" + std::string(text) +
                         "' is not supported: at most two operands, of at most 8 axes, one letter "
                         "an axis, no ellipsis");
  }
  if (equation.num_operands != context.inputs.size()) {
    return context.Error("equation '" + std::string(text) + "' has " +
                         std::to_string(equation.num_operands) + " operands, but the node has " +
                         std::to_string(context.inputs.size()) + " inputs");
  }
  for (size_t i = 0; i < equation.num_operands; ++i) {
    const int rank = equation.operands[i].rank;
    VERDICT_RETURN_IF_ERROR(RequireRank(context, i, "operand", rank, rank));
  }
  int summed = 0;
  for (size_t i = 0; i < equation.num_operands; ++i) {
    const Term& term = equation.operands[i];
    for (int axis = 0; axis < term.rank; ++axis) {
      Dim extent = 0;
      if (!LabelExtent(equation, context.inputs, term[axis], &extent)) {
        return context.Error("equation '" + std::string(text) + "': '" + term[axis] +
                             "' has two extents, in input " + std::to_string(i) + " of shape " +
                             ShapeText(context, context.inputs[i].shape) + " and elsewhere");
      }
      const bool first =
          term.Find(term[axis]) == axis && (i == 0 || equation.operands[0].Find(term[axis]) < 0);
      if (first && equation.output.Find(term[axis]) < 0) ++summed;
    }
  }
  if (summed > Shape::kMaxRank) {
    return Unimplemented(Graph::Describe(context.node) + ": sums over more than 8 axes");
  }
  Shape output;
  for (int axis = 0; axis < equation.output.rank; ++axis) {
    Dim extent = 0;
    VERDICT_CHECK(LabelExtent(equation, context.inputs, equation.output[axis], &extent));
    output.push_back(extent);
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

/// Labels with their extents and each operand's strides along them.
struct Axes {
  Shape extents;
  std::array<Strides, kMaxOperands> strides{};

  void Add(const Equation& equation, std::span<const TensorView> inputs, char label) {
    Dim extent = 0;
    VERDICT_CHECK(LabelExtent(equation, inputs, label, &extent));
    for (size_t i = 0; i < equation.num_operands; ++i) {
      const Strides dense = DenseStrides(inputs[i].shape);
      // A letter that an operand has twice walks its diagonal.
      for (int axis = 0; axis < equation.operands[i].rank; ++axis) {
        if (equation.operands[i][axis] == label) {
          strides[i][static_cast<size_t>(extents.rank())] += dense[static_cast<size_t>(axis)];
        }
      }
    }
    extents.push_back(extent);
  }
};

Status Run(KernelContext& context) {
  Equation equation;
  if (Parse(context.attributes().String("equation", ""), &equation) != ParseError::kNone) {
    return context.Error("the equation cannot be read");
  }
  Axes kept;
  Axes summed;
  for (int axis = 0; axis < equation.output.rank; ++axis) {
    kept.Add(equation, context.inputs, equation.output[axis]);
  }
  for (size_t i = 0; i < equation.num_operands; ++i) {
    const Term& term = equation.operands[i];
    for (int axis = 0; axis < term.rank; ++axis) {
      const bool first =
          term.Find(term[axis]) == axis && (i == 0 || equation.operands[0].Find(term[axis]) < 0);
      if (first && equation.output.Find(term[axis]) < 0) {
        summed.Add(equation, context.inputs, term[axis]);
      }
    }
  }
  const StridedWalk<2> outer(kept.extents, kept.strides);
  const StridedWalk<2> inner(summed.extents, summed.strides);
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&]<typename T>(T) {
    const T* a = context.in<T>(0).data();
    const T* b = equation.num_operands > 1 ? context.in<T>(1).data() : nullptr;
    T* y = context.out<T>(0).data();
    outer.ForEach([&](const auto& start) {
      double sum = 0;
      inner.ForEach([&](const auto& step) {
        const double left = a[start[0] + step[0]];
        sum += b == nullptr ? left : left * static_cast<double>(b[start[1] + step[1]]);
      });
      *y++ = static_cast<T>(sum);
    });
    return OkStatus();
  });
}

constexpr AttributeSpec kAttributes[] = {{"equation", AttributeType::kString, true}};

}  // namespace

const OpDef kEinsumOp = {.name = "Einsum",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = kAttributes,
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
