#include "serve/endpoints/repository_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/endpoints/infer_request.h"

namespace verdict {
namespace {

using testing::HasSubstr;

/// With the padding that the parser reads.
class Padded {
 public:
  explicit Padded(std::string_view json) : text_(json), size_(json.size()) {
    text_.append(kJsonPadding, '\0');
  }
  operator std::string_view() const { return {text_.data(), size_}; }  // NOLINT

 private:
  std::string text_;
  size_t size_;
};

TEST(RepositoryRequest, IndexMayAskForWhatIsReady) {
  EXPECT_FALSE(ReadIndexRequest(Padded("")).value());
  EXPECT_FALSE(ReadIndexRequest(Padded("{}")).value());
  EXPECT_FALSE(ReadIndexRequest(Padded(R"({"ready": false})")).value());
  EXPECT_TRUE(ReadIndexRequest(Padded(R"({"ready": true})")).value());
  for (const char* bad : {"[]", R"({"ready": 1})", R"({"ready": "true"})", "{", "x"}) {
    EXPECT_EQ(ReadIndexRequest(Padded(bad)).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(RepositoryRequest, PassesOverWideIntegersOfOtherFields) {
  const std::string wide = R"("note": -208973204500476545990656)";
  EXPECT_TRUE(ReadIndexRequest(Padded("{" + wide + R"(, "ready": true})")).value());
  EXPECT_TRUE(ReadLoadRequest(Padded("{" + wide + "}")).ok());
  EXPECT_TRUE(ReadUnloadRequest(Padded("{" + wide + "}")).ok());
  EXPECT_FALSE(ReadIndexRequest(Padded(R"({"note": 1e999})")).ok());
}

TEST(RepositoryRequest, LoadMayBringAConfiguration) {
  EXPECT_EQ(ReadLoadRequest(Padded("")).value(), std::nullopt);
  EXPECT_EQ(ReadLoadRequest(Padded(R"({"parameters": {}})")).value(), std::nullopt);
  EXPECT_EQ(
      ReadLoadRequest(Padded(R"({"parameters": {"config": "{\"max_batch_size\": 8}"}})")).value(),
      R"({"max_batch_size": 8})");
  struct Case {
    const char* json;
    const char* message;
  };
  for (const Case& c : {Case{R"({"parameters": {"config": {}}})", "'config' must be a string"},
                        Case{R"({"parameters": {"file:1/model.engine": "QQ=="}})",
                             "models cannot be sent with the call"},
                        Case{R"({"parameters": {"confg": "{}"}})", "unknown parameter 'confg'"},
                        Case{R"({"parameters": 1})", "parameters must be an object"},
                        Case{"nonsense", "not JSON"}}) {
    const Status status = ReadLoadRequest(Padded(c.json)).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.json;
    EXPECT_THAT(status.message(), HasSubstr(c.message));
  }
}

TEST(RepositoryRequest, UnloadTakesItsParameter) {
  for (const char* good : {"", "{}", R"({"parameters": {"unload_dependents": true}})"}) {
    EXPECT_TRUE(ReadUnloadRequest(Padded(good)).ok()) << good;
  }
  for (const char* bad :
       {R"({"parameters": {"unload_dependents": 1}})", R"({"parameters": {"x": true}})"}) {
    EXPECT_EQ(ReadUnloadRequest(Padded(bad)).code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(RepositoryRequest, DepthIsBounded) {
  const std::string deep = std::string(250'000, '[') + std::string(250'000, ']');
  EXPECT_FALSE(ReadLoadRequest(Padded("{\"parameters\":{\"config\":" + deep + "}}")).ok());
}

}  // namespace
}  // namespace verdict
