#include "engine/dump.h"

#include "base/json_writer.h"
#include "engine/dump_columns.h"
#include "engine/dump_device.h"

namespace verdict {
namespace {

/// Bytes of the constants that are read.
uint64_t ConstantBytes(const Graph& graph) {
  const std::vector<int32_t> uses = graph.UseCounts();
  uint64_t bytes = 0;
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr || uses[static_cast<size_t>(id)] == 0) continue;
    if (constant->dtype == DataType::kString) {
      for (std::string_view string : constant->view().as<const std::string_view>()) {
        bytes += string.size();
      }
    } else {
      bytes += ByteSize(constant->dtype, constant->shape).value();
    }
  }
  return bytes;
}

std::string TypeText(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  return std::string(DataTypeName(value.dtype)) + Printable(graph.ShapeText(value.shape));
}

std::string Tensors(const char* title, const Graph& graph, const std::vector<ValueId>& ids) {
  Columns columns;
  for (ValueId id : ids) columns.Add({Printable(graph.value(id).name), TypeText(graph, id)});
  return std::string(title) + ":\n" + columns.Text();
}

std::string Profiles(const EngineContents& contents) {
  std::string text;
  for (size_t i = 0; i < contents.profiles.size(); ++i) {
    Columns columns;
    for (const InputRange& range : contents.profiles[i].inputs) {
      columns.Add({Printable(range.name), "min " + ToString(range.min),
                   "opt " + ToString(range.opt), "max " + ToString(range.max)});
    }
    text += "profile " + std::to_string(i) + ":\n" + columns.Text();
  }
  return text;
}

std::string Nodes(const EngineContents& contents) {
  const Graph& graph = contents.executable();
  Columns columns;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::string outputs;
    for (ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      outputs += (outputs.empty() ? "" : ", ") + Printable(graph.value(id).name) + " " +
                 TypeText(graph, id);
    }
    std::vector<std::string> words = {std::to_string(i), Printable(node.op)};
    if (i < contents.plan.steps.size()) words.push_back(Printable(contents.plan.steps[i].tactic));
    words.push_back("-> " + outputs);
    columns.Add(std::move(words));
  }
  return "nodes:\n" + columns.Text();
}

std::string Memory(const EngineContents& contents) {
  Columns columns;
  columns.Add({"constants", BytesText(ConstantBytes(contents.graph))});
  if (!contents.plan.steps.empty()) columns.Add({"packed", BytesText(contents.packed.size())});
  for (size_t i = 0; i < contents.plan.layouts.size(); ++i) {
    const Layout& layout = contents.plan.layouts[i];
    columns.Add({"arena of profile " + std::to_string(i), BytesText(layout.arena_bytes) + " (" +
                                                              std::to_string(layout.scratch_bytes) +
                                                              " of them scratch)"});
  }
  return "memory:\n" + columns.Text();
}

void Dims(const Graph& graph, const Shape& shape, JsonWriter& json) {
  json.BeginArray();
  for (Dim dim : shape.dims()) {
    if (IsSymbol(dim)) {
      json.String(graph.SymbolName(dim));
    } else {
      json.Int(dim);
    }
  }
  json.EndArray();
}

void Tensor(const Graph& graph, ValueId id, JsonWriter& json) {
  const Value& value = graph.value(id);
  json.BeginObject().Key("name").String(value.name);
  json.Key("dtype").String(DataTypeName(value.dtype)).Key("shape");
  Dims(graph, value.shape, json);
  json.EndObject();
}

void Tensors(const Graph& graph, const std::vector<ValueId>& ids, JsonWriter& json) {
  json.BeginArray();
  for (ValueId id : ids) {
    if (id != kNoValue) Tensor(graph, id, json);
  }
  json.EndArray();
}

void Profiles(const EngineContents& contents, JsonWriter& json) {
  json.BeginArray();
  for (size_t i = 0; i < contents.profiles.size(); ++i) {
    json.BeginObject().Key("inputs").BeginArray();
    for (const InputRange& range : contents.profiles[i].inputs) {
      json.BeginObject().Key("name").String(range.name);
      json.Key("min");
      Dims(contents.graph, range.min, json);
      json.Key("opt");
      Dims(contents.graph, range.opt, json);
      json.Key("max");
      Dims(contents.graph, range.max, json);
      json.EndObject();
    }
    json.EndArray();
    if (i < contents.plan.layouts.size()) {
      json.Key("arena_bytes").UInt(contents.plan.layouts[i].arena_bytes);
      json.Key("scratch_bytes").UInt(contents.plan.layouts[i].scratch_bytes);
    }
    json.EndObject();
  }
  json.EndArray();
}

