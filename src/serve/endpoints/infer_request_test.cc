#include "serve/endpoints/infer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A request's bytes as a transport holds them: padded for the JSON parser.
class InferRequestTest : public testing::Test {
 protected:
  Status Read(const std::string& json, const std::string& binary = "") {
    bytes_ = json + binary;
    bytes_.reserve(bytes_.size() + kJsonPadding);
    const std::string_view text(bytes_);
    const auto rest = text.substr(json.size());
    return reader_.Read(text.substr(0, json.size()),
                        std::as_bytes(std::span(rest.data(), rest.size())), inputs_, outputs_,
                        &request_);
  }
  /// The message that a request with this body gets; fails if it is accepted.
  std::string Error(const std::string& json, const std::string& binary = "") {
    const Status status = Read(json, binary);
    EXPECT_FALSE(status.ok()) << json;
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.message();
    return status.message();
  }
  /// A request with one input "x".
  static std::string X(const std::string& fields) {
    return R"({"inputs":[{"name":"x",)" + fields + "}]}";
  }
  void Model(DataType dtype, Shape shape) {
    inputs_ = {{"x", dtype, shape}};
    outputs_ = {{"y", dtype, shape}, {"z", DataType::kInt64, {-1}}};
  }
  template <typename T>
  std::vector<T> Values() {
    const auto values = request_.inputs.at(0).as<T>();
    return {values.begin(), values.end()};
  }

  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  InferRequestReader reader_;
  InferRequest request_;
  std::string bytes_;
};

