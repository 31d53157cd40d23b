#include <algorithm>
#include <array>
#include <deque>

#include "base/checked_math.h"
#include "base/file.h"
#include "engine/container.h"
#include "engine/sections.h"
#include "plan/lower.h"

namespace verdict {
namespace {

constexpr uint32_t kMappedAlignment = 4096;

using Bytes = std::span<const std::byte>;

Bytes BytesOf(const std::string& text) { return std::as_bytes(std::span(text)); }

/// Turns contents into sections. Owns what the sections point to and the contents do not hold.
class Writer {
 public:
  explicit Writer(const EngineContents& contents) : contents_(contents) {
    constants_.name = kConstantsSection;
    constants_.alignment = kMappedAlignment;
    programs_.name = kProgramsSection;
    programs_.alignment = kMappedAlignment;
    programs_.required = false;
  }

  Result<std::vector<SectionSource>> Sections() {
    const proto::Graph graph = GraphMessage();  // fills constants_
    std::vector<SectionSource> sections;
    const auto add = [&](const char* name, const google::protobuf::MessageLite& message,
                         size_t limit) -> Status {
      const size_t bytes = message.ByteSizeLong();
      if (bytes > limit) {
        return ResourceExhausted("section '" + std::string(name) + "' would take " +
                                 std::to_string(bytes) + " bytes, engine files hold at most " +
                                 std::to_string(limit));
      }
      sections.push_back({.name = name, .parts = {Keep(message.SerializeAsString())}});
      return OkStatus();
    };
    VERDICT_RETURN_IF_ERROR(add(kMetadataSection, MetadataMessage(), kMaxMessageBytes));
    VERDICT_RETURN_IF_ERROR(add(kIrSection, graph, kMaxMessageBytes));
    VERDICT_RETURN_IF_ERROR(add(kProfilesSection, ProfilesMessage(), kMaxMessageBytes));
    VERDICT_RETURN_IF_ERROR(add(kPlanSection, PlanMessage(), kMaxMessageBytes));
    VERDICT_RETURN_IF_ERROR(add(kGoldenSection, GoldenMessage(), kMaxGoldenBytes));
    if (!contents_.device_plans.empty()) {
      VERDICT_RETURN_IF_ERROR(add(kDeviceSection, DeviceMessage(), kMaxMessageBytes));
      sections.back().required = false;
    }
    sections.push_back(std::move(constants_));
    sections.push_back(
        {.name = kPackedSection, .alignment = kMappedAlignment, .parts = {contents_.packed}});
    if (!contents_.device_plans.empty()) sections.push_back(std::move(programs_));
    return sections;
  }

  /// What SerializeGraph writes.
  Result<std::vector<SectionSource>> GraphSections() {
    const proto::Graph graph = GraphMessage();  // fills constants_
    const proto::Profiles profiles = ProfilesMessage();
    if (std::max(graph.ByteSizeLong(), profiles.ByteSizeLong()) > kMaxMessageBytes) {
      return ResourceExhausted("the graph without its constants has over " +
                               std::to_string(kMaxMessageBytes) + " bytes");
    }
    std::vector<SectionSource> sections;
    sections.push_back({.name = kIrSection, .parts = {Keep(graph.SerializeAsString())}});
    if (!contents_.profiles.empty()) {
      sections.push_back({.name = kProfilesSection, .parts = {Keep(profiles.SerializeAsString())}});
    }
    sections.push_back(std::move(constants_));
    return sections;
  }

 private:
  Bytes Keep(std::string bytes) { return BytesOf(kept_.emplace_back(std::move(bytes))); }

  static void FillShape(const Shape& shape, proto::Shape& message) {
    for (Dim dim : shape.dims()) message.add_dims(dim);
  }

  /// Symbols are stored in the order in which graph inputs use them; others come back from the
  /// shape rules.
  void FillInputShape(const Shape& shape, proto::Graph& graph, proto::Shape& message) {
    for (Dim dim : shape.dims()) {
      if (IsSymbol(dim)) {
        const auto [it, added] = symbols_.emplace(dim, -static_cast<Dim>(symbols_.size()) - 1);
        if (added) graph.add_symbols(contents_.graph.SymbolName(dim));
        dim = it->second;
      }
      message.add_dims(dim);
    }
  }

  void FillConstant(const Constant& constant, proto::Value& message) {
    Bytes bytes;
    if (constant.dtype == DataType::kString) {
      bytes = Keep(StringTable(constant.view().as<const std::string_view>()));
    } else {
      bytes = {static_cast<const std::byte*>(constant.data),
               ByteSize(constant.dtype, constant.shape).value()};
    }
    message.set_dtype(std::string(DataTypeName(constant.dtype)));
    FillShape(constant.shape, *message.mutable_shape());
    message.mutable_constant()->set_offset(
        Append(bytes, kBlobAlignment, constants_, constants_bytes_));
    message.mutable_constant()->set_bytes(bytes.size());
  }

