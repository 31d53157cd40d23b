#include "tools/load/grpc_message.h"

#include <gtest/gtest.h>

#include "inference.pb.h"

namespace verdict::load {
namespace {

TEST(GrpcInferRequest, CarriesRawTensors) {
  const float values[] = {0.5F, -2};
  RequestInputs inputs;
  inputs.emplace_back("x", Constant::Of<float>(Shape{1, 2}, values));
  inputs.emplace_back("s", Constant::OfStrings(Shape{1}, {"abc"}));
  const auto bytes = GrpcInferRequest(inputs, {.model = "m", .version = "3", .priority = 2});
  ASSERT_TRUE(bytes.ok());
  inference::ModelInferRequest request;
  ASSERT_TRUE(request.ParseFromString(*bytes + GrpcTimeoutParameter(1500)));
  EXPECT_EQ(request.model_name(), "m");
  EXPECT_EQ(request.model_version(), "3");
  EXPECT_EQ(request.parameters().at("timeout").int64_param(), 1500);
  EXPECT_EQ(request.parameters().at("priority").uint64_param(), 2u);
  ASSERT_EQ(request.inputs_size(), 2);
  EXPECT_EQ(request.inputs(0).name(), "x");
  EXPECT_EQ(request.inputs(0).datatype(), "FP32");
  EXPECT_EQ(request.inputs(0).shape(1), 2);
  EXPECT_EQ(request.raw_input_contents(0), std::string("\0\0\0\x3f\0\0\0\xc0", 8));
  EXPECT_EQ(request.raw_input_contents(1), std::string("\3\0\0\0abc", 7));
}

TEST(GrpcMetadata, IsReadAndChecked) {
  inference::ModelMetadataResponse response;
  auto& input = *response.add_inputs();
  input.set_name("x");
  input.set_datatype("INT64");
  input.add_shape(-1);
  const auto specs = ParseGrpcMetadata(response.SerializeAsString());
  ASSERT_TRUE(specs.ok());
  ASSERT_EQ(specs->size(), 1u);
  EXPECT_EQ(specs->front().dtype, DataType::kInt64);
  EXPECT_EQ(specs->front().shape, std::vector<int64_t>{-1});
  input.set_shape(0, -2);
  EXPECT_FALSE(ParseGrpcMetadata(response.SerializeAsString()).ok());
  input.set_shape(0, 1);
  input.set_datatype("FP31");
  EXPECT_FALSE(ParseGrpcMetadata(response.SerializeAsString()).ok());
  EXPECT_FALSE(ParseGrpcMetadata("\xff\xff").ok());
}

TEST(GrpcStreamError, IsEmptyForAnAnswer) {
  inference::ModelStreamInferResponse response;
  EXPECT_EQ(GrpcStreamError(response.SerializeAsString()), "");
  response.mutable_infer_response()->set_model_name("m");
  EXPECT_EQ(GrpcStreamError(response.SerializeAsString()), "");
  response.set_error_message("no such model");
  EXPECT_EQ(GrpcStreamError(response.SerializeAsString()), "no such model");
  EXPECT_EQ(GrpcStreamError("\x0a\xff"), "not a ModelStreamInferResponse");
}

}  // namespace
}  // namespace verdict::load
