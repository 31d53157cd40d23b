// Requests whose tensors are in shared memory, and the endpoints that register it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/infer_request.h"
#include "serve/endpoints/infer_response.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SharedMemoryTest : public testing::Test {
 protected:
  SharedMemoryTest() : key_("/verdict_tensor_test_" + std::to_string(::getpid())) {
    ::shm_unlink(key_.c_str());
    descriptor_ = ::shm_open(key_.c_str(), O_CREAT | O_RDWR, 0600);
    EXPECT_EQ(::ftruncate(descriptor_, 64), 0);
    EXPECT_TRUE(service_.shared_memory().Register("r", key_, 8, 56).ok());
  }
  ~SharedMemoryTest() override {
    ::close(descriptor_);
    ::shm_unlink(key_.c_str());
  }
  /// offset: into the object; the region begins at 8.
  template <typename T>
  void Put(off_t offset, const std::vector<T>& values) const {
    const auto bytes = static_cast<ssize_t>(values.size() * sizeof(T));
    EXPECT_EQ(::pwrite(descriptor_, values.data(), static_cast<size_t>(bytes), offset), bytes);
  }
  template <typename T>
  std::vector<T> Get(off_t offset, size_t count) const {
    std::vector<T> values(count);
    const auto bytes = static_cast<ssize_t>(count * sizeof(T));
    EXPECT_EQ(::pread(descriptor_, values.data(), static_cast<size_t>(bytes), offset), bytes);
    return values;
  }

  Status Read(const std::string& json) {
    text_ = json;
    text_.reserve(text_.size() + kJsonPadding);
    return service_.scratch(0).reader.Read(text_, {}, specs_, specs_, &request_);
  }
  /// A request with input "x" of 2 elements, these parameters, and more fields.
  Status ReadX(const std::string& parameters, const std::string& more = "") {
    return Read(R"({"inputs":[{"name":"x","datatype":")" + datatype_ +
                R"(","shape":[2],"parameters":{)" + parameters + "}" + more + "}]}");
  }
  std::string Error(const std::string& parameters, const std::string& more = "") {
    const Status status = ReadX(parameters, more);
    EXPECT_FALSE(status.ok()) << parameters;
    return status.message();
  }
  void Model(DataType dtype, const std::string& datatype) {
    specs_ = {{"x", dtype, {-1}}};
    datatype_ = datatype;
  }
  /// The response's JSON text to a request that wants "x" with these parameters.
  Result<std::string> Respond(const std::string& parameters, const TensorView& value) {
    VERDICT_RETURN_IF_ERROR(Read(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":)"
                                 R"([1]}],"outputs":[{"name":"x","parameters":{)" +
                                 parameters + "}}]}"));
    std::string body;
    std::optional<size_t> json_bytes;
    VERDICT_RETURN_IF_ERROR(
        WriteInferResponse("m", "1", request_, specs_, {&value, 1}, &body, &json_bytes));
    EXPECT_FALSE(json_bytes.has_value());
    return body;
  }

  std::string key_;
  int descriptor_ = -1;
  Service service_{1, 0, {.allowed = true}};
  std::vector<TensorSpec> specs_{{"x", DataType::kFloat32, {-1}}};
  std::string datatype_ = "FP32";
  InferRequest request_;
  std::string text_;
};

constexpr char kEight[] = R"("shared_memory_region":"r","shared_memory_byte_size":8)";

TEST_F(SharedMemoryTest, AnInputIsReadFromItsPlace) {
  Put<float>(8, {1.5f, -2.0f, 3.0f});
  ASSERT_TRUE(ReadX(kEight).ok());
  const auto values = request_.inputs[0].as<const float>();
  EXPECT_THAT(std::vector<float>(values.begin(), values.end()), ElementsAre(1.5f, -2.0f));
  ASSERT_TRUE(ReadX(std::string(kEight) + R"(,"shared_memory_offset":4)").ok());
  EXPECT_EQ(request_.inputs[0].as<const float>()[1], 3.0f);
}

TEST_F(SharedMemoryTest, WhatTheOwnerChangesLaterIsNotSeen) {
  Put<float>(8, {1.0f, 2.0f});
  ASSERT_TRUE(ReadX(kEight).ok());
  Put<float>(8, {9.0f, 9.0f});
  EXPECT_EQ(request_.inputs[0].as<const float>()[0], 1.0f);
}

