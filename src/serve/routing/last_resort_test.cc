#include "serve/routing/last_resort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

Route::Signature SignatureOf(const Shape& output) {
  Route::Signature signature;
  signature.inputs.push_back({.name = "x", .dtype = DataType::kFloat32, .shape = {-1, -1}});
  signature.outputs.push_back({.name = "y", .dtype = DataType::kFloat32, .shape = output});
  signature.constants = {0.25F};
  return signature;
}

InferRequest RequestOf(const Shape& shape) {
  InferRequest request;
  request.inputs.push_back({DataType::kFloat32, shape, nullptr});
  return request;
}

TEST(LastResort, HasAValueForEachRow) {
  const auto last = LastResort::Make(SignatureOf({-1, 2}), RequestOf({3, 5}));
  ASSERT_TRUE(last.ok()) << last.status().ToString();
  ASSERT_EQ(last->views().size(), 1U);
  EXPECT_EQ(last->views()[0].shape, (Shape{3, 2}));
  EXPECT_THAT(last->views()[0].as<float>(), testing::Each(0.25F));
}

/// Rows that take no byte of the request: an extent of 0 beside them.
TEST(LastResort, RowsThatCostNothingAreRefused) {
  for (const int64_t rows : {int64_t{1} << 21, int64_t{1} << 61}) {
    for (const Shape& output : {Shape{-1, 1}, Shape{-1, 4}}) {
      const auto last = LastResort::Make(SignatureOf(output), RequestOf({rows, 0}));
      EXPECT_EQ(last.status().code(), StatusCode::kInvalidArgument) << rows;
    }
  }
}

}  // namespace
}  // namespace verdict
