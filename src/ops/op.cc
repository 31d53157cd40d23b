#include "ops/op.h"

#include <algorithm>

namespace verdict {
namespace {

template <typename T>
const T* Find(const Node& node, std::string_view name) {
  const auto it = node.attributes.find(name);
  return it == node.attributes.end() ? nullptr : std::get_if<T>(&it->second);
}

}  // namespace

int64_t AttributeReader::Int(std::string_view name, int64_t fallback) const {
  const auto* value = Find<int64_t>(node_, name);
  return value != nullptr ? *value : fallback;
}

float AttributeReader::Float(std::string_view name, float fallback) const {
  const auto* value = Find<float>(node_, name);
  return value != nullptr ? *value : fallback;
}

std::string_view AttributeReader::String(std::string_view name, std::string_view fallback) const {
  const auto* value = Find<std::string>(node_, name);
  return value != nullptr ? std::string_view(*value) : fallback;
}

std::span<const int64_t> AttributeReader::Ints(std::string_view name) const {
  const auto* value = Find<std::vector<int64_t>>(node_, name);
  return value != nullptr ? std::span<const int64_t>(*value) : std::span<const int64_t>();
}

std::span<const float> AttributeReader::Floats(std::string_view name) const {
  const auto* value = Find<std::vector<float>>(node_, name);
  return value != nullptr ? std::span<const float>(*value) : std::span<const float>();
}

std::span<const std::string> AttributeReader::Strings(std::string_view name) const {
  const auto* value = Find<std::vector<std::string>>(node_, name);
  return value != nullptr ? std::span<const std::string>(*value) : std::span<const std::string>();
}

bool AttributeReader::Has(std::string_view name) const {
  return node_.attributes.find(name) != node_.attributes.end();
}

Status InferContext::Error(const std::string& message, std::source_location place) const {
  return {StatusCode::kInvalidArgument, Graph::Describe(node) + ": " + message, place};
}

Status KernelContext::Error(const std::string& message, std::source_location place) const {
  return {StatusCode::kInvalidArgument, Graph::Describe(node) + ": " + message, place};
}

const OpDef* FindOp(std::string_view name) {
  const auto ops = AllOps();
  const auto it = std::ranges::lower_bound(ops, name, {}, [](const OpDef* op) { return op->name; });
  return it != ops.end() && (*it)->name == name ? *it : nullptr;
}

}  // namespace verdict
