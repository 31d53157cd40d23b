#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "engine/sections.h"
#include "ops/infer.h"
#include "ops/verify.h"

namespace verdict {
namespace {

constexpr Dim kMaxStoredExtent = Dim{1} << 31;

using Bytes = std::span<const std::byte>;

std::string Quoted(const std::string& name) { return "'" + name + "'"; }

/// Kernels may trust a bool to be 0 or 1.
bool AreBools(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte <= std::byte{1}; });
}

/// Views of a string table (offsets, then bytes) that keep the table's memory alive.
Result<Constant> ReadStrings(const Shape& shape, int64_t count, Bytes bytes,
                             const std::shared_ptr<const void>& owner) {
  const size_t slots = bytes.size() / sizeof(uint64_t);
  if (slots == 0 || static_cast<uint64_t>(count) > slots - 1) {
    return Malformed("its string table is too short");
  }
  const auto offset_at = [&](size_t index) {
    uint64_t offset = 0;
    std::memcpy(&offset, bytes.data() + index * sizeof(offset), sizeof(offset));
    return offset;
  };
  const auto num_strings = static_cast<size_t>(count);
  const Bytes text = bytes.subspan((num_strings + 1) * sizeof(uint64_t));
  struct Storage {
    std::shared_ptr<const void> owner;
    std::vector<std::string_view> views;
  };
  auto storage = std::make_shared<Storage>();
  storage->owner = owner;
  storage->views.reserve(num_strings);
  uint64_t begin = offset_at(0);
  if (begin != 0) return Malformed("its string table does not begin at 0");
  for (size_t i = 0; i < num_strings; ++i) {
    const uint64_t end = offset_at(i + 1);
    if (end < begin || end > text.size()) return Malformed("its string table is out of order");
    storage->views.emplace_back(reinterpret_cast<const char*>(text.data()) + begin, end - begin);
    begin = end;
  }
  if (begin != text.size()) return Malformed("its string table does not end at its end");
  const void* data = storage->views.data();
  return Constant{DataType::kString, shape, data, std::move(storage)};
}

Result<Constant> ReadConstant(const proto::Value& message, Bytes section,
                              const std::shared_ptr<const void>& owner) {
  const DataType dtype = DataTypeFromName(message.dtype());
  if (dtype == DataType::kUndefined) {
    return Malformed("its element type " + Quoted(message.dtype()) + " is not known");
  }
  VERDICT_ASSIGN_OR_RETURN(const Shape shape, ReadShape(message.shape(), 0));
  const uint64_t offset = message.constant().offset();
  const uint64_t size = message.constant().bytes();
  if (offset % kBlobAlignment != 0 || offset > section.size() || size > section.size() - offset) {
    return Malformed("its range (offset " + std::to_string(offset) + ", " + std::to_string(size) +
                     " bytes) is not within section 'constants' (" +
                     std::to_string(section.size()) + " bytes)");
  }
  const Bytes bytes = section.subspan(offset, size);
  if (dtype == DataType::kString) {
    return ReadStrings(shape, NumElements(shape).value(), bytes, owner);
  }
  if (size != ByteSize(dtype, shape).value()) {
    return Malformed("it has " + std::to_string(size) + " bytes, its shape " + ToString(shape) +
                     " of " + std::string(DataTypeName(dtype)) + " needs " +
                     std::to_string(ByteSize(dtype, shape).value()));
  }
  if (dtype == DataType::kBool && !AreBools(bytes)) {
    return Malformed("it has a bool that is neither 0 nor 1");
  }
  return Constant{dtype, shape, bytes.data(), owner};
}

Status ReadAttribute(const proto::Attribute& message, Node& node) {
  Attribute attribute;
  switch (message.value_case()) {
    case proto::Attribute::kIntValue:
      attribute = message.int_value();
      break;
    case proto::Attribute::kFloatValue:
      attribute = message.float_value();
      break;
    case proto::Attribute::kStringValue:
      attribute = message.string_value();
      break;
    case proto::Attribute::kInts:
      attribute =
          std::vector<int64_t>(message.ints().values().begin(), message.ints().values().end());
      break;
    case proto::Attribute::kFloats:
      attribute =
          std::vector<float>(message.floats().values().begin(), message.floats().values().end());
      break;
    case proto::Attribute::kStrings:
      attribute = std::vector<std::string>(message.strings().values().begin(),
                                           message.strings().values().end());
      break;
    case proto::Attribute::VALUE_NOT_SET:
      return Malformed("attribute " + Quoted(message.name()) + " has no value");
  }
  if (!node.attributes.emplace(message.name(), std::move(attribute)).second) {
    return Malformed("attribute " + Quoted(message.name()) + " is there twice");
  }
  return OkStatus();
}

Status ReadIds(const google::protobuf::RepeatedField<int32_t>& ids, ValueId least, ValueId count,
               std::vector<ValueId>& result) {
  for (ValueId id : ids) {
    if (id < least || id >= count) {
      return Malformed("value " + std::to_string(id) + " is not among the " +
                       std::to_string(count) + " values");
    }
    result.push_back(id);
  }
  return OkStatus();
}

