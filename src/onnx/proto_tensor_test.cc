#include "onnx/proto_tensor.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "onnx/model_builder_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

onnx::TensorProto Proto(int32_t type, const std::vector<int64_t>& dims) {
  onnx::TensorProto tensor;
  tensor.set_name("w");
  tensor.set_data_type(type);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  return tensor;
}

Result<Constant> Convert(const onnx::TensorProto& tensor) {
  ExternalData none("");
  return ConstantFromProto(tensor, none);
}

void ExpectRefused(const onnx::TensorProto& tensor, StatusCode code, const std::string& part) {
  const auto constant = Convert(tensor);
  ASSERT_FALSE(constant.ok());
  EXPECT_EQ(constant.status().code(), code);
  EXPECT_THAT(constant.status().message(), HasSubstr("'w'"));
  EXPECT_THAT(constant.status().message(), HasSubstr(part));
}

template <typename T>
std::string RawBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

TEST(ConstantFromProto, ReadsRawData) {
  auto tensor = Proto(onnx::TensorProto::FLOAT, {2, 2});
  tensor.set_raw_data(RawBytes<float>({1, 2, 3, 4.5f}));
  const auto constant = Convert(tensor);
  ASSERT_TRUE(constant.ok()) << constant.status().ToString();
  EXPECT_EQ(constant->shape, Shape({2, 2}));
  EXPECT_THAT(Values<float>(*constant), ElementsAre(1, 2, 3, 4.5f));
}

TEST(ConstantFromProto, ReadsEveryTypedField) {
  auto doubles = Proto(onnx::TensorProto::DOUBLE, {1});
  doubles.add_double_data(1e300);
  EXPECT_THAT(Values<double>(Convert(doubles).value()), ElementsAre(1e300));

  auto ints = Proto(onnx::TensorProto::INT64, {2});
  ints.add_int64_data(-5);
  ints.add_int64_data(int64_t{1} << 40);
  EXPECT_THAT(Values<int64_t>(Convert(ints).value()), ElementsAre(-5, int64_t{1} << 40));

  auto bytes = Proto(onnx::TensorProto::INT8, {2});
  bytes.add_int32_data(-128);
  bytes.add_int32_data(127);
  EXPECT_THAT(Values<int8_t>(Convert(bytes).value()), ElementsAre(-128, 127));

  auto wide = Proto(onnx::TensorProto::UINT32, {1});
  wide.add_uint64_data(4000000000U);
  EXPECT_THAT(Values<uint32_t>(Convert(wide).value()), ElementsAre(4000000000U));

  auto bools = Proto(onnx::TensorProto::BOOL, {2});
  bools.add_int32_data(0);
  bools.add_int32_data(7);
  EXPECT_THAT(Values<bool>(Convert(bools).value()), ElementsAre(false, true));

  auto half = Proto(onnx::TensorProto::FLOAT16, {1});
  half.add_int32_data(0x3C00);
  const Constant one = Convert(half).value();
  EXPECT_EQ(one.dtype, DataType::kFloat16);
  EXPECT_EQ(*static_cast<const uint16_t*>(one.data), 0x3C00);

  auto strings = Proto(onnx::TensorProto::STRING, {2});
  strings.add_string_data("chip");
  strings.add_string_data("");
  EXPECT_THAT(Values<std::string_view>(Convert(strings).value()), ElementsAre("chip", ""));
}

TEST(ConstantFromProto, MakesBoolsOfRawBytes) {
  auto tensor = Proto(onnx::TensorProto::BOOL, {3});
  tensor.set_raw_data(std::string("\x00\x02\xff", 3));
  const Constant constant = Convert(tensor).value();
  const auto* bytes = static_cast<const uint8_t*>(constant.data);
  EXPECT_THAT(std::vector<uint8_t>(bytes, bytes + 3), ElementsAre(0, 1, 1));
}

TEST(ConstantFromProto, ReadsScalarsAndEmptyTensors) {
  auto scalar = Proto(onnx::TensorProto::FLOAT, {});
  scalar.add_float_data(3);
  EXPECT_EQ(Convert(scalar).value().shape.rank(), 0);
  EXPECT_TRUE(Convert(Proto(onnx::TensorProto::FLOAT, {0, 4})).ok());
  ExpectRefused(Proto(onnx::TensorProto::FLOAT, {}), StatusCode::kInvalidArgument, "needs 1");
}

