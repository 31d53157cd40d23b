// The endpoints that change settings: logging and tracing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "observe/logging.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/json_body.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using Handler = Status (*)(Service&, const Call&, Reply*);

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() { SetLogSettings({}); }
  ~SettingsTest() override { SetLogSettings({}); }

  Status Ask(Handler handler, std::string json, const std::string& model = "") {
    json.reserve(json.size() + kJsonPadding);
    Call call;
    call.json = json;
    call.model = model;
    reply_ = {};
    return handler(service_, call, &reply_);
  }
  std::string Error(Handler handler, const std::string& json) {
    const Status status = Ask(handler, json);
    EXPECT_FALSE(status.ok()) << json;
    return status.message();
  }
  void StartTracing() {
    OtlpOptions options;
    options.url = "http://127.0.0.1:1/v1/traces";
    ASSERT_TRUE(service_.tracer().Start(options, {.timestamps = false, .rate = 100}).ok());
    auto models = std::make_shared<ModelSet>();
    models->Put("m", {1, nullptr, "not loaded"});
    service_.models().Replace(std::move(models));
  }

  Service service_{1, 0};
  Reply reply_;
};

constexpr char kDefaults[] =
    R"({"log_file":"","log_info":true,"log_warning":true,"log_error":true,"log_verbose_level":0,)"
    R"("log_format":"ISO8601"})";

TEST_F(SettingsTest, LogSettingsAreShown) {
  ASSERT_TRUE(Ask(HandleLogSettings, "").ok());
  EXPECT_EQ(reply_.body, kDefaults);
}

TEST_F(SettingsTest, LogSettingsChangeAndAreAnsweredWith) {
  ASSERT_TRUE(Ask(HandleLogSettingsChange,
                  R"({"log_info":false,"log_verbose_level":2,"log_format":"json"})")
                  .ok());
  EXPECT_EQ(reply_.body, R"({"log_file":"","log_info":false,"log_warning":true,"log_error":true,)"
                         R"("log_verbose_level":2,"log_format":"json"})");
  EXPECT_FALSE(CurrentLogSettings().info);
  EXPECT_EQ(CurrentLogSettings().format, LogFormat::kJson);
  ASSERT_TRUE(Ask(HandleLogSettingsChange, R"({"log_format":"default"})").ok());
  EXPECT_EQ(CurrentLogSettings().format, LogFormat::kText);
}

