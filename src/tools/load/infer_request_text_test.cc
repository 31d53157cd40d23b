#include "tools/load/infer_request_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace verdict::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RequestInputs Inputs() {
  const float values[] = {0.5F, -2};
  RequestInputs inputs;
  inputs.emplace_back("x", Constant::Of<float>(Shape{1, 2}, values));
  inputs.emplace_back("s", Constant::OfStrings(Shape{1}, {"a\"b"}));
  return inputs;
}

HttpRequestOptions Options() {
  return {.host = "h:1", .target = "/v2/models/m/infer", .headers = {}};
}

TEST(InferRequestText, CarriesJsonTensors) {
  HttpRequestOptions options = Options();
  options.json = true;
  const auto text = InferRequestText(Inputs(), options);
  ASSERT_TRUE(text.ok());
  const std::string body =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.5,-2]},)"
      R"({"name":"s","datatype":"BYTES","shape":[1],"data":["a\"b"]}]})";
  EXPECT_EQ(*text, "POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\nContent-Type: application/json\r\n\r\n" +
                       body);
}

TEST(InferRequestText, CarriesRawTensorsBehindTheJsonText) {
  const auto text = InferRequestText(Inputs(), Options());
  ASSERT_TRUE(text.ok());
  const std::string json =
      R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"FP32",)"
      R"("shape":[1,2],"parameters":{"binary_data_size":8}},{"name":"s","datatype":"BYTES",)"
      R"("shape":[1],"parameters":{"binary_data_size":7}}]})";
  EXPECT_THAT(*text, HasSubstr("\r\nInference-Header-Content-Length: " +
                               std::to_string(json.size()) + "\r\n\r\n" + json));
  EXPECT_THAT(*text, HasSubstr("\r\nContent-Length: " + std::to_string(json.size() + 15) + "\r\n"));
  const std::string raw = text->substr(text->find(json) + json.size());
  ASSERT_EQ(raw.size(), 15u);
  float second = 0;
  std::memcpy(&second, raw.data() + 4, sizeof(second));
  EXPECT_EQ(second, -2);
  EXPECT_EQ(raw.substr(8), std::string("\3\0\0\0a\"b", 7));
}

TEST(InferRequestText, CarriesDeadlinePriorityAndHeaders) {
  HttpRequestOptions options = Options();
  options.has_deadline = true;
  options.priority = 2;
  options.headers = {{"Authorization", "Bearer t"}, {"X-A", "b"}};
  auto text = InferRequestText(Inputs(), options);
  ASSERT_TRUE(text.ok());
  const size_t bytes = text->size();
  const size_t offset = DeadlineOffset(*text);
  EXPECT_EQ(DeadlineOffset(RawRequestText("{}", options)), offset);
  SetDeadline(&*text, offset, 2500);
  EXPECT_THAT(*text, HasSubstr("\r\nVerdict-Deadline-Us:       2500\r\n"));
  SetDeadline(&*text, offset, 3'600'000'000);
  EXPECT_THAT(*text, HasSubstr("\r\nVerdict-Deadline-Us: 3600000000\r\n"));
  EXPECT_EQ(text->size(), bytes);
  EXPECT_THAT(*text, HasSubstr("\r\nAuthorization: Bearer t\r\nX-A: b\r\n"));
  EXPECT_THAT(*text, HasSubstr(R"("parameters":{"binary_data_output":true,"priority":2})"));
  options.json = true;
  EXPECT_THAT(*InferRequestText(Inputs(), options), HasSubstr(R"({"parameters":{"priority":2},)"));
}

TEST(InferRequestText, RefusesInJsonWhatJsonDoesNotCarry) {
  const float values[] = {NAN};
  RequestInputs inputs;
  inputs.emplace_back("x", Constant::Of<float>(Shape{1}, values));
  HttpRequestOptions options = Options();
  EXPECT_TRUE(InferRequestText(inputs, options).ok());
  options.json = true;
  EXPECT_THAT(InferRequestText(inputs, options).status().message(),
              HasSubstr("input 'x' has values that JSON does not carry"));
}

TEST(RawRequestText, SendsTheBodyAsItIs) {
  EXPECT_EQ(RawRequestText("{}", Options()),
            "POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n"
            "Content-Type: application/json\r\n\r\n{}");
}

TEST(ModelTarget, EscapesWhatAPathMayNotHold) {
  EXPECT_EQ(ModelTarget("fraud-1.2_x", ""), "/v2/models/fraud-1.2_x");
  EXPECT_EQ(ModelTarget("a/b c\r\n", "7"), "/v2/models/a%2Fb%20c%0D%0A/versions/7");
}

TEST(GetRequestText, HasNoBody) {
  EXPECT_EQ(GetRequestText("/v2", Options()), "GET /v2 HTTP/1.1\r\nHost: h:1\r\n\r\n");
}

}  // namespace
}  // namespace verdict::load