TEST_F(SharedMemoryTest, StringsAndTheirBytesAreCopied) {
  Model(DataType::kString, "BYTES");
  Put<char>(8, {2, 0, 0, 0, 'h', 'i', 1, 0, 0, 0, '!'});
  ASSERT_TRUE(ReadX(R"("shared_memory_region":"r","shared_memory_byte_size":11)").ok());
  Put<char>(8, std::vector<char>(11, '\x7f'));
  const auto texts = request_.inputs[0].as<const std::string_view>();
  EXPECT_THAT(std::vector<std::string_view>(texts.begin(), texts.end()), ElementsAre("hi", "!"));
  EXPECT_THAT(Error(R"("shared_memory_region":"r","shared_memory_byte_size":11)"),
              HasSubstr("says it has"));
  EXPECT_THAT(Error(R"("shared_memory_region":"r","shared_memory_byte_size":7)"),
              HasSubstr("too little for the shape"));
}

TEST_F(SharedMemoryTest, ValuesAreCheckedAsInTheBinaryForm) {
  Model(DataType::kBool, "BOOL");
  Put<char>(8, {1, 2});
  EXPECT_THAT(Error(R"("shared_memory_region":"r","shared_memory_byte_size":2)"),
              HasSubstr("a BOOL is 0 or 1"));
}

TEST_F(SharedMemoryTest, WrongParametersAreNamed) {
  EXPECT_THAT(Error(R"("shared_memory_region":"none","shared_memory_byte_size":8)"),
              HasSubstr("input 'x': shared memory region 'none' is not registered"));
  EXPECT_THAT(Error(R"("shared_memory_region":"r","shared_memory_byte_size":7)"),
              HasSubstr("shared_memory_byte_size is 7"));
  EXPECT_THAT(Error(std::string(kEight) + R"(,"shared_memory_offset":49)"),
              HasSubstr("has 56 bytes; 8 bytes from 49"));
  EXPECT_THAT(Error(std::string(kEight) + R"(,"shared_memory_offset":18446744073709551615)"),
              HasSubstr("are not in it"));
  EXPECT_THAT(Error(std::string(kEight) + R"(,"shared_memory_offset":-1)"),
              HasSubstr("inputs[0].parameters.shared_memory_offset must be a whole number"));
  EXPECT_THAT(Error(R"("shared_memory_region":"r")"), HasSubstr("byte_size is missing"));
  EXPECT_THAT(Error(R"("shared_memory_byte_size":8)"), HasSubstr("_region is missing"));
  EXPECT_THAT(Error(R"("shared_memory_region":5)"), HasSubstr("must be a string"));
  EXPECT_THAT(Error(std::string(kEight) + "," + kEight), HasSubstr("is given twice"));
  EXPECT_THAT(Error(kEight, R"(,"data":[1,2])"), HasSubstr("both data and a shared memory"));
}

TEST_F(SharedMemoryTest, ReadersWithoutARegistryOfferNone) {
  InferRequestReader reader;
  text_ = R"({"inputs":[{"name":"x","datatype":"FP32","shape":[2],"parameters":{)" +
          std::string(kEight) + "}}]}";
  text_.reserve(text_.size() + kJsonPadding);
  EXPECT_EQ(reader.Read(text_, {}, specs_, specs_, &request_).code(), StatusCode::kUnimplemented);
}

TEST_F(SharedMemoryTest, AnOutputIsWrittenToItsPlaceAndNowhereElse) {
  float values[] = {5.0f, 6.0f};
  Put<float>(8, {1, 1, 1, 1});
  const TensorView view{DataType::kFloat32, {2}, values};
  const auto body = Respond(R"("binary_data":true,"shared_memory_region":"r",)"
                            R"("shared_memory_byte_size":12,"shared_memory_offset":4)",
                            view);
  ASSERT_TRUE(body.ok()) << body.status().ToString();
  EXPECT_EQ(*body, R"({"model_name":"m","model_version":"1","outputs":[{"name":"x","datatype":)"
                   R"("FP32","shape":[2]}]})");
  EXPECT_THAT(Get<float>(8, 4), ElementsAre(1, 5, 6, 1));
}