template <typename T>
std::string Raw(std::initializer_list<T> values) {
  std::string bytes;
  for (T value : values) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

TEST_F(InferRequestTest, FlatAndNestedDataAreTheSame) {
  Model(DataType::kFloat32, {-1, 2});
  for (const char* data : {"[1,2.5,-3,4e1]", "[[1,2.5],[-3,4e1]]"}) {
    ASSERT_TRUE(Read(X(R"("datatype":"FP32","shape":[2,2],"data":)" + std::string(data))).ok());
    EXPECT_THAT(Values<float>(), ElementsAre(1, 2.5, -3, 40));
    EXPECT_EQ(request_.inputs[0].shape, (Shape{2, 2}));
  }
}

TEST_F(InferRequestTest, FieldsComeInAnyOrder) {
  Model(DataType::kFloat32, {-1});
  ASSERT_TRUE(
      Read(R"({"inputs":[{"data":[7],"shape":[1],"datatype":"FP32","name":"x"}],"id":"a"})").ok());
  EXPECT_EQ(request_.id, "a");
}

TEST_F(InferRequestTest, EveryTypeInJson) {
  const auto read = [&](DataType dtype, const std::string& name, const std::string& data) {
    Model(dtype, {-1});
    const size_t n = static_cast<size_t>(std::count(data.begin(), data.end(), ',')) + 1;
    const Status status = Read(
        X("\"datatype\":\"" + name + "\",\"shape\":[" + std::to_string(n) + "],\"data\":" + data));
    EXPECT_TRUE(status.ok()) << status.message();
  };
  read(DataType::kFloat64, "FP64", "[1.7976931348623157e308,18446744073709551615]");
  EXPECT_THAT(Values<double>(), ElementsAre(std::numeric_limits<double>::max(), 0x1p64));
  read(DataType::kFloat64, "FP64", "[100000000000000000000,-123456789012345678901234567890,7]");
  EXPECT_THAT(Values<double>(), ElementsAre(1e20, -123456789012345678901234567890.0, 7));
  read(DataType::kFloat32, "FP32", "[3.4028235e38,1e-46,16777217]");
  EXPECT_THAT(Values<float>(), ElementsAre(std::numeric_limits<float>::max(), 0.0f, 16777216.0f));
  read(DataType::kInt8, "INT8", "[-128,127]");
  EXPECT_THAT(Values<int8_t>(), ElementsAre(-128, 127));
  read(DataType::kInt16, "INT16", "[-32768,32767]");
  EXPECT_THAT(Values<int16_t>(), ElementsAre(-32768, 32767));
  read(DataType::kInt32, "INT32", "[-2147483648,2147483647]");
  EXPECT_THAT(Values<int32_t>(), ElementsAre(INT32_MIN, INT32_MAX));
  read(DataType::kInt64, "INT64", "[-9223372036854775808,9223372036854775807]");
  EXPECT_THAT(Values<int64_t>(), ElementsAre(INT64_MIN, INT64_MAX));
  read(DataType::kUInt8, "UINT8", "[0,255]");
  EXPECT_THAT(Values<uint8_t>(), ElementsAre(0, 255));
  read(DataType::kUInt16, "UINT16", "[0,65535]");
  EXPECT_THAT(Values<uint16_t>(), ElementsAre(0, 65535));
  read(DataType::kUInt32, "UINT32", "[0,4294967295]");
  EXPECT_THAT(Values<uint32_t>(), ElementsAre(0, UINT32_MAX));
  read(DataType::kUInt64, "UINT64", "[0,18446744073709551615]");
  EXPECT_THAT(Values<uint64_t>(), ElementsAre(0, UINT64_MAX));
  read(DataType::kBool, "BOOL", "[true,false,1,0]");
  EXPECT_THAT(Values<bool>(), ElementsAre(true, false, true, false));
  read(DataType::kString, "BYTES", R"(["a","","\u00e9"])");
  EXPECT_THAT(Values<std::string_view>(), ElementsAre("a", "", "\xc3\xa9"));
}

TEST_F(InferRequestTest, ValuesOutOfRangeAreRefusedByElement) {
  struct Case {
    DataType dtype;
    std::string name, data, message;
  };
  const Case cases[] = {
      {DataType::kInt8, "INT8", "[0,128]", "element 1 is out of the range of INT8"},
      {DataType::kUInt8, "UINT8", "[0,-1]", "element 1 is out of the range of UINT8"},
      {DataType::kUInt64, "UINT64", "[-1,0]", "element 0 is out of the range of UINT64"},
      {DataType::kInt64, "INT64", "[0,9223372036854775808]", "element 1 is out of the range"},
      {DataType::kInt64, "INT64", "[1,100000000000000000000]", "element 1 is a number with"},
      {DataType::kInt32, "INT32", "[1,1.5]", "element 1 is a number with a fraction"},
      {DataType::kFloat32, "FP32", "[1,1e39]", "element 1 is out of the range of FP32"},
      {DataType::kFloat32, "FP32", "[1,3.40282357e38]", "element 1 is out of the range of FP32"},
      {DataType::kFloat64, "FP64", "[1,1e309]", "'1e309' is out of range"},
      {DataType::kFloat32, "FP32", "[1,\"2\"]", "element 1 is a string, which is no FP32"},
      {DataType::kFloat32, "FP32", "[1,null]", "element 1 is null, which is no FP32"},
      {DataType::kFloat32, "FP32", "[1,true]", "element 1 is a boolean, which is no FP32"},
      {DataType::kFloat32, "FP32", "[1,{}]", "element 1 is an object, which is no FP32"},
      {DataType::kFloat32, "FP32", "[1,[2]]", "element 1 is an array, which is no FP32"},
      {DataType::kBool, "BOOL", "[0,2]", "element 1 is out of the range of BOOL"},
      {DataType::kString, "BYTES", "[\"a\",1]", "element 1 is an integer, which is no BYTES"},
      {DataType::kFloat32, "FP32", "[1,NaN]", "tensor 'x': 'NaN' is not JSON"},
      {DataType::kFloat32, "FP32", "[1,Infinity]", "tensor 'x': 'Infinity' is not JSON"},
  };
  for (const Case& c : cases) {
    Model(c.dtype, {-1});
    const std::string message =
        Error(X("\"datatype\":\"" + c.name + "\",\"shape\":[2],\"data\":" + c.data));
    EXPECT_THAT(message, HasSubstr(c.message)) << c.data;
    EXPECT_THAT(message, HasSubstr("'x'")) << c.data;
  }
}

TEST_F(InferRequestTest, BadRequestsNameTheField) {
  Model(DataType::kFloat32, {-1, 2});
  const std::string ok = R"("datatype":"FP32","shape":[1,2],"data":[1,2])";
  struct Case {
    std::string json, message;
  };
  const Case cases[] = {
      {"", "no JSON text"},
      {"[]", "must be a JSON object"},
      {"{", "ends before it is complete"},
      {R"({"inputs":[],"inputs":[]})", "field inputs is given twice"},
      {R"({"parameters":{"binary_data_output":true,"binary_data_output":false}})",
       "field parameters.binary_data_output is given twice"},
      {"{}", "field inputs is missing"},
      {R"({"inputs":{}})", "field inputs must be an array"},
      {R"({"inputs":[]})", "input 'x' is missing"},
      {R"({"inputs":[1]})", "field inputs[0] must be an object"},
      {R"({"inputs":[{}]})", "field inputs[0].name is missing"},
      {R"({"inputs":[{"name":1}]})", "field inputs[0].name must be a string"},
      {R"({"inputs":[{"name":"w",)" + ok + "}]}", "field inputs[0]: the model has no input 'w'"},
      {R"({"id":5,"inputs":[]})", "field id must be a string"},
      {R"({"parameters":[],"inputs":[]})", "field parameters must be an object"},
      {R"({"parameters":{"binary_data_output":1},"inputs":[]})",
       "field parameters.binary_data_output must be true or false"},
      {X(R"("shape":[1,2],"data":[1,2])"), "input 'x': datatype is missing"},
      {X(R"("datatype":"FP64","shape":[1,2],"data":[1,2])"),
       "input 'x': datatype is 'FP64', the model takes FP32"},
      {X(R"("datatype":"FP32","data":[1,2])"), "input 'x': shape is missing"},
      {X(R"("datatype":"FP32","shape":{},"data":[1,2])"), "field inputs[0].shape must be"},
      {X(R"("datatype":"FP32","shape":[1,2.0],"data":[1,2])"),
       "input 'x': shape: must be whole numbers"},
      {X(R"("datatype":"FP32","shape":[-1,2],"data":[1,2])"),
       "input 'x': shape: the extent -1 is negative"},
      {X(R"("datatype":"FP32","shape":[1,2,3,4,5,6,7,8,9],"data":[1,2])"),
       "input 'x': shape: more than 8 extents"},
      {X(R"("datatype":"FP32","shape":[2],"data":[1,2])"),
       "input 'x': shape: [2] does not fit the model's [-1,2]"},
      {X(R"("datatype":"FP32","shape":[1,3],"data":[1,2,3])"),
       "input 'x': shape: [1,3] does not fit the model's [-1,2]"},
      {X(R"("datatype":"FP32","shape":[4611686018427387904,2],"data":[1,2])"),
       "input 'x': shape: [4611686018427387904,2] has more elements than memory"},
      {X(R"("datatype":"FP32","shape":[9223372036854775808,2],"data":[1,2])"),
       "input 'x': shape: must be whole numbers"},
      {X(R"("datatype":"FP32","shape":[1000000000,2],"data":[1,2])"),
       "input 'x': data: fewer elements than the shape"},
      {X(R"("datatype":"FP32","shape":[2,2],"data":[1,2,3])"),
       "input 'x': data: has 3 elements, the shape [2,2] needs 4"},
      {X(R"("datatype":"FP32","shape":[1,2],"data":[1,2,3])"),
       "input 'x': data: has more than the 2 elements"},
      {X(R"("datatype":"FP32","shape":[2,2],"data":[[1,2]])"),
       "input 'x': data: has an array of fewer than 2 items at level 1"},
      {X(R"("datatype":"FP32","shape":[2,2],"data":[[1,2],[3]])"),
       "input 'x': data: has an array of fewer than 2 items at level 2"},
      {X(R"("datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4],[5,6]])"),
       "input 'x': data: has an array of more than 2 items at level 1"},
      {X(R"("datatype":"FP32","shape":[2,2],"data":[[1,2],3])"), "where the shape"},
      {X(R"("datatype":"FP32","shape":[1,2],"data":3)"),
       "data: is an integer, it must be an array"},
      {X(R"("datatype":"FP32","shape":[1,2])"), "input 'x': data is missing"},
      {X(ok + R"(,"data":[])"), "field inputs[0].data is given twice"},
      {X(ok + R"(,"name":"x")"), "field inputs[0].name is given twice"},
      {X(ok + R"(,"parameters":{"binary_data_size":8})"), "has both data and binary_data_size"},
      {R"({"inputs":[{"name":"x",)" + ok + R"(},{"name":"x",)" + ok + "}]}",
       "input 'x' is given twice"},
      {R"({"inputs":[{"name":"x",)" + ok + R"(}],"outputs":[{"name":"w"}]})",
       "field outputs[0]: the model has no output 'w'; it has 'y', 'z'"},
      {R"({"inputs":[{"name":"x",)" + ok + R"(}],"outputs":[{"name":"y"},{"name":"y"}]})",
       "field outputs[1]: output 'y' is asked for twice"},
      {R"({"inputs":[{"name":"x",)" + ok +
           R"(}],"outputs":[{"name":"y","parameters":{"binary_data":"yes"}}]})",
       "field outputs[0].parameters.binary_data must be true or false"},
  };
  for (const Case& c : cases) EXPECT_THAT(Error(c.json), HasSubstr(c.message)) << c.json;
  ASSERT_TRUE(Read(X(ok)).ok()) << "the reader must go on after errors";
}