TEST_F(SettingsTest, WrongLogSettingsAreNamedAndNoneIsChanged) {
  const auto error = [&](const std::string& json) { return Error(HandleLogSettingsChange, json); };
  EXPECT_THAT(error(R"({"log_info":false,"log_file":"/tmp/x"})"), HasSubstr("log_file"));
  EXPECT_THAT(error(R"({"log_info":false,"log_colour":true})"), HasSubstr("'log_colour'"));
  EXPECT_THAT(error(R"({"log_error":"no"})"), HasSubstr("log_error must be true or false"));
  EXPECT_THAT(error(R"({"log_verbose_level":-1})"), HasSubstr("log_verbose_level"));
  EXPECT_THAT(error(R"({"log_verbose_level":4294967296})"), HasSubstr("log_verbose_level"));
  EXPECT_THAT(error(R"({"log_format":"xml"})"), HasSubstr("log_format"));
  EXPECT_THAT(error(R"({"log_format":7})"), HasSubstr("log_format"));
  EXPECT_THAT(error("[]"), HasSubstr("JSON object"));
  EXPECT_THAT(error(""), HasSubstr("not JSON"));
  EXPECT_THAT(error(std::string(kMaxSettingsBytes + 1, ' ')), HasSubstr("at most"));
  EXPECT_FALSE(Ask(HandleLogSettingsChange, std::string(60'000, '[')).ok());
  ASSERT_TRUE(Ask(HandleLogSettings, "").ok());
  EXPECT_EQ(reply_.body, kDefaults);
}

TEST_F(SettingsTest, TraceSettingsAreShownAndChange) {
  StartTracing();
  ASSERT_TRUE(Ask(HandleTraceSettings, "").ok());
  EXPECT_EQ(reply_.body,
            R"({"trace_level":["OFF"],"trace_rate":"100","trace_count":"-1","log_frequency":"0",)"
            R"("trace_file":"","trace_mode":"opentelemetry"})");
  // Strings, lists of one and numbers are all in use by clients.
  ASSERT_TRUE(Ask(HandleTraceSettingsChange,
                  R"({"trace_level":["TIMESTAMPS"],"trace_rate":"5","trace_count":7})")
                  .ok());
  EXPECT_EQ(service_.tracer().Settings(""), (TraceSettings{true, 5, 7}));
  ASSERT_TRUE(Ask(HandleTraceSettingsChange, R"({"trace_rate":["6"],"trace_level":"OFF"})").ok());
  EXPECT_EQ(service_.tracer().Settings(""), (TraceSettings{false, 6, 7}));
  ASSERT_TRUE(Ask(HandleTraceSettingsChange, R"({"trace_rate":null,"trace_count":[]})").ok());
  EXPECT_EQ(service_.tracer().Settings(""), (TraceSettings{false, 100, -1}));
}

TEST_F(SettingsTest, AModelHasTraceSettingsOfItsOwn) {
  StartTracing();
  ASSERT_TRUE(Ask(HandleTraceSettingsChange, R"({"trace_rate":"3"})", "m").ok());
  EXPECT_THAT(reply_.body, HasSubstr(R"("trace_rate":"3")"));
  ASSERT_TRUE(Ask(HandleTraceSettings, "").ok());
  EXPECT_THAT(reply_.body, HasSubstr(R"("trace_rate":"100")"));
  ASSERT_TRUE(Ask(HandleTraceSettings, "", "m").ok());
  EXPECT_THAT(reply_.body, HasSubstr(R"("trace_rate":"3")"));
  EXPECT_EQ(Ask(HandleTraceSettings, "", "none").code(), StatusCode::kNotFound);
  EXPECT_EQ(Ask(HandleTraceSettingsChange, "{}", "none").code(), StatusCode::kNotFound);
}

TEST_F(SettingsTest, WrongTraceSettingsAreNamedAndNoneIsChanged) {
  StartTracing();
  const auto error = [&](const std::string& setting) {
    return Error(HandleTraceSettingsChange, R"({"trace_count":"1",)" + setting + "}");
  };
  EXPECT_THAT(error(R"("trace_level":"TENSORS")"), HasSubstr("personal data"));
  EXPECT_THAT(error(R"("trace_level":["TIMESTAMPS","TENSORS"])"), HasSubstr("one value"));
  EXPECT_THAT(error(R"("trace_level":"LOUD")"), HasSubstr("trace_level must be"));
  EXPECT_THAT(error(R"("trace_rate":"0")"), HasSubstr("trace_rate must be a whole number"));
  EXPECT_THAT(error(R"("trace_rate":"-5")"), HasSubstr("trace_rate"));
  EXPECT_THAT(error(R"("trace_rate":"1x")"), HasSubstr("trace_rate"));
  EXPECT_THAT(error(R"("trace_rate":"99999999999999999999")"), HasSubstr("trace_rate"));
  EXPECT_THAT(error(R"("trace_rate":{})"), HasSubstr("trace_rate must be a string"));
  EXPECT_THAT(error(R"("trace_count":"-2")"), HasSubstr("trace_count"));
  EXPECT_THAT(error(R"("trace_file":"x")"), HasSubstr("trace_file has no effect"));
  EXPECT_THAT(error(R"("log_frequency":"5")"), HasSubstr("log_frequency has no effect"));
  EXPECT_THAT(error(R"("trace_mode":"triton")"), HasSubstr("always opentelemetry"));
  EXPECT_THAT(error(R"("trace_depth":"5")"), HasSubstr("no trace setting 'trace_depth'"));
  EXPECT_EQ(service_.tracer().Settings(""), (TraceSettings{false, 100, -1}));
}

TEST_F(SettingsTest, WithoutACollectorTracingCannotBeSwitchedOn) {
  const Status status = Ask(HandleTraceSettingsChange, R"({"trace_level":["TIMESTAMPS"]})");
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Ask(HandleTraceSettingsChange, R"({"trace_level":["OFF"]})").ok());
}

}  // namespace
}  // namespace verdict