  /// Puts the bytes at the next multiple of `alignment` behind the section's `size` bytes, which
  /// grow. Returns: where.
  static uint64_t Append(Bytes bytes, size_t alignment, SectionSource& section, uint64_t& size) {
    static constexpr std::array<std::byte, kProgramAlignment> kZeros{};
    const size_t padding = AlignUp(size, alignment) - size;
    section.parts.push_back(Bytes(kZeros).first(padding));
    section.parts.push_back(bytes);
    const uint64_t offset = size + padding;
    size = offset + bytes.size();
    return offset;
  }

  /// Offsets (u64, one more than strings), then the strings' bytes.
  static std::string StringTable(std::span<const std::string_view> strings) {
    std::string table;
    uint64_t offset = 0;
    const auto add_offset = [&] {
      table.append(reinterpret_cast<const char*>(&offset), sizeof(offset));
    };
    add_offset();
    for (std::string_view string : strings) {
      offset += string.size();
      add_offset();
    }
    for (std::string_view string : strings) table += string;
    return table;
  }

  static void FillAttribute(const std::string& name, const Attribute& attribute,
                            proto::Attribute& message) {
    message.set_name(name);
    struct Visitor {
      proto::Attribute& message;
      void operator()(int64_t value) const { message.set_int_value(value); }
      void operator()(float value) const { message.set_float_value(value); }
      void operator()(const std::string& value) const { message.set_string_value(value); }
      void operator()(const std::vector<int64_t>& values) const {
        message.mutable_ints()->mutable_values()->Add(values.begin(), values.end());
      }
      void operator()(const std::vector<float>& values) const {
        message.mutable_floats()->mutable_values()->Add(values.begin(), values.end());
      }
      void operator()(const std::vector<std::string>& values) const {
        proto::Strings& strings = *message.mutable_strings();
        for (const std::string& value : values) strings.add_values(value);
      }
    };
    std::visit(Visitor{message}, attribute);
  }

  proto::Graph GraphMessage() {
    const Graph& graph = contents_.graph;
    proto::Graph message;
    message.set_name(graph.name);
    const std::vector<int32_t> uses = graph.UseCounts();
    for (ValueId id = 0; id < graph.num_values(); ++id) {
      proto::Value& value = *message.add_values();
      value.set_name(graph.value(id).name);
      const Constant* constant = graph.constant(id);
      if (constant != nullptr && uses[static_cast<size_t>(id)] > 0) FillConstant(*constant, value);
    }
    for (ValueId id : graph.inputs) {
      message.add_inputs(id);
      proto::Value& value = *message.mutable_values(id);
      value.set_dtype(std::string(DataTypeName(graph.value(id).dtype)));
      FillInputShape(graph.value(id).shape, message, *value.mutable_shape());
    }
    message.mutable_outputs()->Add(graph.outputs.begin(), graph.outputs.end());
    for (const Node& node : graph.nodes) {
      proto::Node& node_message = *message.add_nodes();
      node_message.set_name(node.name);
      node_message.set_op(node.op);
      node_message.mutable_inputs()->Add(node.inputs.begin(), node.inputs.end());
      node_message.mutable_outputs()->Add(node.outputs.begin(), node.outputs.end());
      for (const auto& [name, attribute] : node.attributes) {
        FillAttribute(name, attribute, *node_message.add_attributes());
      }
    }
    return message;
  }

  proto::Profiles ProfilesMessage() const {
    proto::Profiles message;
    for (const Profile& profile : contents_.profiles) {
      proto::Profile& profile_message = *message.add_profiles();
      for (const InputRange& range : profile.inputs) {
        proto::InputRange& range_message = *profile_message.add_inputs();
        range_message.set_name(range.name);
        FillShape(range.min, *range_message.mutable_min());
        FillShape(range.opt, *range_message.mutable_opt());
        FillShape(range.max, *range_message.mutable_max());
      }
    }
    return message;
  }