TEST_F(InferRequestTest, DeepNestingIsAnError) {
  Model(DataType::kFloat32, {-1});
  for (const size_t depth : {120, 250'000}) {
    const std::string deep = std::string(depth, '[') + "1" + std::string(depth, ']');
    EXPECT_THAT(Error(X(R"("datatype":"FP32","shape":[1],"data":)" + deep)),
                HasSubstr("nested deeper than 32 levels"));
    EXPECT_THAT(Error("{\"parameters\":{\"p\":" + deep + "}}"), HasSubstr("nested deeper"));
  }
}

TEST_F(InferRequestTest, BinaryTensorsAreReadInOrder) {
  inputs_ = {{"a", DataType::kFloat32, {-1}}, {"b", DataType::kInt64, {-1}}};
  outputs_ = {{"y", DataType::kFloat32, {-1}}};
  // "b" comes first: the order is the request's, not the model's.
  ASSERT_TRUE(Read(R"({"inputs":[
      {"name":"b","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}},
      {"name":"a","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]})",
                   Raw<int64_t>({-5}) + Raw<float>({1.5f, std::nanf("")}))
                  .ok());
  EXPECT_EQ(request_.inputs[1].as<int64_t>()[0], -5);
  EXPECT_EQ(request_.inputs[0].as<float>()[0], 1.5f);
  EXPECT_TRUE(std::isnan(request_.inputs[0].as<float>()[1]));
  for (const TensorView& view : request_.inputs) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % ElementSize(view.dtype), 0u);
  }
}

TEST_F(InferRequestTest, AlignedBinaryIsReadInPlaceMisalignedIsCopied) {
  Model(DataType::kFloat64, {-1});
  std::string json = X(R"("datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8})");
  const std::string raw = Raw<double>({0.25});
  bool in_place = false;
  bool copied = false;
  for (int spaces = 0; spaces < 8; ++spaces, json += ' ') {
    ASSERT_TRUE(Read(json, raw).ok());
    EXPECT_EQ(request_.inputs[0].as<double>()[0], 0.25);
    const char* data = static_cast<const char*>(request_.inputs[0].data);
    const bool inside = data >= bytes_.data() && data < bytes_.data() + bytes_.size();
    (inside ? in_place : copied) = true;
  }
  EXPECT_TRUE(in_place);
  EXPECT_TRUE(copied);
}

