#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/sha256.h"
#include "engine/container.h"
#include "engine/sections.h"

namespace verdict {

// For tests and fuzz targets: a small engine, and ways to make hostile files of it whose checksums
// are right.

/// Two inputs, a Gemm and a Softmax with a view between them, strings in and out, one dead
/// constant, every section in use. Values: 0 x, 1 s, 2 weight, 3 bias, 4 labels, 5 unused, 6 h, 7
/// view, 8 y, 9 t, 10 names.
inline EngineContents MakeTestContents() {
  EngineContents contents;
  Graph& graph = contents.graph;
  graph.name = "test";
  graph.Symbol("unused");
  const Dim n = graph.Symbol("N");
  const auto floats = [](const Shape& shape, std::vector<float> values) {
    return Constant::Of<float>(shape, std::span<const float>(values));
  };
  graph.AddInput("x", DataType::kFloat32, Shape{n, 2});
  graph.AddInput("s", DataType::kString, Shape{n});
  graph.AddConstant("weight", floats({2, 3}, {1, 2, 3, 4, 5, 6}));
  graph.AddConstant("bias", floats({3}, {-1, 0, 1}));
  graph.AddConstant("labels", Constant::OfStrings({3}, {"stolen card", "", "ok"}));
  graph.AddConstant("unused", floats({1}, {7}));
  const auto add = [&](const char* op, std::vector<ValueId> inputs, const char* output,
                       DataType dtype, const Shape& shape, Attributes attributes) {
    const ValueId id = graph.AddValue(output, dtype, shape);
    graph.nodes.push_back(
        {std::string("make_") + output, op, std::move(inputs), {id}, std::move(attributes)});
    return id;
  };
  add("Gemm", {0, 2, 3}, "h", DataType::kFloat32, {n, 3},
      {{"alpha", 1.0F}, {"transB", int64_t{0}}});
  add("Identity", {6}, "view", DataType::kFloat32, {n, 3}, {});
  const ValueId y = add("Softmax", {7}, "y", DataType::kFloat32, {n, 3}, {{"axis", int64_t{-1}}});
  const ValueId t = add("Identity", {1}, "t", DataType::kString, {n}, {});
  const ValueId names = add("Identity", {4}, "names", DataType::kString, {3}, {});
  graph.outputs = {y, t, names};

  contents.profiles = {{{{"x", {1, 2}, {4, 2}, {8, 2}}, {"s", {1}, {4}, {8}}}}};
  Plan& plan = contents.plan;
  plan.target = "test:machine";
  for (int32_t node = 0; node < 5; ++node) plan.steps.push_back({node, "reference"});
  plan.steps[0] = {0, "cpu/gemm", 64, 24};
  plan.storage = {0, 1, 2, 3, 4, 5, 6, 6, 8, 1, 4};
  Layout layout;
  layout.offset.assign(11, Layout::kNotInArena);
  layout.capacity.assign(11, 0);
  layout.offset[6] = 0;
  layout.capacity[6] = layout.capacity[7] = 96;
  layout.offset[8] = 128;
  layout.capacity[8] = 96;
  layout.scratch_offset = 256;
  layout.scratch_bytes = 64;
  layout.arena_bytes = 320;
  plan.layouts = {layout};
  auto packed = std::make_shared<std::vector<std::byte>>(88, std::byte{0x5A});
  contents.packed = *packed;
  contents.packed_owner = std::move(packed);
  contents.golden = {{{floats({1, 2}, {1, 2}), Constant::OfStrings({1}, {"v"})},
                      {floats({1, 3}, {0.25F, 0.5F, 0.25F}), Constant::OfStrings({1}, {"v"}),
                       Constant::OfStrings({3}, {"stolen card", "", "ok"})}}};
  contents.metadata = {{"builder", "verdict test"}, {"source", "model.onnx"}};
  return contents;
}

/// A plan of the test contents for a device: Gemm, view and Softmax there, the strings on the host.
inline DevicePlan MakeTestDevicePlan() {
  DevicePlan plan;
  plan.backend = "fake";
  plan.fingerprint = "fake 1.0";
  plan.device = "Fake device, fake 1.0";
  plan.options = {{"fp16", ""}, {"memory_pool:workspace", "64"}};
  plan.rows_independent = true;
  plan.tolerance = 1e-3F;
  const auto program = std::make_shared<std::vector<std::byte>>(100, std::byte{0x50});
  const auto other = std::make_shared<std::vector<std::byte>>(5000, std::byte{0x51});
  plan.parts = {{{true, {0, 1}}, *program, {}, program},
                {{false, {3, 4}}, {}, {}, nullptr},
                {{true, {2}}, *other, {}, other}};
  for (const size_t i : {0, 2}) plan.parts[i].digest.fill(static_cast<std::byte>(i + 1));
  return plan;
}

/// A section taken out of a file, to be changed.
struct LooseSection {
  std::string name;
  uint32_t alignment;
  bool required;
  std::vector<std::byte> bytes;
};

inline std::vector<LooseSection> TakeApart(const Container& container) {
  std::vector<LooseSection> sections;
  for (const SectionView& section : container.sections) {
    sections.push_back({section.name,
                        section.alignment,
                        section.required,
                        {section.bytes.begin(), section.bytes.end()}});
  }
  return sections;
}

/// A file of these sections with right checksums.
inline std::vector<std::byte> PutTogether(const std::vector<LooseSection>& sections,
                                          uint16_t minor = kEngineFormatMinor) {
  std::vector<SectionSource> sources;
  for (const LooseSection& section : sections) {
    sources.push_back({section.name, section.alignment, section.required, {section.bytes}});
  }
  const ContainerImage image = BuildContainer(sources, minor);
  std::vector<std::byte> file;
  for (const auto& part : image.parts) file.insert(file.end(), part.begin(), part.end());
  return file;
}

/// The file with the message of one section changed and every checksum right.
template <typename Message>
std::vector<std::byte> PatchSection(const std::vector<std::byte>& file, const char* name,
                                    const std::function<void(Message&)>& change) {
  std::vector<LooseSection> sections = TakeApart(ReadContainer(file).value());
  for (LooseSection& section : sections) {
    if (section.name != name) continue;
    Message message;
    VERDICT_CHECK(
        message.ParseFromArray(section.bytes.data(), static_cast<int>(section.bytes.size())));
    change(message);
    section.bytes.resize(message.ByteSizeLong());
    VERDICT_CHECK(
        message.SerializeToArray(section.bytes.data(), static_cast<int>(section.bytes.size())));
  }
  return PutTogether(sections);
}

/// Writes `value` at `offset`.
template <typename T>
void Poke(std::vector<std::byte>& file, size_t offset, T value) {
  VERDICT_CHECK(offset + sizeof(T) <= file.size());
  std::memcpy(file.data() + offset, &value, sizeof(T));
}

/// Makes every checksum right again after a change, as FORMAT.md describes them; a section that
/// does not lie within the file keeps the one it has. Does nothing to a file shorter than a header.
inline void Reseal(std::vector<std::byte>& file) {
  using Field = EngineHeaderLayout;
  if (file.size() < Field::kSize) return;
  const auto peek = [&]<typename T>(size_t offset, T value) {
    std::memcpy(&value, file.data() + offset, sizeof(T));
    return value;
  };
  const std::span<const std::byte> bytes(file);
  const size_t table = peek(Field::kHeaderBytes, uint32_t{0});
  const size_t count = peek(Field::kSectionCount, uint32_t{0});
  if (table < Field::kSize || table + count * Field::kEntrySize > file.size()) return;
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = table + i * Field::kEntrySize;
    const auto offset = peek(entry + 16, uint64_t{0});
    const auto size = peek(entry + 24, uint64_t{0});
    if (offset > file.size() || size > file.size() - offset) continue;
    Poke(file, entry + 32, Crc32c(bytes.subspan(offset, size)));
  }
  Poke(file, Field::kSha256, Sha256Digest{});
  Poke(file, Field::kCrc32c, uint32_t{0});
  Poke(file, Field::kCrc32c, Crc32c(bytes.first(table + count * Field::kEntrySize)));
  const std::array<std::span<const std::byte>, 1> parts = {bytes};
  Poke(file, Field::kSha256, Sha256(parts));
}

}  // namespace verdict