Status ReadValues(const proto::Graph& message, Bytes constants,
                  const std::shared_ptr<const void>& owner, Graph& graph) {
  for (const proto::Value& value : message.values()) {
    if (value.name().empty() || graph.FindValue(value.name()) != kNoValue) {
      return Malformed("value name " + Quoted(value.name()) + " is empty or there twice");
    }
    if (!value.has_constant()) {
      graph.AddValue(value.name(), DataType::kUndefined, Shape());
      continue;
    }
    auto constant = ReadConstant(value, constants, owner);
    if (!constant.ok()) return constant.status().WithContext("constant " + Quoted(value.name()));
    graph.AddConstant(value.name(), *std::move(constant));
  }
  return OkStatus();
}

Status ReadInputs(const proto::Graph& message, Graph& graph) {
  VERDICT_RETURN_IF_ERROR(ReadIds(message.inputs(), 0, graph.num_values(), graph.inputs));
  for (ValueId id : graph.inputs) {
    const proto::Value& value = message.values(id);
    const std::string context = "graph input " + Quoted(value.name());
    const DataType dtype = DataTypeFromName(value.dtype());
    if (dtype == DataType::kUndefined || value.has_constant()) {
      return Malformed(context + ": its element type " + Quoted(value.dtype()) +
                       " is not known, or it is a constant");
    }
    const auto shape = ReadShape(value.shape(), graph.num_symbols());
    if (!shape.ok()) return shape.status().WithContext(context);
    graph.value(id).dtype = dtype;
    graph.value(id).shape = *shape;
  }
  return OkStatus();
}

/// An error of the verifier or a shape rule about a graph whose checksums are right.
Status GraphError(const Status& status) {
  if (status.code() == StatusCode::kUnimplemented) {
    return FailedPrecondition(status.message() +
                              "; this build cannot run it: upgrade verdict, or rebuild the engine "
                              "from the ONNX file with `verdict build`");
  }
  if (status.code() == StatusCode::kInvalidArgument) return Malformed(status.message());
  return status;
}

}  // namespace

Status Malformed(const std::string& what, std::source_location place) {
  return DataLoss(what + "; rebuild the engine from the ONNX file with `verdict build`", place);
}

Result<Shape> ReadShape(const proto::Shape& message, int64_t num_symbols) {
  if (message.dims_size() > Shape::kMaxRank) {
    return Malformed("rank " + std::to_string(message.dims_size()) + " is over " +
                     std::to_string(Shape::kMaxRank));
  }
  Shape shape;
  // The most bytes of one element, so that no type's ByteSize can fail later.
  auto bytes = static_cast<int64_t>(ElementSize(DataType::kString));
  for (Dim dim : message.dims()) {
    if (dim > kMaxStoredExtent || dim < -num_symbols) {
      return Malformed("extent " + std::to_string(dim) + " is out of range");
    }
    if (dim > 0 && !CheckedMul(bytes, dim, &bytes)) {
      return Malformed("a shape has more elements than fit 64 bits");
    }
    shape.push_back(dim);
  }
  return shape;
}

Result<Graph> ReadGraph(const proto::Graph& message, Bytes constants,
                        const std::shared_ptr<const void>& owner) {
  Graph graph;
  graph.name = message.name();
  for (const std::string& symbol : message.symbols()) {
    const int32_t known = graph.num_symbols();
    if (graph.Symbol(symbol); graph.num_symbols() == known) {
      return Malformed("symbol " + Quoted(symbol) + " is there twice");
    }
  }
  VERDICT_RETURN_IF_ERROR(ReadValues(message, constants, owner, graph));
  VERDICT_RETURN_IF_ERROR(ReadInputs(message, graph));
  const ValueId count = graph.num_values();
  for (const proto::Node& node_message : message.nodes()) {
    Node node{.name = node_message.name(), .op = node_message.op()};
    Status status = ReadIds(node_message.inputs(), kNoValue, count, node.inputs);
    if (status.ok()) status = ReadIds(node_message.outputs(), kNoValue, count, node.outputs);
    for (const proto::Attribute& attribute : node_message.attributes()) {
      if (status.ok()) status = ReadAttribute(attribute, node);
    }
    if (!status.ok()) return status.WithContext(Graph::Describe(node));
    graph.nodes.push_back(std::move(node));
  }
  VERDICT_RETURN_IF_ERROR(ReadIds(message.outputs(), 0, count, graph.outputs));
  if (const Status status = VerifyGraph(graph); !status.ok()) return GraphError(status);
  if (const Status status = InferShapes(graph); !status.ok()) return GraphError(status);
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.outputs) {
      if (id == kNoValue || !graph.value(id).shape.IsStatic()) continue;
      if (!ByteSize(graph.value(id).dtype, graph.value(id).shape).ok()) {
        return Malformed(Graph::Describe(node) + ": its output is too large");
      }
    }
  }
  return graph;
}

}  // namespace verdict