TEST_F(InferRequestTest, BinarySizesMustFitExactly) {
  Model(DataType::kFloat32, {-1});
  const auto request = [](const std::string& size) {
    return X(R"("datatype":"FP32","shape":[2],"parameters":{"binary_data_size":)" + size + "}");
  };
  const std::string raw = Raw<float>({1, 2});
  ASSERT_TRUE(Read(request("8"), raw).ok());
  EXPECT_THAT(Error(request("8"), raw.substr(1)), HasSubstr("only 7 bytes are left"));
  EXPECT_THAT(Error(request("8"), raw + "x"), HasSubstr("1 bytes after the JSON text"));
  EXPECT_THAT(Error(request("4"), raw), HasSubstr("input 'x': binary_data_size is 4"));
  EXPECT_THAT(Error(request("18446744073709551615"), raw), HasSubstr("only 8 bytes are left"));
  EXPECT_THAT(Error(request("-8"), raw), HasSubstr("field inputs[0].parameters.binary_data_size"));
  EXPECT_THAT(Error(request("8.0"), raw), HasSubstr("field inputs[0].parameters.binary_data_size"));
  EXPECT_THAT(Error(request("\"8\""), raw), HasSubstr("binary_data_size must be"));
}

TEST_F(InferRequestTest, BinaryBoolsAreZeroOrOne) {
  Model(DataType::kBool, {-1});
  const std::string json =
      X(R"("datatype":"BOOL","shape":[2],"parameters":{"binary_data_size":2})");
  ASSERT_TRUE(Read(json, std::string("\1\0", 2)).ok());
  EXPECT_THAT(Values<bool>(), ElementsAre(true, false));
  EXPECT_THAT(Error(json, "\1\2"), HasSubstr("input 'x': element 1 is the byte 2"));
}

