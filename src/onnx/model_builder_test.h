#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "onnx/import.h"
#include "onnx/proto.h"
#include "ops/op_test.h"

namespace verdict {

inline onnx::AttributeProto IntAttr(const std::string& name, int64_t value) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
  return attribute;
}
inline onnx::AttributeProto FloatAttr(const std::string& name, float value) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::FLOAT);
  attribute.set_f(value);
  return attribute;
}
inline onnx::AttributeProto StringAttr(const std::string& name, const std::string& value) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::STRING);
  attribute.set_s(value);
  return attribute;
}
inline onnx::AttributeProto IntsAttr(const std::string& name, const std::vector<int64_t>& values) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INTS);
  attribute.mutable_ints()->Add(values.begin(), values.end());
  return attribute;
}
inline onnx::AttributeProto FloatsAttr(const std::string& name, const std::vector<float>& values) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::FLOATS);
  attribute.mutable_floats()->Add(values.begin(), values.end());
  return attribute;
}
inline onnx::AttributeProto StringsAttr(const std::string& name,
                                        const std::vector<std::string>& values) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::STRINGS);
  for (const std::string& value : values) attribute.add_strings(value);
  return attribute;
}
inline onnx::AttributeProto TensorAttr(const std::string& name, const onnx::TensorProto& value) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::TENSOR);
  *attribute.mutable_t() = value;
  return attribute;
}
inline onnx::AttributeProto GraphAttr(const std::string& name, const onnx::GraphProto& value) {
  onnx::AttributeProto attribute;
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::GRAPH);
  *attribute.mutable_g() = value;
  return attribute;
}

inline onnx::TensorProto FloatTensor(const std::string& name, const std::vector<int64_t>& dims,
                                     const std::vector<float>& values) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  tensor.mutable_float_data()->Add(values.begin(), values.end());
  return tensor;
}
inline onnx::TensorProto DoubleTensor(const std::string& name, const std::vector<int64_t>& dims,
                                      const std::vector<double>& values) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::DOUBLE);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  tensor.mutable_double_data()->Add(values.begin(), values.end());
  return tensor;
}
inline onnx::TensorProto IntTensor(const std::string& name, const std::vector<int64_t>& dims,
                                   const std::vector<int64_t>& values) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::INT64);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  tensor.mutable_int64_data()->Add(values.begin(), values.end());
  return tensor;
}
/// Of any integer type that int32_data holds: onnx::TensorProto::INT8, UINT8, INT32, …
inline onnx::TensorProto ByteTensor(const std::string& name, int32_t type,
                                    const std::vector<int64_t>& dims,
                                    const std::vector<int32_t>& values) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(type);
  tensor.mutable_dims()->Add(dims.begin(), dims.end());
  tensor.mutable_int32_data()->Add(values.begin(), values.end());
  return tensor;
}
inline onnx::TensorProto BoolTensor(const std::string& name, bool value) {
  onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::BOOL);
  tensor.add_int32_data(value ? 1 : 0);
  return tensor;
}

inline onnx::NodeProto MakeNodeProto(const std::string& op, const std::vector<std::string>& inputs,
                                     const std::vector<std::string>& outputs,
                                     const std::vector<onnx::AttributeProto>& attributes = {},
                                     const std::string& domain = "") {
  onnx::NodeProto node;
  node.set_op_type(op);
  node.set_domain(domain);
  for (const auto& input : inputs) node.add_input(input);
  for (const auto& output : outputs) node.add_output(output);
  for (const auto& attribute : attributes) *node.add_attribute() = attribute;
  return node;
}

/// A model under construction: operator set 17, ai.onnx.ml 3.
struct TestModel {
  onnx::ModelProto proto;

  explicit TestModel(int64_t opset = 17, int64_t ml_opset = 3) {
    proto.set_ir_version(8);
    Opset("", opset);
    Opset("ai.onnx.ml", ml_opset);
    proto.mutable_graph()->set_name("test");
  }
  onnx::GraphProto& graph() { return *proto.mutable_graph(); }

  void Opset(const std::string& domain, int64_t version) {
    auto* opset = proto.add_opset_import();
    opset->set_domain(domain);
    opset->set_version(version);
  }
  /// dims: "3" is an extent, "N" a name, "" neither.
  TestModel& Input(const std::string& name, const std::vector<std::string>& dims,
                   int32_t type = onnx::TensorProto::FLOAT) {
    Declare(*graph().add_input(), name, dims, type);
    return *this;
  }
  TestModel& Initializer(const onnx::TensorProto& tensor) {
    *graph().add_initializer() = tensor;
    return *this;
  }
  TestModel& Node(const std::string& op, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs,
                  const std::vector<onnx::AttributeProto>& attributes = {},
                  const std::string& domain = "") {
    *graph().add_node() = MakeNodeProto(op, inputs, outputs, attributes, domain);
    return *this;
  }
  TestModel& MlNode(const std::string& op, const std::vector<std::string>& inputs,
                    const std::vector<std::string>& outputs,
                    const std::vector<onnx::AttributeProto>& attributes = {}) {
    return Node(op, inputs, outputs, attributes, "ai.onnx.ml");
  }
  /// An output that declares nothing but its name.
  TestModel& Output(const std::string& name) {
    graph().add_output()->set_name(name);
    return *this;
  }
  TestModel& Output(const std::string& name, const std::vector<std::string>& dims,
                    int32_t type = onnx::TensorProto::FLOAT) {
    Declare(*graph().add_output(), name, dims, type);
    return *this;
  }

  Result<ImportedModel> Import(const std::filesystem::path& folder = {}) const {
    const std::string bytes = proto.SerializeAsString();
    return ImportOnnxBytes(std::as_bytes(std::span(bytes)), folder, "test.onnx");
  }

  static void Declare(onnx::ValueInfoProto& info, const std::string& name,
                      const std::vector<std::string>& dims, int32_t type) {
    info.set_name(name);
    auto* tensor = info.mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (const std::string& dim : dims) {
      auto* added = tensor->mutable_shape()->add_dim();
      if (dim.empty()) continue;
      const bool is_number = dim.find_first_not_of("-0123456789") == std::string::npos;
      if (is_number) {
        added->set_dim_value(std::stoll(dim));
      } else {
        added->set_dim_param(dim);
      }
    }
  }
};

/// Expects an error of that code whose message has each of `parts`.
inline void ExpectError(const Result<ImportedModel>& model, StatusCode code,
                        const std::vector<std::string>& parts) {
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), code) << model.status().ToString();
  EXPECT_THAT(model.status().message(), testing::HasSubstr("test.onnx"));
  for (const auto& part : parts) {
    EXPECT_THAT(model.status().message(), testing::HasSubstr(part));
  }
}

/// The outputs of an imported model, by the reference kernels.
inline std::vector<Constant> RunModel(const Result<ImportedModel>& model,
                                      const std::vector<Constant>& inputs) {
  if (!model.ok()) {
    ADD_FAILURE() << model.status().ToString();
    return {};
  }
  std::vector<TensorView> views;
  for (const Constant& input : inputs) views.push_back(input.view());
  auto outputs = Evaluate(model->graph, views);
  if (!outputs.ok()) {
    ADD_FAILURE() << outputs.status().ToString();
    return {};
  }
  return *std::move(outputs);
}

}  // namespace verdict