  proto::Plan PlanMessage() const {
    proto::Plan message;
    message.set_target(contents_.plan.target);
    if (contents_.lowered) message.set_lowering(kLoweringVersion);
    for (const Step& step : contents_.plan.steps) {
      proto::Step& step_message = *message.add_steps();
      step_message.set_tactic(step.tactic);
      step_message.set_packed_offset(step.packed_offset);
      step_message.set_packed_bytes(step.packed_bytes);
    }
    for (const Layout& layout : contents_.plan.layouts) {
      proto::Layout& layout_message = *message.add_layouts();
      for (size_t id = 0; id < layout.offset.size(); ++id) {
        if (layout.offset[id] == Layout::kNotInArena) continue;
        proto::Placement& placement = *layout_message.add_placements();
        placement.set_value(static_cast<ValueId>(id));
        placement.set_offset(layout.offset[id]);
        placement.set_capacity(layout.capacity[id]);
      }
      layout_message.set_scratch_offset(layout.scratch_offset);
      layout_message.set_scratch_bytes(layout.scratch_bytes);
      layout_message.set_arena_bytes(layout.arena_bytes);
    }
    return message;
  }

  static void FillTensor(const Constant& tensor, proto::Tensor& message) {
    message.set_dtype(std::string(DataTypeName(tensor.dtype)));
    FillShape(tensor.shape, *message.mutable_shape());
    if (tensor.dtype == DataType::kString) {
      for (std::string_view string : tensor.view().as<const std::string_view>()) {
        message.add_strings(std::string(string));
      }
    } else {
      message.set_data(tensor.data, ByteSize(tensor.dtype, tensor.shape).value());
    }
  }

  proto::Golden GoldenMessage() const {
    proto::Golden message;
    for (const GoldenVector& vector : contents_.golden) {
      proto::GoldenVector& vector_message = *message.add_vectors();
      for (const Constant& input : vector.inputs) FillTensor(input, *vector_message.add_inputs());
      for (const Constant& output : vector.outputs) {
        FillTensor(output, *vector_message.add_outputs());
      }
      vector_message.set_tolerance(vector.tolerance);
    }
    return message;
  }

  /// Fills programs_.
  proto::DevicePlans DeviceMessage() {
    proto::DevicePlans message;
    for (const DevicePlan& plan : contents_.device_plans) {
      proto::DevicePlan& plan_message = *message.add_plans();
      plan_message.set_backend(plan.backend);
      plan_message.set_fingerprint(plan.fingerprint);
      plan_message.set_device(plan.device);
      plan_message.set_rows_independent(plan.rows_independent);
      plan_message.set_tolerance(plan.tolerance);
      for (const auto& [key, value] : plan.options) {
        proto::Entry& entry = *plan_message.add_options();
        entry.set_key(key);
        entry.set_value(value);
      }
      for (const DevicePart& part : plan.parts) {
        proto::DevicePart& part_message = *plan_message.add_parts();
        part_message.set_on_device(part.part.on_device);
        part_message.mutable_nodes()->Add(part.part.nodes.begin(), part.part.nodes.end());
        if (!part.part.on_device) continue;
        part_message.set_program_offset(
            Append(part.program, kProgramAlignment, programs_, programs_bytes_));
        part_message.set_program_bytes(part.program.size());
        part_message.set_program_digest(part.digest.data(), part.digest.size());
      }
    }
    return message;
  }

  proto::Metadata MetadataMessage() const {
    proto::Metadata message;
    for (const auto& [key, value] : contents_.metadata) {
      proto::Entry& entry = *message.add_entries();
      entry.set_key(key);
      entry.set_value(value);
    }
    return message;
  }

  const EngineContents& contents_;
  std::deque<std::string> kept_;
  std::map<Dim, Dim> symbols_;
  SectionSource constants_;
  uint64_t constants_bytes_ = 0;
  SectionSource programs_;
  uint64_t programs_bytes_ = 0;
};

}  // namespace

Status WriteEngineFile(const std::filesystem::path& path, const EngineContents& contents) {
  Writer writer(contents);
  VERDICT_ASSIGN_OR_RETURN(const auto sections, writer.Sections());
  return WriteFileAtomically(path, BuildContainer(sections).parts);
}

Result<std::vector<std::byte>> SerializeEngine(const EngineContents& contents) {
  Writer writer(contents);
  VERDICT_ASSIGN_OR_RETURN(const auto sections, writer.Sections());
  const ContainerImage image = BuildContainer(sections);
  std::vector<std::byte> bytes;
  for (Bytes part : image.parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

Result<std::vector<std::byte>> SerializeGraph(const Graph& graph,
                                              std::span<const Profile> profiles) {
  EngineContents contents;
  contents.graph = graph;
  contents.profiles.assign(profiles.begin(), profiles.end());
  Writer writer(contents);
  VERDICT_ASSIGN_OR_RETURN(const auto sections, writer.GraphSections());
  const ContainerImage image = BuildContainer(sections);
  std::vector<std::byte> bytes;
  for (Bytes part : image.parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

}  // namespace verdict
