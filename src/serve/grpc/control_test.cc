#include "serve/grpc/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "inference.pb.h"
#include "serve/grpc/message_bytes.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The endpoint's call that a request becomes.
Result<ControlCall> Request(const char* method, const google::protobuf::MessageLite& message) {
  grpc::ByteBuffer bytes;
  VERDICT_RETURN_IF_ERROR(WriteMessage(message, &bytes));
  ControlCall call;
  VERDICT_RETURN_IF_ERROR(FindControlMethod(method)->request(bytes, &call));
  return call;
}

/// The message that an endpoint's JSON text becomes.
template <typename Message>
Message Response(const char* method, const std::string& json) {
  grpc::ByteBuffer bytes;
  const Status status = FindControlMethod(method)->response(OkStatus(), json, &bytes);
  EXPECT_TRUE(status.ok()) << status.ToString();
  Message message;
  EXPECT_TRUE(ReadMessage(bytes, &message).ok());
  return message;
}

TEST(ControlMethods, CoverTheServiceButInference) {
  const auto* service = inference::ModelInferRequest::descriptor()->file()->service(0);
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string& name = service->method(i)->name();
    const bool is_inference = name == "ModelInfer" || name == "ModelStreamInfer";
    EXPECT_EQ(FindControlMethod(name) == nullptr, is_inference) << name;
  }
}

TEST(ControlMethods, RepositoryParametersKeepTheirTypes) {
  inference::RepositoryModelLoadRequest message;
  message.set_model_name("m");
  (*message.mutable_parameters())["config"].set_string_param("{\"a\": 1}");
  auto call = Request("RepositoryModelLoad", message);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->verb, Verb::kPost);
  EXPECT_EQ(call->path, "/v2/repository/models/{model}/load");
  EXPECT_EQ(call->name, "m");
  EXPECT_EQ(call->json, R"({"parameters":{"config":"{\"a\": 1}"}})");
  message.clear_parameters();
  (*message.mutable_parameters())["file:1/model.engine"].set_bytes_param("\xff\x01");
  call = Request("RepositoryModelLoad", message);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->json, R"({"parameters":{"file:1/model.engine":"/wE="}})");
  message.set_repository_name("other");
  EXPECT_EQ(Request("RepositoryModelLoad", message).status().code(), StatusCode::kUnimplemented);
}

TEST(ControlMethods, SharedMemoryStatusIsAMapByName) {
  const auto message = Response<inference::SystemSharedMemoryStatusResponse>(
      "SystemSharedMemoryStatus",
      R"([{"name":"a","key":"/a","offset":4,"byte_size":4294967296},{"name":"b"}])");
  ASSERT_EQ(message.regions_size(), 2);
  const auto& region = message.regions().at("a");
  EXPECT_EQ(region.key(), "/a");
  EXPECT_EQ(region.offset(), 4u);
  EXPECT_EQ(region.byte_size(), 4294967296u);
}

TEST(ControlMethods, SharedMemoryOfOneRegionOrAll) {
  inference::SystemSharedMemoryUnregisterRequest message;
  EXPECT_EQ(Request("SystemSharedMemoryUnregister", message)->path,
            "/v2/systemsharedmemory/unregister");
  message.set_name("a");
  const auto call = Request("SystemSharedMemoryUnregister", message);
  EXPECT_EQ(call->path, "/v2/systemsharedmemory/region/{region}/unregister");
  EXPECT_EQ(call->name, "a");
}

TEST(ControlMethods, TraceSettingsAreListsOfText) {
  inference::TraceSettingRequest request;
  EXPECT_EQ(Request("TraceSetting", request)->verb, Verb::kGet);
  (*request.mutable_settings())["trace_level"].add_value("TIMESTAMPS");
  EXPECT_EQ(Request("TraceSetting", request)->json, R"({"trace_level":["TIMESTAMPS"]})");
  request.clear_settings();
  (*request.mutable_settings())["trace_rate"].add_value("100");
  EXPECT_EQ(Request("TraceSetting", request)->json, R"({"trace_rate":"100"})");
  request.mutable_settings()->at("trace_rate").clear_value();
  EXPECT_EQ(Request("TraceSetting", request)->json, R"({"trace_rate":null})");
  const auto response = Response<inference::TraceSettingResponse>(
      "TraceSetting", R"({"trace_level":["TIMESTAMPS","TENSORS"],"trace_rate":"1000"})");
  EXPECT_THAT(response.settings().at("trace_level").value(), ElementsAre("TIMESTAMPS", "TENSORS"));
  EXPECT_THAT(response.settings().at("trace_rate").value(), ElementsAre("1000"));
}

TEST(ControlMethods, LogSettingsKeepTheirTypes) {
  inference::LogSettingsRequest request;
  (*request.mutable_settings())["log_verbose_level"].set_uint32_param(2);
  EXPECT_EQ(Request("LogSettings", request)->json, R"({"log_verbose_level":2})");
  const auto response = Response<inference::LogSettingsResponse>(
      "LogSettings", R"({"log_info":true,"log_verbose_level":1,"log_file":"f"})");
  EXPECT_TRUE(response.settings().at("log_info").bool_param());
  EXPECT_EQ(response.settings().at("log_verbose_level").uint32_param(), 1u);
  EXPECT_EQ(response.settings().at("log_file").string_param(), "f");
}

TEST(ControlMethods, StatisticsTakeWholeNumbers) {
  const auto message = Response<inference::ModelStatisticsResponse>(
      "ModelStatistics",
      R"({"model_stats":[{"name":"m","inference_count":18446744073709551615,"ours":1}]})");
  EXPECT_EQ(message.model_stats(0).inference_count(), 18446744073709551615u);
}

TEST(ControlMethods, AnUnfittingReplyIsOurFault) {
  grpc::ByteBuffer bytes;
  for (const char* method : {"ServerMetadata", "SystemSharedMemoryStatus", "TraceSetting"}) {
    const Status status = FindControlMethod(method)->response(OkStatus(), "[1,", &bytes);
    EXPECT_EQ(status.code(), StatusCode::kInternal) << method;
  }
}

}  // namespace
}  // namespace verdict
