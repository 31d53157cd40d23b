#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/checked_math.h"
#include "base/file.h"
#include "engine/container.h"
#include "engine/sections.h"
#include "plan/lower.h"

namespace verdict {
namespace {

using Bytes = std::span<const std::byte>;

/// The bytes of a section that must be there.
Result<Bytes> SectionBytes(const Container& container, const char* name) {
  const SectionView* section = container.Find(name);
  if (section == nullptr) return Malformed("it is missing");
  return section->bytes;
}

template <typename Message>
Result<Message> ParseSection(const Container& container, const char* name, size_t limit) {
  VERDICT_ASSIGN_OR_RETURN(const Bytes bytes, SectionBytes(container, name));
  if (bytes.size() > limit) {
    return Malformed("its " + std::to_string(bytes.size()) + " bytes are over the limit of " +
                     std::to_string(limit));
  }
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Malformed("it cannot be parsed");
  }
  return message;
}

std::string RangeText(const InputRange& range) {
  return ToString(range.min) + " <= " + ToString(range.opt) + " <= " + ToString(range.max);
}

Status CheckRange(const InputRange& range, const Value& input) {
  if (range.name != input.name) {
    return Malformed("it is for '" + range.name + "' where the graph's input is '" + input.name +
                     "'");
  }
  const int rank = input.shape.rank();
  bool fits = range.min.rank() == rank && range.opt.rank() == rank && range.max.rank() == rank;
  for (int axis = 0; fits && axis < rank; ++axis) {
    const Dim fixed = input.shape[axis];
    fits = range.min[axis] <= range.opt[axis] && range.opt[axis] <= range.max[axis] &&
           (IsSymbol(fixed) || (range.min[axis] == fixed && range.max[axis] == fixed));
  }
  if (!fits) {
    return Malformed("input '" + input.name + "': the range " + RangeText(range) +
                     " does not fit its shape " + ToString(input.shape));
  }
  return OkStatus();
}

/// A golden tensor for `value`, on the heap.
Result<Constant> ReadTensor(const proto::Tensor& message, const Value& value) {
  VERDICT_ASSIGN_OR_RETURN(const Shape shape, ReadShape(message.shape(), 0));
  const DataType dtype = DataTypeFromName(message.dtype());
  bool fits = dtype == value.dtype && shape.rank() == value.shape.rank();
  for (int axis = 0; fits && axis < shape.rank(); ++axis) {
    fits = IsSymbol(value.shape[axis]) || shape[axis] == value.shape[axis];
  }
  if (!fits) {
    return Malformed("'" + value.name + "' is " + message.dtype() + ToString(shape) +
                     " where the graph has " + std::string(DataTypeName(value.dtype)) +
                     ToString(value.shape));
  }
  if (dtype == DataType::kString) {
    if (message.strings_size() != NumElements(shape).value()) {
      return Malformed("'" + value.name + "' has the wrong number of strings");
    }
    return Constant::OfStrings(shape, {message.strings().begin(), message.strings().end()});
  }
  if (message.data().size() != ByteSize(dtype, shape).value()) {
    return Malformed("'" + value.name + "' has the wrong number of bytes");
  }
  if (dtype == DataType::kBool &&
      message.data().find_first_not_of(std::string_view("\0\1", 2)) != std::string::npos) {
    return Malformed("'" + value.name + "' has a bool that is neither 0 nor 1");
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  if (!message.data().empty()) std::memcpy(data, message.data().data(), message.data().size());
  return std::move(constant);
}

Status ReadTensors(const google::protobuf::RepeatedPtrField<proto::Tensor>& messages,
                   const std::vector<ValueId>& ids, const Graph& graph,
                   std::vector<Constant>& tensors) {
  if (static_cast<size_t>(messages.size()) != ids.size()) {
    return Malformed("it has " + std::to_string(messages.size()) + " tensors for " +
                     std::to_string(ids.size()) + " inputs or outputs");
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(Constant tensor,
                             ReadTensor(messages.Get(static_cast<int>(i)), graph.value(ids[i])));
    tensors.push_back(std::move(tensor));
  }
  return OkStatus();
}

Status ReadMetadata(const proto::Metadata& message, std::map<std::string, std::string>& metadata) {
  for (const proto::Entry& entry : message.entries()) {
    if (!metadata.emplace(entry.key(), entry.value()).second) {
      return Malformed("key '" + entry.key() + "' is there twice");
    }
  }
  return OkStatus();
}

/// Refuses a file that cannot be understood without a section this build does not know.
Status CheckSectionsKnown(const Container& container) {
  for (const SectionView& section : container.sections) {
    bool known = false;
    for (std::string_view name :
         {kIrSection, kConstantsSection, kPlanSection, kPackedSection, kProfilesSection,
          kGoldenSection, kMetadataSection, kDeviceSection, kProgramsSection}) {
      known = known || section.name == name;
    }
    if (!known && section.required) {
      return FailedPrecondition("the file (format " + std::to_string(container.major) + "." +
                                std::to_string(container.minor) + ") needs section '" +
                                section.name +
                                "', which this build does not know; upgrade verdict, or rebuild "
                                "the engine from the ONNX file with `verdict build`");
    }
  }
  return OkStatus();
}

Result<EngineContents> Parse(Bytes bytes, const std::shared_ptr<const void>& owner) {
  VERDICT_ASSIGN_OR_RETURN(const Container container, ReadContainer(bytes));
  VERDICT_RETURN_IF_ERROR(CheckSectionsKnown(container));
  EngineContents contents;
  contents.sha256 = container.sha256;
  contents.format = std::to_string(container.major) + "." + std::to_string(container.minor);
  contents.file_bytes = bytes.size();
  for (const SectionView& section : container.sections) {
    contents.sections.push_back({section.name, section.offset, section.bytes.size()});
  }
  // In the order of dependence; an error is given the name of the section that was being read.
  const char* section = kMetadataSection;
  const auto read = [&]() -> Status {
    VERDICT_ASSIGN_OR_RETURN(const auto metadata,
                             ParseSection<proto::Metadata>(container, section, kMaxMessageBytes));
    VERDICT_RETURN_IF_ERROR(ReadMetadata(metadata, contents.metadata));
    section = kConstantsSection;
    VERDICT_ASSIGN_OR_RETURN(const Bytes constants, SectionBytes(container, section));
    section = kPackedSection;
    VERDICT_ASSIGN_OR_RETURN(contents.packed, SectionBytes(container, section));
    contents.packed_owner = owner;
    section = kIrSection;
    VERDICT_ASSIGN_OR_RETURN(const auto graph,
                             ParseSection<proto::Graph>(container, section, kMaxMessageBytes));
    VERDICT_ASSIGN_OR_RETURN(contents.graph, ReadGraph(graph, constants, owner));
    VERDICT_ASSIGN_OR_RETURN(contents.lowered, Lower(contents.graph));
    section = kProfilesSection;
    VERDICT_ASSIGN_OR_RETURN(const auto profiles,
                             ParseSection<proto::Profiles>(container, section, kMaxMessageBytes));
    VERDICT_ASSIGN_OR_RETURN(contents.profiles, ReadProfiles(profiles, contents.graph));
    section = kPlanSection;
    VERDICT_ASSIGN_OR_RETURN(const auto plan,
                             ParseSection<proto::Plan>(container, section, kMaxMessageBytes));
    // A plan of nodes that this build does not make is left out, and made again.
    if (!contents.lowered || plan.lowering() == kLoweringVersion) {
      VERDICT_ASSIGN_OR_RETURN(
          contents.plan,
          ReadPlan(plan, contents.executable(), contents.profiles.size(), contents.packed.size()));
    }
    section = kGoldenSection;
    VERDICT_ASSIGN_OR_RETURN(const auto golden,
                             ParseSection<proto::Golden>(container, section, kMaxGoldenBytes));
    VERDICT_ASSIGN_OR_RETURN(contents.golden, ReadGolden(golden, contents.graph));
    section = kDeviceSection;
    if (container.Find(section) == nullptr) return OkStatus();
    VERDICT_ASSIGN_OR_RETURN(
        const auto device, ParseSection<proto::DevicePlans>(container, section, kMaxMessageBytes));
    const SectionView* programs = container.Find(kProgramsSection);
    VERDICT_ASSIGN_OR_RETURN(
        contents.device_plans,
        ReadDevicePlans(device, contents.graph, programs == nullptr ? Bytes() : programs->bytes,
                        owner));
    return OkStatus();
  };
  if (const Status status = read(); !status.ok()) {
    return status.WithContext("section '" + std::string(section) + "'");
  }
  return contents;
}

}  // namespace

Result<std::vector<Profile>> ReadProfiles(const proto::Profiles& message, const Graph& graph) {
  if (message.profiles().empty()) return Malformed("there is no profile");
  if (message.profiles_size() > kMaxProfiles) {
    return Malformed("there are " + std::to_string(message.profiles_size()) +
                     " profiles; at most " + std::to_string(kMaxProfiles) + " are taken");
  }
  std::vector<Profile> profiles;
  for (const proto::Profile& profile_message : message.profiles()) {
    const std::string context = "profile " + std::to_string(profiles.size());
    if (static_cast<size_t>(profile_message.inputs_size()) != graph.inputs.size()) {
      return Malformed(context + ": it has " + std::to_string(profile_message.inputs_size()) +
                       " ranges for " + std::to_string(graph.inputs.size()) + " inputs");
    }
    Profile profile;
    for (const proto::InputRange& range_message : profile_message.inputs()) {
      const Value& input = graph.value(graph.inputs[profile.inputs.size()]);
      InputRange range{.name = range_message.name()};
      VERDICT_ASSIGN_OR_RETURN(range.min, ReadShape(range_message.min(), 0));
      VERDICT_ASSIGN_OR_RETURN(range.opt, ReadShape(range_message.opt(), 0));
      VERDICT_ASSIGN_OR_RETURN(range.max, ReadShape(range_message.max(), 0));
      if (const Status status = CheckRange(range, input); !status.ok()) {
        return status.WithContext(context);
      }
      profile.inputs.push_back(std::move(range));
    }
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

Result<std::vector<GoldenVector>> ReadGolden(const proto::Golden& message, const Graph& graph) {
  std::vector<GoldenVector> vectors;
  for (const proto::GoldenVector& vector_message : message.vectors()) {
    const std::string context = "golden vector " + std::to_string(vectors.size());
    GoldenVector vector;
    Status status = ReadTensors(vector_message.inputs(), graph.inputs, graph, vector.inputs);
    if (status.ok()) {
      status = ReadTensors(vector_message.outputs(), graph.outputs, graph, vector.outputs);
    }
    vector.tolerance = vector_message.tolerance();
    // Written so that NaN fails.
    if (status.ok() &&
        !(vector.tolerance >= kMinGoldenTolerance && vector.tolerance <= kMaxGoldenTolerance)) {
      status = Malformed("its tolerance is not in [1e-5, 1e-2]");
    }
    if (!status.ok()) return status.WithContext(context);
    vectors.push_back(std::move(vector));
  }
  return vectors;
}

Result<EngineContents> ParseEngine(Bytes bytes, std::shared_ptr<const void> owner,
                                   const std::string& name) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % kBlobAlignment != 0) {
    std::shared_ptr<void> copy(
        std::aligned_alloc(kBlobAlignment,
                           AlignUp(std::max<size_t>(bytes.size(), 1), kBlobAlignment)),
        std::free);
    if (copy == nullptr) return ResourceExhausted(name + ": no memory for a copy");
    std::memcpy(copy.get(), bytes.data(), bytes.size());
    bytes = {static_cast<const std::byte*>(copy.get()), bytes.size()};
    owner = std::move(copy);
  }
  auto contents = Parse(bytes, owner);
  if (!contents.ok()) return contents.status().WithContext(name);
  return contents;
}

Result<GraphContents> ParseSerializedGraph(Bytes bytes, std::shared_ptr<const void> owner) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % kBlobAlignment != 0) {
    return InvalidArgument("a graph's bytes must begin at a multiple of " +
                           std::to_string(kBlobAlignment));
  }
  VERDICT_ASSIGN_OR_RETURN(const Container container, ReadContainer(bytes));
  VERDICT_ASSIGN_OR_RETURN(const Bytes constants, SectionBytes(container, kConstantsSection));
  VERDICT_ASSIGN_OR_RETURN(const auto graph,
                           ParseSection<proto::Graph>(container, kIrSection, kMaxMessageBytes));
  GraphContents contents;
  VERDICT_ASSIGN_OR_RETURN(contents.graph, ReadGraph(graph, constants, owner));
  if (container.Find(kProfilesSection) != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(
        const auto profiles,
        ParseSection<proto::Profiles>(container, kProfilesSection, kMaxMessageBytes));
    VERDICT_ASSIGN_OR_RETURN(contents.profiles, ReadProfiles(profiles, contents.graph));
  }
  return contents;
}

Result<EngineContents> ReadEngineFile(const std::filesystem::path& path, FileAccess access) {
  if (access == FileAccess::kMap) {
    VERDICT_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
    const Bytes bytes = file->bytes();
    return ParseEngine(bytes, std::move(file), path.string());
  }
  // However large it is, what is no engine file is refused by its first bytes.
  VERDICT_ASSIGN_OR_RETURN(auto file, FileCopy::Read(path, EngineHeaderLayout::kSize));
  if (HasEngineMagic(file->bytes())) {
    VERDICT_ASSIGN_OR_RETURN(file, FileCopy::Read(path));
  }
  const Bytes bytes = file->bytes();
  return ParseEngine(bytes, std::move(file), path.string());
}

}  // namespace verdict