TEST(ConstantFromProto, RefusesDataThatDoesNotFitTheShape) {
  auto tensor = Proto(onnx::TensorProto::FLOAT, {3});
  tensor.set_raw_data(std::string(11, '\0'));
  ExpectRefused(tensor, StatusCode::kInvalidArgument, "raw_data has 11 bytes");
  tensor.set_raw_data(std::string(13, '\0'));
  ExpectRefused(tensor, StatusCode::kInvalidArgument, "needs 12");
  tensor.clear_raw_data();
  tensor.add_float_data(1);
  ExpectRefused(tensor, StatusCode::kInvalidArgument, "float_data has 1 elements");
  auto strings = Proto(onnx::TensorProto::STRING, {2});
  strings.add_string_data("one");
  ExpectRefused(strings, StatusCode::kInvalidArgument, "string_data has 1 elements");
}

// Were these sizes believed, the allocation would end the process.
TEST(ConstantFromProto, RefusesHugeShapesBeforeAllocating) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  ExpectRefused(Proto(onnx::TensorProto::FLOAT, {kHuge}), StatusCode::kInvalidArgument, "needs");
  ExpectRefused(Proto(onnx::TensorProto::STRING, {kHuge}), StatusCode::kInvalidArgument, "needs");
  ExpectRefused(Proto(onnx::TensorProto::FLOAT, {kHuge, kHuge}), StatusCode::kInvalidArgument,
                "more elements");
  ExpectRefused(Proto(onnx::TensorProto::DOUBLE, {kHuge, int64_t{1} << 22}),
                StatusCode::kInvalidArgument, "more bytes");
  ExpectRefused(Proto(onnx::TensorProto::DOUBLE, {int64_t{1} << 62, 0}),
                StatusCode::kInvalidArgument, "extent 4611686018427387904");
}

TEST(ConstantFromProto, RefusesMalformedShapes) {
  ExpectRefused(Proto(onnx::TensorProto::FLOAT, {2, -1}), StatusCode::kInvalidArgument,
                "negative extent -1");
  ExpectRefused(Proto(onnx::TensorProto::FLOAT, {1, 1, 1, 1, 1, 1, 1, 1, 1}),
                StatusCode::kUnimplemented, "9 dimensions");
}

TEST(ConstantFromProto, RefusesValuesOutOfRange) {
  auto tensor = Proto(onnx::TensorProto::INT8, {1});
  tensor.add_int32_data(128);
  ExpectRefused(tensor, StatusCode::kInvalidArgument, "128");
  auto half = Proto(onnx::TensorProto::FLOAT16, {1});
  half.add_int32_data(-1);
  ExpectRefused(half, StatusCode::kInvalidArgument, "cannot hold");
}

TEST(ConstantFromProto, RefusesTypesAndStorageWeDoNotHave) {
  ExpectRefused(Proto(onnx::TensorProto::FLOAT8E4M3FN, {1}), StatusCode::kUnimplemented,
                "FLOAT8E4M3FN");
  ExpectRefused(Proto(99, {1}), StatusCode::kUnimplemented, "type 99");
  auto segment = Proto(onnx::TensorProto::FLOAT, {1});
  segment.mutable_segment()->set_begin(0);
  ExpectRefused(segment, StatusCode::kUnimplemented, "segments");
}

class ExternalDataTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) /
            ("external_" + std::to_string(::getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(root_ / "model");
    Write("model/weights.bin", Floats(64));
    Write("outside.bin", Floats(64));
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static std::string Floats(int count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i);
    return RawBytes(values);
  }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(root_ / name, std::ios::binary) << bytes;
  }
  static onnx::TensorProto External(const std::string& location, const std::string& offset = "",
                                    const std::string& length = "") {
    auto tensor = Proto(onnx::TensorProto::FLOAT, {4});
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    const std::pair<std::string, std::string> entries[] = {
        {"location", location}, {"offset", offset}, {"length", length}};
    for (const auto& [key, value] : entries) {
      if (value.empty() && key != "location") continue;
      auto* entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    return tensor;
  }
  Result<Constant> Read(const onnx::TensorProto& tensor) const {
    ExternalData external(root_ / "model");
    return ConstantFromProto(tensor, external);
  }
  void ExpectUnreadable(const onnx::TensorProto& tensor, StatusCode code,
                        const std::string& part) const {
    const auto constant = Read(tensor);
    ASSERT_FALSE(constant.ok());
    EXPECT_EQ(constant.status().code(), code) << constant.status().ToString();
    EXPECT_THAT(constant.status().message(), HasSubstr(part));
  }

  std::filesystem::path root_;
};

