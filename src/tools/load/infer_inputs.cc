#include "tools/load/infer_inputs.h"

#include <simdjson.h>

#include <algorithm>
#include <random>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_json.h"
#include "tools/npy.h"

namespace verdict::load {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMaxRequestBytes = size_t{64} << 20;

Result<InputSpec> ReadSpec(const dom::element& value) {
  std::string_view name;
  std::string_view datatype;
  dom::array shape;
  if (value["name"].get(name) != simdjson::SUCCESS ||
      value["datatype"].get(datatype) != simdjson::SUCCESS ||
      value["shape"].get(shape) != simdjson::SUCCESS) {
    return InvalidArgument("an input without \"name\", \"datatype\" and \"shape\"");
  }
  InputSpec spec{.name = std::string(name), .dtype = DataTypeFromWireName(datatype), .shape = {}};
  if (spec.dtype == DataType::kUndefined) {
    return InvalidArgument("input " + Quoted(name) + ": unknown datatype " + Quoted(datatype));
  }
  for (const dom::element extent : shape) {
    int64_t dim = 0;
    if (extent.get(dim) != simdjson::SUCCESS || dim < -1 || spec.shape.size() == Shape::kMaxRank) {
      return InvalidArgument("input " + Quoted(name) + ": a shape that is none");
    }
    spec.shape.push_back(dim);
  }
  return spec;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  AppendJsonShape(&text, shape);
  return text;
}

bool Fits(const std::vector<int64_t>& wanted, const Shape& shape) {
  if (wanted.size() != static_cast<size_t>(shape.rank())) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t extent = wanted[static_cast<size_t>(axis)];
    if (extent >= 0 && extent != shape[axis]) return false;
  }
  return true;
}

std::string ListInputs(const std::vector<InputSpec>& specs) {
  std::string text;
  for (const InputSpec& spec : specs) {
    text += (text.empty() ? "" : ", ") + spec.name + " (" + std::string(WireTypeName(spec.dtype)) +
            " " + ShapeText(spec.shape) + ")";
  }
  return text.empty() ? "none" : text;
}

template <typename T>
void FillIntegers(void* data, size_t count, std::mt19937_64& random) {
  for (size_t i = 0; i < count; ++i) static_cast<T*>(data)[i] = static_cast<T>(random() & 1);
}

template <typename T>
void FillFloats(void* data, size_t count, std::mt19937_64& random) {
  std::normal_distribution<T> normal;
  for (size_t i = 0; i < count; ++i) static_cast<T*>(data)[i] = normal(random);
}

/// Halves: -1, 0, 0.5 or 1 in the type's bits.
void FillHalves(DataType dtype, void* data, size_t count, std::mt19937_64& random) {
  constexpr uint16_t kFp16[] = {0xbc00, 0, 0x3800, 0x3c00};
  constexpr uint16_t kBf16[] = {0xbf80, 0, 0x3f00, 0x3f80};
  for (size_t i = 0; i < count; ++i) {
    const size_t pick = random() & 3;
    static_cast<uint16_t*>(data)[i] = dtype == DataType::kFloat16 ? kFp16[pick] : kBf16[pick];
  }
}

Constant RandomTensor(DataType dtype, const Shape& shape, std::mt19937_64& random) {
  const auto count = static_cast<size_t>(NumElements(shape).value());
  if (dtype == DataType::kString) {
    std::vector<std::string> strings(count);
    for (std::string& text : strings) text = "v" + std::to_string(random() % 10);
    return Constant::OfStrings(shape, std::move(strings));
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  if (dtype == DataType::kFloat32) {
    FillFloats<float>(data, count, random);
  } else if (dtype == DataType::kFloat64) {
    FillFloats<double>(data, count, random);
  } else if (IsFloating(dtype)) {
    FillHalves(dtype, data, count, random);
  } else if (ElementSize(dtype) == 1) {
    FillIntegers<uint8_t>(data, count, random);
  } else if (ElementSize(dtype) == 2) {
    FillIntegers<uint16_t>(data, count, random);
  } else if (ElementSize(dtype) == 4) {
    FillIntegers<uint32_t>(data, count, random);
  } else {
    FillIntegers<uint64_t>(data, count, random);
  }
  return std::move(constant);
}

Status CheckKnown(const std::vector<InputSpec>& specs, std::string_view name,
                  const std::string& context) {
  if (std::ranges::any_of(specs, [&](const InputSpec& spec) { return spec.name == name; })) {
    return OkStatus();
  }
  return InvalidArgument(context + ": the model has no input " + Quoted(name) +
                         "; its inputs are " + ListInputs(specs));
}

}  // namespace

Result<std::vector<InputSpec>> ParseModelMetadata(std::string_view json) {
  dom::parser parser;
  dom::element document;
  dom::array inputs;
  if (parser.parse(json.data(), json.size()).get(document) != simdjson::SUCCESS ||
      document["inputs"].get(inputs) != simdjson::SUCCESS) {
    return InvalidArgument("the model's metadata are not a v2 document with \"inputs\"");
  }
  std::vector<InputSpec> specs;
  for (const dom::element input : inputs) {
    auto spec = ReadSpec(input);
    if (!spec.ok()) return spec.status().WithContext("the model's metadata");
    specs.push_back(*std::move(spec));
  }
  return specs;
}

