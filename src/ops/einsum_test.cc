#include <gmock/gmock.h>

#include "ops/infer.h"
#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Attributes Equation(std::string text) { return {{"equation", std::move(text)}}; }

TEST(Einsum, ProductsOfTwo) {
  const auto a = Tensor<float>({2, 2}, {1, 2, 3, 4});
  const auto b = Tensor<float>({2, 2}, {5, 6, 7, 8});
  const auto einsum = [&](std::string text) {
    return Values<float>(Compute("Einsum", {a, b}, Equation(std::move(text))));
  };
  EXPECT_THAT(einsum("ij,jk->ik"), ElementsAre(19, 22, 43, 50));
  EXPECT_THAT(einsum("ij, kj -> ik"), ElementsAre(17, 23, 39, 53));
  EXPECT_THAT(einsum("ij,ij->"), ElementsAre(70));
  EXPECT_THAT(einsum("ij,ij->i"), ElementsAre(17, 53));
  EXPECT_THAT(einsum("ij,jk"), ElementsAre(19, 22, 43, 50));
  EXPECT_THAT(einsum("ii,jj->"), ElementsAre(65));
}

TEST(Einsum, ManyAxesAndOneOperand) {
  const auto x = Tensor<float>({1, 2}, {1, 2});
  const auto experts = Iota({2, 2, 3});
  const auto y = Compute("Einsum", {x, experts}, Equation("bi,kio->bko"));
  EXPECT_EQ(y.shape, (Shape{1, 2, 3}));
  EXPECT_THAT(Values<float>(y), ElementsAre(6, 9, 12, 24, 27, 30));
  EXPECT_THAT(Values<float>(Compute("Einsum", {Iota({2, 2})}, Equation("ij->ji"))),
              ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(Values<float>(Compute("Einsum", {Iota({2, 2})}, Equation("ii->i"))),
              ElementsAre(0, 3));
  EXPECT_THAT(Values<float>(Compute("Einsum", {Iota({2, 2})}, Equation("ba"))),
              ElementsAre(0, 2, 1, 3));
}

TEST(Einsum, RefusesBadEquations) {
  const auto a = Iota({2, 3});
  EXPECT_THAT(Message("Einsum", {a, a}, Equation("ij,jk->ik")), HasSubstr("'j' has two extents"));
  EXPECT_THAT(Message("Einsum", {a, a}, Equation("ijk,jk->ik")),
              HasSubstr("input 0 (operand) has shape [2,3], needs 3 dimensions"));
  EXPECT_THAT(Message("Einsum", {a}, Equation("ij,jk->ik")), HasSubstr("has 2 operands"));
  EXPECT_THAT(Message("Einsum", {a}, Equation("ij->ik")), HasSubstr("each letter of the output"));
  EXPECT_THAT(Message("Einsum", {a}, Equation("ij->ii")), HasSubstr("each letter of the output"));
  for (const char* text : {"...j->j", "ij,jk,kl->il", "abcdefghi->a", "i1->i"}) {
    EXPECT_THAT(Message("Einsum", {a}, Equation(text)), HasSubstr("is not supported")) << text;
  }
}

TEST(Einsum, ShapeRuleKeepsSymbols) {
  Graph graph;
  const Dim n = graph.Symbol("N");
  const TensorView x{DataType::kFloat32, {n, 4}, nullptr};
  const TensorView w{DataType::kFloat32, {4, 5}, nullptr};
  std::vector<TensorView> outputs(1);
  ASSERT_TRUE(
      InferNode(MakeNode("Einsum", 2, Equation("bi,io->bo")), std::vector{x, w}, outputs, &graph)
          .ok());
  EXPECT_EQ(outputs[0].shape, (Shape{n, 5}));
}

}  // namespace
}  // namespace verdict
