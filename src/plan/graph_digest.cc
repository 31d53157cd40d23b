#include "plan/graph_digest.h"

#include <deque>
#include <set>
#include <string>
#include <vector>

#include "ir/text.h"

namespace verdict {
namespace {

using Bytes = std::span<const std::byte>;

Bytes BytesOf(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

Sha256Digest StructureDigest(const Graph& graph, std::span<const Profile> profiles) {
  std::string text;
  // A value by its id, with its type and shape where no rule tells them.
  const auto add_ids = [&](const char* what, std::span<const ValueId> ids, bool is_inputs = false) {
    text += what;
    for (const ValueId id : ids) {
      text += std::to_string(id);
      if (is_inputs || graph.constant(id) != nullptr) {
        const Value& value = graph.value(id);
        text += std::string(DataTypeName(value.dtype)) + ToString(value.shape);
      }
      text += ",";
    }
  };
  add_ids("inputs ", graph.inputs, true);
  for (const Node& node : graph.nodes) {
    text += "\n" + node.op + PrintAttributes(node.attributes);
    add_ids(" of ", node.inputs);
    add_ids(" to ", node.outputs);
  }
  add_ids("\noutputs ", graph.outputs);
  for (const Profile& profile : profiles) {
    text += "\nprofile ";
    for (const InputRange& range : profile.inputs) {
      text += ToString(range.min) + ToString(range.opt) + ToString(range.max) + ",";
    }
  }
  const Bytes bytes = BytesOf(text);
  return Sha256(std::span(&bytes, 1));
}

Sha256Digest WeightsDigest(const Graph& graph) {
  std::set<ValueId> read(graph.outputs.begin(), graph.outputs.end());
  for (const Node& node : graph.nodes) read.insert(node.inputs.begin(), node.inputs.end());
  std::vector<Bytes> parts;
  std::deque<std::string> sizes;  // of strings, which nothing else tells
  for (const ValueId id : read) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr) continue;
    if (constant->dtype != DataType::kString) {
      const size_t bytes = ByteSize(constant->dtype, constant->shape).value();
      parts.emplace_back(static_cast<const std::byte*>(constant->data), bytes);
      continue;
    }
    for (const std::string_view string : constant->view().as<const std::string_view>()) {
      parts.push_back(BytesOf(sizes.emplace_back(std::to_string(string.size()) + ":")));
      parts.push_back(std::as_bytes(std::span(string)));
    }
  }
  return Sha256(parts);
}

}  // namespace verdict