TEST_F(InferRequestTest, BinaryStringsHaveALengthBeforeEach) {
  Model(DataType::kString, {-1});
  const auto request = [](size_t bytes, int elements) {
    return X("\"datatype\":\"BYTES\",\"shape\":[" + std::to_string(elements) +
             "],\"parameters\":{\"binary_data_size\":" + std::to_string(bytes) + "}");
  };
  const std::string raw = Raw<uint32_t>({2}) + "hi" + Raw<uint32_t>({0});
  ASSERT_TRUE(Read(request(10, 2), raw).ok());
  EXPECT_THAT(Values<std::string_view>(), ElementsAre("hi", ""));
  EXPECT_THAT(Error(request(10, 1), raw), HasSubstr("4 bytes more than the 1 elements"));
  EXPECT_THAT(Error(request(10, 3), raw), HasSubstr("too little for the shape"));
  EXPECT_THAT(Error(request(8, 2), raw.substr(0, 8)), HasSubstr("end before element 1"));
  EXPECT_THAT(Error(request(8, 1), Raw<uint32_t>({4'000'000'000u, 0})),
              HasSubstr("element 0 says it has 4000000000 bytes, 4 are left"));
  EXPECT_THAT(Error(request(8, 2'000'000'000), raw.substr(0, 8)), HasSubstr("too little"));
}

TEST_F(InferRequestTest, OutputsAndTheirForm) {
  Model(DataType::kFloat32, {-1});
  const std::string x = R"("inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}])";
  const auto outputs = [&] {
    std::vector<std::pair<size_t, bool>> list;
    for (const RequestedOutput& output : request_.outputs) {
      list.emplace_back(output.index, output.binary);
    }
    return list;
  };
  using Pair = std::pair<size_t, bool>;
  ASSERT_TRUE(Read("{" + x + "}").ok());
  EXPECT_THAT(outputs(), ElementsAre(Pair(0, false), Pair(1, false)));
  ASSERT_TRUE(Read("{" + x + R"(,"outputs":[]})").ok());
  EXPECT_THAT(outputs(), ElementsAre(Pair(0, false), Pair(1, false)));
  ASSERT_TRUE(Read("{" + x + R"(,"parameters":{"binary_data_output":true,"other":[1]}})").ok());
  EXPECT_THAT(outputs(), ElementsAre(Pair(0, true), Pair(1, true)));
  ASSERT_TRUE(Read(R"({"outputs":[{"name":"z"},{"name":"y","parameters":{"binary_data":false}}],)" +
                   x + R"(,"parameters":{"binary_data_output":true}})")
                  .ok());
  EXPECT_THAT(outputs(), ElementsAre(Pair(1, true), Pair(0, false)));
}

TEST_F(InferRequestTest, WhatIsNotOfferedIsSaidSo) {
  Model(DataType::kFloat32, {-1});
  const std::string x = R"("inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}])";
  const Status classification =
      Read("{" + x + R"(,"outputs":[{"name":"y","parameters":{"classification":3}}]})");
  EXPECT_EQ(classification.code(), StatusCode::kUnimplemented);
}

