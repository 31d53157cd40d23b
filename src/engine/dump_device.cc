#include "engine/dump_device.h"

#include <charconv>
#include <map>
#include <optional>

#include "engine/dump_columns.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

/// A value that crosses to the device or from it.
struct Copy {
  ValueId id = kNoValue;
  std::optional<uint64_t> bytes;  // where its shape can be told
};

struct PartSummary {
  std::map<std::string, size_t> ops;  // of the part's nodes
  std::vector<Copy> in, out;
};

struct Summary {
  std::vector<PartSummary> parts;
  std::string why_none;  // the parts make no sense
};

std::vector<Copy> Copies(std::span<const ValueId> ids, std::span<const TensorView> shapes) {
  std::vector<Copy> copies;
  for (const ValueId id : ids) {
    Copy& copy = copies.emplace_back();
    copy.id = id;
    if (shapes.empty()) continue;
    const TensorView& view = shapes[static_cast<size_t>(id)];
    const auto bytes = ByteSize(view.dtype, view.shape);
    if (bytes.ok()) copy.bytes = *bytes;
  }
  return copies;
}

Summary Summarize(const EngineContents& contents, const DevicePlan& plan) {
  Summary summary;
  std::vector<Part> parts;
  for (const DevicePart& part : plan.parts) {
    parts.push_back(part.part);
    PartSummary& part_summary = summary.parts.emplace_back();
    for (const int32_t index : part.part.nodes) {
      ++part_summary.ops[contents.graph.nodes[static_cast<size_t>(index)].op];
    }
  }
  const auto graphs = ExtractParts(contents.graph, parts);
  if (!graphs.ok()) {
    summary.why_none = graphs.status().message();
    return summary;
  }
  std::vector<TensorView> shapes;
  if (!contents.profiles.empty()) {
    auto resolved =
        ResolveShapes(contents.graph, CornerShapes(contents.profiles.front(), &InputRange::opt));
    if (resolved.ok()) shapes = *std::move(resolved);
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    summary.parts[i].in = Copies((*graphs)[i].inputs, shapes);
    summary.parts[i].out = Copies((*graphs)[i].outputs, shapes);
  }
  return summary;
}

std::string ShortNumber(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

std::string OpsText(const std::map<std::string, size_t>& ops) {
  std::string text;
  for (const auto& [op, count] : ops) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + Printable(op);
  }
  return text;
}

void AddCopies(const Graph& graph, const char* direction, std::span<const Copy> copies,
               Columns& columns) {
  for (const Copy& copy : copies) {
    const Value& value = graph.value(copy.id);
    columns.Add({"  copy", direction,
                 Printable(value.name) + " " + std::string(DataTypeName(value.dtype)) +
                     Printable(graph.ShapeText(value.shape)),
                 copy.bytes ? BytesText(*copy.bytes) : "size not known"});
  }
}

void AddCopies(const Graph& graph, const char* key, std::span<const Copy> copies,
               JsonWriter& json) {
  json.Key(key).BeginArray();
  for (const Copy& copy : copies) {
    json.BeginObject().Key("name").String(graph.value(copy.id).name);
    json.Key("dtype").String(DataTypeName(graph.value(copy.id).dtype));
    if (copy.bytes) json.Key("bytes").UInt(*copy.bytes);
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string DumpDevicePlan(const EngineContents& contents, size_t index) {
  const DevicePlan& plan = contents.device_plans[index];
  const Summary summary = Summarize(contents, plan);
  Columns head;
  head.Add({"device", Printable(plan.device)});
  head.Add({"fingerprint", Printable(plan.fingerprint)});
  head.Add({"tolerance", ShortNumber(plan.tolerance)});
  head.Add({"rows", plan.rows_independent ? "independent" : "may depend on each other"});
  for (const auto& [key, value] : plan.options) {
    head.Add({"option", Printable(key) + (value.empty() ? "" : "=" + Printable(value))});
  }
  std::string text = "device plan " + std::to_string(index) + " for " + Printable(plan.backend) +
                     ":\n" + head.Text();
  uint64_t to_device = 0, to_host = 0;
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    const DevicePart& part = plan.parts[i];
    const PartSummary& part_summary = summary.parts[i];
    text += "  part " + std::to_string(i) + (part.part.on_device ? "  device  " : "  host  ") +
            std::to_string(part.part.nodes.size()) + " nodes: " + OpsText(part_summary.ops);
    if (part.part.on_device) text += "; program " + BytesText(part.program.size());
    text += "\n";
    if (!part.part.on_device) continue;
    Columns columns;
    AddCopies(contents.graph, "to device", part_summary.in, columns);
    AddCopies(contents.graph, "to host", part_summary.out, columns);
    text += columns.Text();
    for (const Copy& copy : part_summary.in) to_device += copy.bytes.value_or(0);
    for (const Copy& copy : part_summary.out) to_host += copy.bytes.value_or(0);
  }
  if (!summary.why_none.empty()) return text + "  " + Printable(summary.why_none) + "\n";
  return text + "  copied a run at the expected shapes: " + BytesText(to_device) +
         " to the device, " + BytesText(to_host) + " back\n";
}

void DumpDevicePlan(const EngineContents& contents, size_t index, JsonWriter& json) {
  const DevicePlan& plan = contents.device_plans[index];
  const Summary summary = Summarize(contents, plan);
  json.BeginObject().Key("backend").String(plan.backend);
  json.Key("device").String(plan.device);
  json.Key("fingerprint").String(plan.fingerprint);
  json.Key("tolerance").String(ShortNumber(plan.tolerance));
  json.Key("rows_independent").Int(plan.rows_independent ? 1 : 0);
  json.Key("options").BeginObject();
  for (const auto& [key, value] : plan.options) json.Key(key).String(value);
  json.EndObject().Key("parts").BeginArray();
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    const DevicePart& part = plan.parts[i];
    json.BeginObject().Key("place").String(part.part.on_device ? "device" : "host");
    json.Key("nodes").BeginArray();
    for (const int32_t node : part.part.nodes) json.Int(node);
    json.EndArray().Key("operators").BeginObject();
    for (const auto& [op, count] : summary.parts[i].ops) json.Key(op).UInt(count);
    json.EndObject();
    if (part.part.on_device) {
      json.Key("program_bytes").UInt(part.program.size());
      AddCopies(contents.graph, "to_device", summary.parts[i].in, json);
      AddCopies(contents.graph, "to_host", summary.parts[i].out, json);
    }
    json.EndObject();
  }
  json.EndArray().EndObject();
}

}  // namespace verdict