Result<RequestInputs> ParseJsonInputs(std::string_view json) {
  dom::parser parser;
  dom::element document;
  dom::array inputs;
  if (parser.parse(json.data(), json.size()).get(document) != simdjson::SUCCESS ||
      document.get(inputs) != simdjson::SUCCESS) {
    return InvalidArgument("\"inputs\" is no array");
  }
  RequestInputs request;
  for (const dom::element input : inputs) {
    VERDICT_ASSIGN_OR_RETURN(const InputSpec spec, ReadSpec(input));
    const std::string context = "input " + Quoted(spec.name);
    const Shape shape{std::span<const Dim>(spec.shape)};
    if (!shape.IsStatic()) return InvalidArgument(context + ": a negative extent");
    const auto size = ByteSize(spec.dtype, shape);
    if (!size.ok() || *size > kMaxRequestBytes) {
      return InvalidArgument(context + ": over 64 MiB");
    }
    dom::element data;
    if (input["data"].get(data) != simdjson::SUCCESS) {
      return InvalidArgument(context + ": no \"data\"");
    }
    auto [constant, memory] = Constant::Allocate(spec.dtype, shape);
    const Status read = ReadJsonTensor(data, {spec.dtype, shape, memory});
    if (!read.ok()) return read.WithContext(context + ": \"data\"");
    if (spec.dtype == DataType::kString) {  // views into the parser's memory
      const auto views = constant.view().as<std::string_view>();
      constant = Constant::OfStrings(shape, {views.begin(), views.end()});
    }
    request.emplace_back(spec.name, std::move(constant));
  }
  return request;
}

Result<std::vector<RequestInputs>> RandomInputs(const std::vector<InputSpec>& specs,
                                                const NamedShapes& shapes, int count,
                                                uint64_t seed) {
  for (const auto& [name, shape] : shapes) {
    VERDICT_RETURN_IF_ERROR(CheckKnown(specs, name, "--shape"));
  }
  std::vector<Shape> chosen;
  size_t total = 0;
  for (const InputSpec& spec : specs) {
    Shape shape;
    for (const int64_t extent : spec.shape) shape.push_back(extent < 0 ? 1 : extent);
    for (const auto& [name, asked] : shapes) {
      if (name == spec.name) shape = asked;
    }
    if (!Fits(spec.shape, shape)) {
      return InvalidArgument("--shape: input '" + spec.name + "': " + ToString(shape) +
                             " does not fit the model's " + ShapeText(spec.shape) +
                             " (-1 may be any extent)");
    }
    const auto size = ByteSize(spec.dtype, shape);
    if (!size.ok() || *size > kMaxRequestBytes || (total += *size) > kMaxRequestBytes) {
      return InvalidArgument("--shape: input '" + spec.name + "': over 64 MiB a request");
    }
    chosen.push_back(shape);
  }
  std::mt19937_64 random(seed);
  // Big tensors need no variety, and memory is finite.
  const size_t fitting = std::max<size_t>(kMaxRequestBytes / std::max<size_t>(total, 1), 1);
  std::vector<RequestInputs> requests(std::min(static_cast<size_t>(count), fitting));
  for (RequestInputs& request : requests) {
    for (size_t i = 0; i < specs.size(); ++i) {
      request.emplace_back(specs[i].name, RandomTensor(specs[i].dtype, chosen[i], random));
    }
  }
  return requests;
}

Result<std::vector<RequestInputs>> CutInputs(const std::vector<InputSpec>& specs,
                                             const NamedTensors& tensors, const std::string& file,
                                             int64_t batch) {
  for (const auto& [name, tensor] : tensors) {
    VERDICT_RETURN_IF_ERROR(CheckKnown(specs, name, file));
  }
  int64_t rows = -1;  // of the inputs with an open first axis
  std::string rows_of;
  for (const InputSpec& spec : specs) {
    const auto it = tensors.find(spec.name);
    if (it == tensors.end()) {
      return InvalidArgument(file + ": there is no array '" + spec.name +
                             "'; the model's inputs are " + ListInputs(specs));
    }
    const Constant& tensor = it->second;
    if (tensor.dtype != spec.dtype || !Fits(spec.shape, tensor.shape)) {
      return InvalidArgument(file + ": array '" + spec.name + "' is " +
                             std::string(NumpyName(tensor.dtype)) + " " + ToString(tensor.shape) +
                             ", the model takes " + std::string(NumpyName(spec.dtype)) + " " +
                             ShapeText(spec.shape));
    }
    if (spec.shape.empty() || spec.shape[0] >= 0) continue;
    if (rows >= 0 && rows != tensor.shape[0]) {
      return InvalidArgument(file + ": '" + rows_of + "' has " + std::to_string(rows) + " rows, '" +
                             spec.name + "' " + std::to_string(tensor.shape[0]));
    }
    rows = tensor.shape[0];
    rows_of = spec.name;
  }
  const int64_t taken = rows < 0 ? 1 : batch;
  const int64_t count = rows < 0 ? 1 : std::min(rows / batch, kMaxRequests);
  if (count == 0) {
    return InvalidArgument(file + ": " + std::to_string(rows) + " rows are fewer than --batch " +
                           std::to_string(batch));
  }
  std::vector<RequestInputs> requests(static_cast<size_t>(count));
  for (const InputSpec& spec : specs) {
    const Constant& whole = tensors.find(spec.name)->second;
    Constant part = whole;
    const bool cut = !spec.shape.empty() && spec.shape[0] < 0;
    if (cut) part.shape[0] = taken;
    const size_t stride = cut ? ByteSize(part.dtype, part.shape).value() : 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      part.data = static_cast<const std::byte*>(whole.data) + i * stride;
      requests[i].emplace_back(spec.name, part);
    }
  }
  return requests;
}

}  // namespace verdict::load
