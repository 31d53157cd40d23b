#include "tools/bind_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using testing::HasSubstr;

Graph TwoInputs() {
  Graph graph;
  graph.AddInput("x", DataType::kFloat32, Shape{graph.Symbol("N"), 2});
  graph.AddInput("s", DataType::kString, Shape{graph.Symbol("N")});
  return graph;
}

NamedTensors Good() {
  NamedTensors tensors;
  tensors.emplace("s", Constant::OfStrings({1}, {"a"}));
  tensors.emplace("x", Constant::Of<float>({1, 2}, std::vector<float>{1, 2}));
  return tensors;
}

std::string Error(const NamedTensors& tensors) {
  return BindInputs(TwoInputs(), tensors, "in.npz").status().message();
}

TEST(BindInputs, OrdersTensorsAsTheModelDoes) {
  const NamedTensors tensors = Good();
  const auto views = BindInputs(TwoInputs(), tensors, "in.npz");
  ASSERT_TRUE(views.ok()) << views.status().ToString();
  EXPECT_EQ((*views)[0].data, tensors.at("x").data);
  EXPECT_EQ((*views)[1].data, tensors.at("s").data);
}

TEST(BindInputs, NamesAMissingTensor) {
  NamedTensors tensors = Good();
  auto node = tensors.extract("x");
  node.key() = "X";
  tensors.insert(std::move(node));
  EXPECT_EQ(Error(tensors),
            "in.npz: there is no tensor 'x' (float32 [N,2]); the file has 'X', 's'");
}

TEST(BindInputs, NamesAnExtraTensor) {
  NamedTensors tensors = Good();
  tensors.emplace("y", tensors.at("x"));
  EXPECT_EQ(Error(tensors),
            "in.npz: the model has no input 'y'; its inputs are x (float32 [N,2]), s (str [N])");
}

TEST(BindInputs, HintsAtTheCast) {
  NamedTensors tensors = Good();
  tensors.at("x") = Constant::Of<double>({1, 2}, std::vector<double>{1, 2});
  EXPECT_EQ(Error(tensors),
            "in.npz: tensor 'x' is float64 [1,2], the model takes float32 [N,2]; save "
            "x.astype('float32')");
  tensors = Good();
  tensors.at("s") = Constant::Of<int64_t>({1}, std::vector<int64_t>{1});
  EXPECT_THAT(Error(tensors), HasSubstr("'s' is int64 [1], the model takes str [N]; save "
                                        "s.astype('U')"));
}

TEST(BindInputs, RefusesAnotherRankOrFixedExtent) {
  NamedTensors tensors = Good();
  tensors.at("x") = Constant::Of<float>({2}, std::vector<float>{1, 2});
  EXPECT_THAT(Error(tensors), HasSubstr("'x' is float32 [2], the model takes float32 [N,2]"));
  tensors.at("x") = Constant::Of<float>({1, 3}, std::vector<float>{1, 2, 3});
  EXPECT_THAT(Error(tensors), HasSubstr("'x' is float32 [1,3], the model takes float32 [N,2]"));
}

}  // namespace
}  // namespace verdict