TEST_F(SharedMemoryTest, AnOutputThatDoesNotFitIsRefused) {
  float values[] = {5.0f, 6.0f, 7.0f};
  const auto body = Respond(kEight, TensorView{DataType::kFloat32, {3}, values});
  EXPECT_EQ(body.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(body.status().message(),
            "output 'x': shared_memory_byte_size is 8, the output needs 12 bytes");
  EXPECT_THAT(Get<float>(8, 3), ElementsAre(0, 0, 0));
}

TEST_F(SharedMemoryTest, AnOutputBeyondItsRegionIsRefusedBeforeTheModelRuns) {
  const auto read = [&](const std::string& parameters) {
    return Read(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}],"outputs":)"
                R"([{"name":"x","parameters":{"shared_memory_region":"r",)" +
                parameters + "}}]}")
        .code();
  };
  EXPECT_EQ(read(R"("shared_memory_byte_size":4,"shared_memory_offset":52)"), StatusCode::kOk);
  EXPECT_EQ(read(R"("shared_memory_byte_size":4,"shared_memory_offset":53)"),
            StatusCode::kOutOfRange);
  EXPECT_EQ(read(R"("shared_memory_byte_size":4,"shared_memory_offset":57)"),
            StatusCode::kOutOfRange);
  EXPECT_EQ(read(R"("shared_memory_byte_size":18446744073709551615)"), StatusCode::kOutOfRange);
}

TEST_F(SharedMemoryTest, AnOutputReachesARegionThatWasUnregisteredMeanwhile) {
  float values[] = {5.0f};
  ASSERT_TRUE(Read(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}],"outputs":)"
                   R"([{"name":"x","parameters":{)" +
                   std::string(kEight) + "}}]}")
                  .ok());
  service_.shared_memory().UnregisterAll();
  const TensorView view{DataType::kFloat32, {1}, values};
  std::string body;
  std::optional<size_t> json_bytes;
  ASSERT_TRUE(WriteInferResponse("m", "1", request_, specs_, {&view, 1}, &body, &json_bytes).ok());
  EXPECT_THAT(Get<float>(8, 1), ElementsAre(5));
}

TEST_F(SharedMemoryTest, EndpointsRegisterListAndUnregister) {
  const auto post = [&](auto handler, const std::string& region, std::string json) {
    json.reserve(json.size() + kJsonPadding);
    Call call;
    call.region = region;
    call.json = json;
    Reply reply;
    const Status status = handler(service_, call, &reply);
    return status.ok() ? reply.body : std::string(StatusCodeName(status.code()));
  };
  const std::string body = R"({"key":")" + key_ + R"(","offset":4,"byte_size":10})";
  EXPECT_EQ(post(HandleSystemSharedMemoryRegister, "s", body), "");
  EXPECT_EQ(post(HandleSystemSharedMemoryStatus, "s", ""),
            R"([{"name":"s","key":")" + key_ + R"(","offset":4,"byte_size":10}])");
  EXPECT_EQ(post(HandleSystemSharedMemoryRegister, "s", body), "ALREADY_EXISTS");
  EXPECT_EQ(post(HandleSystemSharedMemoryUnregister, "s", ""), "");
  EXPECT_EQ(post(HandleSystemSharedMemoryStatus, "s", ""), "NOT_FOUND");
  EXPECT_EQ(post(HandleSystemSharedMemoryUnregister, "", ""), "");
  EXPECT_EQ(post(HandleSystemSharedMemoryStatus, "", ""), "[]");
  for (const char* bad :
       {"", "[]", "{}", R"({"key":"/k"})", R"({"byte_size":1})", R"({"key":1,"byte_size":1})",
        R"({"key":"/k","byte_size":-1})", R"({"key":"/k","byte_size":"1"})",
        R"({"key":"/k","byte_size":1,"offset":1.5})"}) {
    EXPECT_EQ(post(HandleSystemSharedMemoryRegister, "s", bad), "INVALID_ARGUMENT") << bad;
  }
  EXPECT_EQ(post(HandleCudaSharedMemoryStatus, "", ""), "[]");
  EXPECT_EQ(post(HandleCudaSharedMemoryStatus, "c", ""), "NOT_FOUND");
  EXPECT_EQ(post(HandleCudaSharedMemoryRegister, "c", "{}"), "UNIMPLEMENTED");
  EXPECT_EQ(post(HandleCudaSharedMemoryUnregister, "", ""), "");
}

}  // namespace
}  // namespace verdict