void Nodes(const EngineContents& contents, JsonWriter& json) {
  const Graph& graph = contents.executable();
  json.BeginArray();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    json.BeginObject().Key("name").String(node.name).Key("op").String(node.op);
    if (i < contents.plan.steps.size()) {
      json.Key("tactic").String(contents.plan.steps[i].tactic);
      json.Key("packed_bytes").UInt(contents.plan.steps[i].packed_bytes);
    }
    json.Key("inputs").BeginArray();
    for (ValueId id : node.inputs) json.String(id == kNoValue ? "" : graph.value(id).name);
    json.EndArray().Key("outputs");
    Tensors(graph, node.outputs, json);
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string DumpText(const EngineContents& contents) {
  const Graph& graph = contents.graph;
  std::string text =
      "graph '" + Printable(graph.name) + "': " + std::to_string(graph.nodes.size()) + " nodes\n";
  if (!contents.format.empty()) {
    text += "engine format " + contents.format + ", " + BytesText(contents.file_bytes) +
            ", sha256 " + contents.sha256 + "\n";
  }
  if (!contents.plan.steps.empty()) {
    text += "planned for " + Printable(contents.plan.target) + ", " +
            std::to_string(contents.golden.size()) + " golden vectors\n";
  }
  text += "\n" + Tensors("inputs", graph, graph.inputs);
  text += "\n" + Tensors("outputs", graph, graph.outputs);
  if (!contents.profiles.empty()) text += "\n" + Profiles(contents);
  text += "\n" + Nodes(contents) + "\n" + Memory(contents);
  for (size_t i = 0; i < contents.device_plans.size(); ++i) {
    text += "\n" + DumpDevicePlan(contents, i);
  }
  if (!contents.metadata.empty()) {
    Columns columns;
    for (const auto& [key, value] : contents.metadata) {
      columns.Add({Printable(key), Printable(value)});
    }
    text += "\nmetadata:\n" + columns.Text();
  }
  if (!contents.sections.empty()) {
    Columns columns;
    for (const SectionInfo& section : contents.sections) {
      columns.Add({section.name, "at " + std::to_string(section.offset), BytesText(section.bytes)});
    }
    text += "\nsections:\n" + columns.Text();
  }
  return text;
}

std::string DumpJson(const EngineContents& contents) {
  const Graph& graph = contents.graph;
  JsonWriter json;
  json.BeginObject().Key("name").String(graph.name);
  if (!contents.format.empty()) {
    json.Key("format").String(contents.format);
    json.Key("file_bytes").UInt(contents.file_bytes);
    json.Key("sha256").String(contents.sha256);
  }
  if (!contents.plan.steps.empty()) json.Key("target").String(contents.plan.target);
  json.Key("inputs");
  Tensors(graph, graph.inputs, json);
  json.Key("outputs");
  Tensors(graph, graph.outputs, json);
  json.Key("profiles");
  Profiles(contents, json);
  json.Key("nodes");
  Nodes(contents, json);
  json.Key("constant_bytes").UInt(ConstantBytes(graph));
  json.Key("packed_bytes").UInt(contents.packed.size());
  json.Key("golden_vectors").UInt(contents.golden.size());
  json.Key("device_plans").BeginArray();
  for (size_t i = 0; i < contents.device_plans.size(); ++i) DumpDevicePlan(contents, i, json);
  json.EndArray();
  json.Key("metadata").BeginObject();
  for (const auto& [key, value] : contents.metadata) json.Key(key).String(value);
  json.EndObject().Key("sections").BeginArray();
  for (const SectionInfo& section : contents.sections) {
    json.BeginObject().Key("name").String(section.name);
    json.Key("offset").UInt(section.offset).Key("bytes").UInt(section.bytes).EndObject();
  }
  json.EndArray().EndObject();
  return json.text();
}

}  // namespace verdict
