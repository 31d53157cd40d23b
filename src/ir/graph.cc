#include "ir/graph.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/checked_math.h"

namespace verdict {

std::pair<Constant, void*> Constant::Allocate(DataType dtype, const Shape& shape) {
  constexpr size_t kAlignment = 64;
  const size_t bytes = ByteSize(dtype, shape).value();
  void* data = std::aligned_alloc(kAlignment, AlignUp(std::max<size_t>(bytes, 1), kAlignment));
  if (data == nullptr) throw std::bad_alloc();  // as containers do; a loader catches both
  return {Constant{dtype, shape, data, std::shared_ptr<const void>(data, std::free)}, data};
}

Constant Constant::OfStrings(const Shape& shape, std::vector<std::string> values) {
  VERDICT_CHECK(static_cast<int64_t>(values.size()) == NumElements(shape).value());
  struct Storage {
    std::vector<std::string> strings;
    std::vector<std::string_view> views;
  };
  auto storage = std::make_shared<Storage>();
  storage->strings = std::move(values);
  storage->views.assign(storage->strings.begin(), storage->strings.end());
  const void* data = storage->views.data();
  return Constant{DataType::kString, shape, data, std::move(storage)};
}

std::string Graph::UniqueName(std::string_view name) {
  std::string base(name.empty() ? "value" : name);
  if (!name.empty() && !names_.contains(base)) return base;
  // Goes on where the last search for this base ended: a file may have taken many names.
  size_t& suffix = next_suffix_[base];
  for (suffix = std::max(suffix, names_.size());; ++suffix) {
    std::string candidate = base + "." + std::to_string(suffix);
    if (!names_.contains(candidate)) return candidate;
  }
}

ValueId Graph::AddValue(std::string_view name, DataType dtype, const Shape& shape) {
  const auto id = static_cast<ValueId>(values_.size());
  std::string unique = UniqueName(name);
  names_.emplace(unique, id);
  values_.push_back(Value{std::move(unique), dtype, shape, nullptr});
  return id;
}

ValueId Graph::AddConstant(std::string_view name, Constant constant) {
  const ValueId id = AddValue(name, constant.dtype, constant.shape);
  value(id).constant = std::make_shared<const Constant>(std::move(constant));
  return id;
}

ValueId Graph::AddInput(std::string_view name, DataType dtype, const Shape& shape) {
  const ValueId id = AddValue(name, dtype, shape);
  inputs.push_back(id);
  return id;
}

ValueId Graph::FindValue(std::string_view name) const {
  const auto it = names_.find(name);
  return it == names_.end() ? kNoValue : it->second;
}

void Graph::RenameValue(ValueId id, std::string_view name) {
  names_.erase(value(id).name);
  value(id).name = UniqueName(name);
  names_.emplace(value(id).name, id);
}

const Constant* Graph::constant(ValueId id) const {
  return id == kNoValue ? nullptr : value(id).constant.get();
}

Dim Graph::Symbol(std::string_view name) {
  const auto it = symbol_ids_.find(name);
  if (it != symbol_ids_.end()) return it->second;
  symbols_.emplace_back(name);
  const Dim symbol = -static_cast<Dim>(symbols_.size());
  symbol_ids_.emplace(symbols_.back(), symbol);
  return symbol;
}

Dim Graph::NewSymbol() {
  next_symbol_ = std::max(next_symbol_, symbols_.size());
  for (;; ++next_symbol_) {
    const std::string name = "s" + std::to_string(next_symbol_);
    if (!symbol_ids_.contains(name)) return Symbol(name);
  }
}

const std::string& Graph::SymbolName(Dim symbol) const {
  VERDICT_CHECK(IsSymbol(symbol) && -symbol <= num_symbols());
  return symbols_[static_cast<size_t>(-symbol - 1)];
}

std::string Graph::ShapeText(const Shape& shape) const {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += ',';
    text += IsSymbol(shape[axis]) ? SymbolName(shape[axis]) : std::to_string(shape[axis]);
  }
  return text + "]";
}

std::vector<int32_t> Graph::Producers() const {
  std::vector<int32_t> producers(values_.size(), -1);
  for (size_t index = 0; index < nodes.size(); ++index) {
    for (ValueId output : nodes[index].outputs) {
      if (output != kNoValue) producers[static_cast<size_t>(output)] = static_cast<int32_t>(index);
    }
  }
  return producers;
}

std::vector<int32_t> Graph::UseCounts() const {
  std::vector<int32_t> counts(values_.size(), 0);
  for (const Node& node : nodes) {
    for (ValueId input : node.inputs) {
      if (input != kNoValue) ++counts[static_cast<size_t>(input)];
    }
  }
  for (ValueId output : outputs) ++counts[static_cast<size_t>(output)];
  return counts;
}

uint64_t Graph::ConstantBytes() const {
  uint64_t bytes = 0;
  for (const Value& value : values_) {
    if (value.constant == nullptr || value.constant->dtype == DataType::kString) continue;
    bytes += ByteSize(value.constant->dtype, value.constant->shape).value();
  }
  return bytes;
}

void Graph::ReplaceUses(ValueId from, ValueId to) {
  for (Node& node : nodes) std::ranges::replace(node.inputs, from, to);
  std::ranges::replace(outputs, from, to);
}

void Graph::RemoveUnusedValues() {
  std::vector<bool> used(values_.size(), false);
  const auto mark = [&](std::span<const ValueId> ids) {
    for (ValueId id : ids) {
      if (id != kNoValue) used[static_cast<size_t>(id)] = true;
    }
  };
  mark(inputs);
  mark(outputs);
  for (const Node& node : nodes) {
    mark(node.inputs);
    mark(node.outputs);
  }
  const std::vector<std::string> old_symbols = std::move(symbols_);
  symbols_.clear();
  symbol_ids_.clear();
  names_.clear();
  std::vector<ValueId> renumbered(values_.size(), kNoValue);
  std::vector<Value> kept;
  for (size_t id = 0; id < values_.size(); ++id) {
    if (!used[id]) continue;
    renumbered[id] = static_cast<ValueId>(kept.size());
    Value& value = values_[id];
    for (int axis = 0; axis < value.shape.rank(); ++axis) {
      Dim& dim = value.shape[axis];
      if (IsSymbol(dim)) dim = Symbol(old_symbols[static_cast<size_t>(-dim - 1)]);
    }
    names_.emplace(value.name, renumbered[id]);
    kept.push_back(std::move(value));
  }
  values_ = std::move(kept);
  const auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id != kNoValue) id = renumbered[static_cast<size_t>(id)];
    }
  };
  renumber(inputs);
  renumber(outputs);
  for (Node& node : nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
}

std::string Graph::Describe(const Node& node) {
  return "node '" + node.name + "' (" + node.op + ")";
}

}  // namespace verdict