TEST_F(InferRequestTest, HalfPrecisionIsForTheBinaryForm) {
  Model(DataType::kFloat16, {-1});
  const std::string message = Error(X(R"("datatype":"FP16","shape":[1],"data":[1])"));
  EXPECT_THAT(message, HasSubstr("input 'x': data: cannot be sent as JSON for datatype FP16"));
  EXPECT_THAT(message, HasSubstr("binary form"));
}

TEST_F(InferRequestTest, ScalarsHaveRankZero) {
  Model(DataType::kFloat32, {});
  for (const char* data : {"[3]", "3"}) {
    ASSERT_TRUE(Read(X(R"("datatype":"FP32","shape":[],"data":)" + std::string(data))).ok());
    EXPECT_THAT(Values<float>(), ElementsAre(3));
  }
  EXPECT_THAT(Error(X(R"("datatype":"FP32","shape":[],"data":[])")), HasSubstr("has 0 elements"));
}

TEST_F(InferRequestTest, EmptyTensorsAreEmpty) {
  Model(DataType::kFloat32, {-1, 2});
  ASSERT_TRUE(Read(X(R"("datatype":"FP32","shape":[0,2],"data":[])")).ok());
  EXPECT_EQ(request_.inputs[0].size(), 0);
  EXPECT_THAT(Error(X(R"("datatype":"FP32","shape":[0,2],"data":[1])")),
              HasSubstr("has more than"));
}

TEST_F(InferRequestTest, BigAndSmallRequestsTakeTurns) {
  Model(DataType::kFloat32, {-1});
  std::string many = "[0";
  for (int i = 1; i < 400'000; ++i) many += ",1.25";
  many += "]";
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(Read(X(R"("datatype":"FP32","shape":[400000],"data":)" + many)).ok());
    EXPECT_EQ(request_.inputs[0].as<float>()[399'999], 1.25f);
    ASSERT_TRUE(Read(X(R"("datatype":"FP32","shape":[1],"data":[4])")).ok());
    EXPECT_THAT(Values<float>(), ElementsAre(4));
  }
}

TEST_F(InferRequestTest, ReadsTheParametersOfTheRequest) {
  Model(DataType::kFloat32, {-1});
  const auto with = [](const std::string& parameters) {
    return R"({"parameters":{)" + parameters +
           R"(},"inputs":[{"name":"x","datatype":"FP32","shape":[0],"data":[]}]})";
  };
  ASSERT_TRUE(Read(with(R"("priority":2,"timeout":5000,"sequence_id":"card-7",)"
                        R"("sequence_start":true,"other":[])"))
                  .ok());
  EXPECT_EQ(request_.priority, 2u);
  EXPECT_EQ(request_.timeout_us, 5000u);
  EXPECT_EQ(request_.sequence, "card-7");
  EXPECT_TRUE(request_.sequence_start);
  ASSERT_TRUE(Read(with(R"("sequence_id":12,"sequence_end":true)")).ok());
  EXPECT_EQ(request_.sequence, "12");
  EXPECT_FALSE(request_.sequence_start) << "of the request before";
  EXPECT_TRUE(request_.sequence_end);
  EXPECT_EQ(request_.priority, 0u);
  EXPECT_THAT(Error(with(R"("timeout":-1)")), HasSubstr("parameters.timeout must be"));
  EXPECT_THAT(Error(with(R"("priority":4294967296)")), HasSubstr("parameters.priority"));
  EXPECT_THAT(Error(with(R"("sequence_id":1.5)")), HasSubstr("parameters.sequence_id"));
  EXPECT_THAT(Error(with(R"("sequence_end":1)")), HasSubstr("parameters.sequence_end"));
  const auto named = [&](size_t bytes) {
    return with(R"("sequence_id":")" + std::string(bytes, 'k') + '"');
  };
  EXPECT_TRUE(Read(named(kMaxSequenceIdBytes)).ok());
  EXPECT_THAT(Error(named(kMaxSequenceIdBytes + 1)),
              HasSubstr("parameters.sequence_id has 257 bytes, at most 256"));
}

}  // namespace
}  // namespace verdict
