#include "serve/endpoints/infer_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace verdict {
namespace {

using testing::HasSubstr;

class InferResponse : public testing::Test {
 protected:
  template <typename T, size_t n>
  void Add(const char* name, Shape shape, T (&values)[n], bool binary) {
    specs_.push_back({name, kDataTypeOf<T>, shape});
    results_.push_back({kDataTypeOf<T>, shape, values});
    request_.outputs.push_back({specs_.size() - 1, binary});
  }
  Status Write() {
    body_.clear();
    return WriteInferResponse("m", "3", request_, specs_, results_, &body_, &json_bytes_);
  }
  std::vector<TensorSpec> specs_;
  std::vector<TensorView> results_;
  InferRequest request_;
  std::string body_;
  std::optional<size_t> json_bytes_;
};

TEST_F(InferResponse, JsonHoldsIdShapesAndShortestNumbers) {
  float scores[] = {0.1f, 1.0f, -2.5e-20f};
  bool flags[] = {true, false};
  uint8_t bytes[] = {255};
  std::string_view texts[] = {"a\"b", ""};
  Add("p", {1, 3}, scores, false);
  Add("f", {2}, flags, false);
  Add("b", {1}, bytes, false);
  Add("t", {2}, texts, false);
  request_.id = "r\"1";
  ASSERT_TRUE(Write().ok());
  EXPECT_FALSE(json_bytes_.has_value());
  EXPECT_EQ(body_, R"({"model_name":"m","model_version":"3","id":"r\"1","outputs":[)"
                   R"({"name":"p","datatype":"FP32","shape":[1,3],"data":[0.1,1,-2.5e-20]},)"
                   R"({"name":"f","datatype":"BOOL","shape":[2],"data":[true,false]},)"
                   R"({"name":"b","datatype":"UINT8","shape":[1],"data":[255]},)"
                   R"({"name":"t","datatype":"BYTES","shape":[2],"data":["a\"b",""]}]})");
}

TEST_F(InferResponse, BinaryTensorsFollowTheJsonInOrder) {
  float scores[] = {0.1f, std::numeric_limits<float>::infinity()};
  int64_t labels[] = {7};
  std::string_view texts[] = {"hi", ""};
  Add("p", {2}, scores, true);
  Add("l", {1}, labels, false);
  Add("t", {2}, texts, true);
  ASSERT_TRUE(Write().ok());
  ASSERT_TRUE(json_bytes_.has_value());
  EXPECT_EQ(
      body_.substr(0, *json_bytes_),
      R"({"model_name":"m","model_version":"3","outputs":[)"
      R"({"name":"p","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}},)"
      R"({"name":"l","datatype":"INT64","shape":[1],"data":[7]},)"
      R"({"name":"t","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}}]})");
  std::string raw(reinterpret_cast<const char*>(scores), 8);
  raw.append("\2\0\0\0hi\0\0\0\0", 10);
  EXPECT_EQ(body_.substr(*json_bytes_), raw);
}

TEST_F(InferResponse, WhatJsonCannotCarryIsAnErrorThatNamesTheOutput) {
  float scores[] = {0.5f, std::nanf("")};
  Add("p", {2}, scores, false);
  const Status status = Write();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("output 'p': element 1 is NaN"));
  EXPECT_THAT(status.message(), HasSubstr("binary_data"));
  scores[1] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(Write().message(), HasSubstr("element 1 is infinite"));
  scores[1] = 1;
  EXPECT_TRUE(Write().ok());
  std::string_view texts[] = {"\xff"};
  Add("t", {1}, texts, false);
  EXPECT_THAT(Write().message(), HasSubstr("output 't': element 0 is not UTF-8"));
  request_.outputs[1].binary = true;
  uint16_t halves[] = {0x3c00};
  Add("h", {1}, halves, false);
  results_[2].dtype = DataType::kFloat16;
  EXPECT_EQ(Write().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Write().message(), HasSubstr("output 'h': is FP16, which JSON cannot carry"));
  EXPECT_THAT(Write().message(), HasSubstr("binary_data"));
  request_.outputs[2].binary = true;
  EXPECT_TRUE(Write().ok());
}

}  // namespace
}  // namespace verdict
