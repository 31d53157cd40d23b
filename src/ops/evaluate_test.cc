#include "ops/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/op_test.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Evaluate, StringResultsOwnTheirCharacters) {
  // Longer than what std::string keeps within itself.
  const std::string first(40, 'a'), second(50, 'b');
  Constant result;
  const void* source = nullptr;
  {
    const Constant labels = Constant::OfStrings({2}, {first, second});
    source = labels.view().as<const std::string_view>()[1].data();
    result = Compute("Gather", {labels, Ints({1, 0})});
  }
  EXPECT_THAT(Values<std::string_view>(result), ElementsAre(second, first));
  EXPECT_NE(result.view().as<const std::string_view>()[0].data(), source);
}

TEST(Evaluate, RefusesStringsThatWouldNotFit) {
  const Constant labels = Constant::OfStrings({1}, {std::string(size_t{1} << 20, 'a')});
  EXPECT_THAT(Message("Expand", {labels, Ints({4097})}), HasSubstr("strings would take more than"));
}

TEST(Evaluate, RefusesScratchThatWouldNotFit) {
  // The batch is empty, but one sample's state is not; nothing gets to read the weights.
  const Dim hidden = Dim{1} << 30;
  const std::vector<TensorView> inputs = {{DataType::kFloat32, {1, 0, 1}, nullptr},
                                          {DataType::kFloat32, {1, 3 * hidden, 1}, nullptr},
                                          {DataType::kFloat32, {1, 3 * hidden, hidden}, nullptr}};
  const auto results = EvaluateNode(MakeNode("GRU", 3), inputs);
  EXPECT_EQ(results.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(results.status().message(), HasSubstr("bytes of scratch"));
}

}  // namespace
}  // namespace verdict