TEST_F(ExternalDataTest, ReadsAlignedDataInPlace) {
  const auto constant = Read(External("weights.bin", "64", "16"));
  ASSERT_TRUE(constant.ok()) << constant.status().ToString();
  EXPECT_THAT(Values<float>(*constant), ElementsAre(16, 17, 18, 19));
  // A mapped file starts a page, so that data in place keep their offset within it.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(constant->data) % 4096, 64U);
}

TEST_F(ExternalDataTest, CopiesUnalignedData) {
  const auto constant = Read(External("weights.bin", "4"));
  ASSERT_TRUE(constant.ok()) << constant.status().ToString();
  EXPECT_THAT(Values<float>(*constant), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(constant->data) % 64, 0U);
}

TEST_F(ExternalDataTest, FollowsLinksInsideTheFolder) {
  std::filesystem::create_symlink("weights.bin", root_ / "model/link.bin");
  EXPECT_TRUE(Read(External("link.bin")).ok());
  EXPECT_TRUE(Read(External("./weights.bin")).ok());
}

TEST_F(ExternalDataTest, RefusesLocationsOutsideTheFolder) {
  const std::string absolute = (root_ / "outside.bin").string();
  std::filesystem::create_symlink(absolute, root_ / "model/link.bin");
  std::filesystem::create_directory_symlink(root_, root_ / "model/up");
  std::filesystem::create_directories(root_ / "model2");
  Write("model2/weights.bin", Floats(64));
  constexpr auto kCode = StatusCode::kInvalidArgument;
  ExpectUnreadable(External("../outside.bin"), kCode, "inside the model's own folder");
  ExpectUnreadable(External("sub/../../outside.bin"), kCode, "inside the model's own folder");
  ExpectUnreadable(External(absolute), kCode, "inside the model's own folder");
  ExpectUnreadable(External(""), kCode, "inside the model's own folder");
  ExpectUnreadable(External(std::string("weights.bin\0.txt", 16)), kCode, "own folder");
  ExpectUnreadable(External("link.bin"), kCode, "leaves the model's own folder");
  ExpectUnreadable(External("up/outside.bin"), kCode, "leaves the model's own folder");
  // A sibling whose name starts like the folder's is outside, too.
  ExpectUnreadable(External("up/model2/weights.bin"), kCode, "leaves the model's own folder");
}

TEST_F(ExternalDataTest, RefusesWhatTheFileDoesNotHave) {
  constexpr auto kCode = StatusCode::kInvalidArgument;
  ExpectUnreadable(External("weights.bin", "244"), kCode, "reach beyond");
  ExpectUnreadable(External("weights.bin", "18446744073709551612"), kCode, "reach beyond");
  ExpectUnreadable(External("weights.bin", "0", "12"), kCode, "length 12");
  ExpectUnreadable(External("weights.bin", "-4"), kCode, "not a number");
  ExpectUnreadable(External("weights.bin", "4x"), kCode, "not a number");
  ExpectUnreadable(External("missing.bin"), StatusCode::kNotFound, "missing.bin");
  ExpectUnreadable(External("."), kCode, "not a regular file");
}

TEST_F(ExternalDataTest, RefusesWithoutAFolder) {
  const auto constant = Convert(External("weights.bin"));
  ASSERT_FALSE(constant.ok());
  EXPECT_THAT(constant.status().message(), HasSubstr("without a folder"));
}

TEST_F(ExternalDataTest, ServesAModelFileBesideItsData) {
  TestModel model;
  model.Input("x", {"4"}).Initializer(External("weights.bin")).Node("Add", {"x", "w"}, {"y"});
  model.Output("y");
  Write("model/model.onnx", model.proto.SerializeAsString());
  const auto imported = ImportOnnx(root_ / "model/model.onnx");
  const auto outputs = RunModel(imported, {Tensor<float>({4}, {1, 1, 1, 1})});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_THAT(Values<float>(outputs[0]), ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace verdict
