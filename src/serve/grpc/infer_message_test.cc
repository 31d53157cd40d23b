#include "serve/grpc/infer_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

namespace verdict {
namespace {

using inference::ModelInferRequest;
using testing::ElementsAre;
using testing::HasSubstr;

class InferMessageTest : public testing::Test {
 protected:
  Status Read() { return ReadInferMessage(message_, inputs_, outputs_, {}, &buffers_, &request_); }
  std::string Error() {
    const Status status = Read();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.ToString();
    return status.message();
  }
  ModelInferRequest::InferInputTensor* Add(const std::string& name, const std::string& datatype,
                                           std::initializer_list<int64_t> shape) {
    auto* const tensor = message_.add_inputs();
    tensor->set_name(name);
    tensor->set_datatype(datatype);
    for (const int64_t extent : shape) tensor->add_shape(extent);
    return tensor;
  }
  void Model(DataType dtype, Shape shape = {-1}) {
    inputs_ = {{"x", dtype, shape}};
    outputs_ = {{"y", dtype, shape}, {"z", DataType::kInt64, {-1}}};
  }
  template <typename T>
  std::vector<T> Values() {
    const auto values = request_.inputs.at(0).as<T>();
    return {values.begin(), values.end()};
  }

  ModelInferRequest message_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::vector<TensorBuffer> buffers_;
  InferRequest request_;
};

TEST_F(InferMessageTest, ReadsRawContentsInPlace) {
  Model(DataType::kFloat32, {-1, 2});
  Add("x", "FP32", {1, 2});
  const float values[] = {1.5f, -2};
  message_.add_raw_input_contents(values, sizeof(values));
  ASSERT_TRUE(Read().ok());
  EXPECT_THAT(Values<float>(), ElementsAre(1.5f, -2));
  EXPECT_EQ(request_.inputs[0].data, message_.raw_input_contents(0).data());
}

TEST_F(InferMessageTest, ReadsTypedContentsInPlaceOfTheirOwnType) {
  Model(DataType::kFloat64);
  Add("x", "FP64", {2})->mutable_contents()->mutable_fp64_contents()->Add(1);
  message_.mutable_inputs(0)->mutable_contents()->add_fp64_contents(2);
  ASSERT_TRUE(Read().ok());
  EXPECT_THAT(Values<double>(), ElementsAre(1, 2));
  EXPECT_EQ(request_.inputs[0].data, message_.inputs(0).contents().fp64_contents().data());
}

TEST_F(InferMessageTest, NarrowsTypedContents) {
  Model(DataType::kInt8);
  auto* const contents = Add("x", "INT8", {3})->mutable_contents();
  for (const int value : {-128, 0, 127}) contents->add_int_contents(value);
  ASSERT_TRUE(Read().ok());
  EXPECT_THAT(Values<int8_t>(), ElementsAre(-128, 0, 127));
  contents->set_int_contents(1, 128);
  EXPECT_EQ(Error(), "input 'x': contents: element 1 is out of the range of INT8");
}

TEST_F(InferMessageTest, ReadsStringsOfBothForms) {
  Model(DataType::kString);
  auto* const contents = Add("x", "BYTES", {2})->mutable_contents();
  contents->add_bytes_contents("a");
  contents->add_bytes_contents("");
  ASSERT_TRUE(Read().ok());
  EXPECT_THAT(Values<std::string_view>(), ElementsAre("a", ""));
  contents->clear_bytes_contents();
  message_.add_raw_input_contents(std::string("\1\0\0\0a\0\0\0\0", 9));
  ASSERT_TRUE(Read().ok());
  EXPECT_THAT(Values<std::string_view>(), ElementsAre("a", ""));
}

TEST_F(InferMessageTest, AnEmptyTensorHasMemory) {
  Model(DataType::kFloat32, {-1, 3});
  Add("x", "FP32", {0, 3});
  ASSERT_TRUE(Read().ok());
  EXPECT_NE(request_.inputs[0].data, nullptr);
  EXPECT_EQ(request_.inputs[0].size(), 0);
}

TEST_F(InferMessageTest, ReadsTheParametersOfTheRequest) {
  Model(DataType::kFloat32);
  Add("x", "FP32", {0});
  auto& parameters = *message_.mutable_parameters();
  parameters["priority"].set_uint64_param(3);
  parameters["timeout"].set_int64_param(5000);
  parameters["sequence_id"].set_string_param("card-7");
  parameters["sequence_start"].set_bool_param(true);
  parameters["other"].set_double_param(1);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(request_.priority, 3u);
  EXPECT_EQ(request_.timeout_us, 5000u);
  EXPECT_EQ(request_.sequence, "card-7");
  EXPECT_TRUE(request_.sequence_start);
  EXPECT_FALSE(request_.sequence_end);
  parameters["sequence_id"].set_int64_param(12);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(request_.sequence, "12");
  parameters["sequence_id"].set_int64_param(0);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(request_.sequence, "");
  parameters["timeout"].set_int64_param(-1);
  EXPECT_THAT(Error(), HasSubstr("parameters.timeout"));
  parameters["timeout"].set_int64_param(1);
  parameters["priority"].set_uint64_param(uint64_t{1} << 32);
  EXPECT_THAT(Error(), HasSubstr("parameters.priority"));
}

TEST_F(InferMessageTest, ChoosesOutputs) {
  Model(DataType::kFloat32);
  Add("x", "FP32", {0});
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(request_.outputs.size(), 2u);
  message_.add_outputs()->set_name("z");
  ASSERT_TRUE(Read().ok());
  ASSERT_EQ(request_.outputs.size(), 1u);
  EXPECT_EQ(request_.outputs[0].index, 1u);
  message_.add_outputs()->set_name("z");
  EXPECT_THAT(Error(), HasSubstr("outputs[1]: output 'z' is asked for twice"));
  message_.mutable_outputs(1)->set_name("w");
  EXPECT_THAT(Error(), HasSubstr("outputs[1]: the model has no output 'w'; it has 'y', 'z'"));
}

TEST_F(InferMessageTest, RefusesWithTheFieldNamed) {
  struct Case {
    std::function<void(ModelInferRequest*)> spoil;
    std::string error;
  };
  const Case cases[] = {
      {[](auto* m) { m->clear_inputs(); }, "input 'x' is missing"},
      {[](auto* m) { *m->add_inputs() = m->inputs(0); }, "input 'x' is given twice"},
      {[](auto* m) { m->mutable_inputs(0)->set_name("w"); },
       "field inputs[0]: the model has no input 'w'; it has 'x'"},
      {[](auto* m) { m->mutable_inputs(0)->clear_datatype(); }, "input 'x': datatype is missing"},
      {[](auto* m) { m->mutable_inputs(0)->set_datatype("INT64"); },
       "input 'x': datatype is 'INT64', the model takes FP32"},
      {[](auto* m) { m->mutable_inputs(0)->set_shape(0, -1); },
       "input 'x': shape: the extent -1 is negative"},
      {[](auto* m) { m->mutable_inputs(0)->set_shape(1, 3); },
       "input 'x': shape: [1,3] does not fit the model's [-1,2] (-1 may be any extent)"},
      {[](auto* m) { m->mutable_inputs(0)->set_shape(0, std::numeric_limits<int64_t>::max() / 4); },
       "input 'x': shape: [2305843009213693951,2] has more elements than memory"},
      {[](auto* m) {
         for (int i = 0; i < 1000; ++i) m->mutable_inputs(0)->add_shape(1);
       },
       "input 'x': shape: more than 8 extents"},
      {[](auto* m) { m->mutable_inputs(0)->set_shape(0, 1 << 30); },
       "input 'x': contents: has 2 elements, the shape [1073741824,2] needs 2147483648"},
      {[](auto* m) { m->mutable_inputs(0)->mutable_contents()->add_int_contents(1); },
       "input 'x': contents: elements of FP32 belong in fp32_contents, others are not empty"},
      {[](auto* m) { m->add_raw_input_contents("12345678"); },
       "input 'x': has both contents and raw_input_contents"},
      {[](auto* m) {
         m->mutable_inputs(0)->clear_contents();
         m->add_raw_input_contents("1234567");
       },
       "input 'x': the size of its raw_input_contents is 7, the datatype and the shape [1,2] need "
       "8 bytes"},
      {[](auto* m) {
         m->add_raw_input_contents("");
         m->add_raw_input_contents("");
       },
       "raw_input_contents has 2 tensors, inputs has 1: all inputs go this way, or none"},
  };
  for (const Case& each : cases) {
    message_.Clear();
    Model(DataType::kFloat32, {-1, 2});
    auto* const contents = Add("x", "FP32", {1, 2})->mutable_contents();
    contents->add_fp32_contents(1);
    contents->add_fp32_contents(2);
    ASSERT_TRUE(Read().ok());
    each.spoil(&message_);
    EXPECT_EQ(Error(), each.error);
  }
}

TEST_F(InferMessageTest, RefusesWhatIsNotOffered) {
  Model(DataType::kFloat16);
  Add("x", "FP16", {0});
  EXPECT_THAT(Error(), HasSubstr("send the tensor in raw_input_contents"));
}

TEST_F(InferMessageTest, RawContentsAreThoseOfInputsOutsideSharedMemory) {
  Model(DataType::kFloat32);
  auto& parameters = *Add("x", "FP32", {1})->mutable_parameters();
  parameters["shared_memory_region"].set_string_param("r");
  parameters["shared_memory_byte_size"].set_int64_param(4);
  EXPECT_EQ(Read().code(), StatusCode::kUnimplemented);  // there is no registry here
  message_.add_raw_input_contents("1234");
  EXPECT_EQ(Error(),
            "raw_input_contents has 1 tensors, inputs has 0: all inputs go this way, or none");
  message_.clear_raw_input_contents();
  parameters["shared_memory_byte_size"].set_int64_param(-1);
  EXPECT_EQ(Error(),
            "field inputs[0].parameters.shared_memory_byte_size must be a whole number that is not "
            "negative");
  parameters["shared_memory_byte_size"].set_uint64_param(4);
  parameters["shared_memory_region"].set_int64_param(1);
  EXPECT_EQ(Error(), "field inputs[0].parameters.shared_memory_region must be a string");
}

}  // namespace
}  // namespace verdict
