#include <cstring>

#include "engine/sections.h"

namespace verdict {
namespace {

/// What is a name of a plugin, and of nothing in a path.
bool IsBackendName(const std::string& name) {
  constexpr size_t kMaxLength = 32;
  return !name.empty() && name.size() <= kMaxLength &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

Result<DevicePart> ReadPart(const proto::DevicePart& message, std::span<const std::byte> programs) {
  DevicePart part;
  part.part.on_device = message.on_device();
  part.part.nodes.assign(message.nodes().begin(), message.nodes().end());
  const uint64_t offset = message.program_offset(), bytes = message.program_bytes();
  if (!message.on_device()) {
    if (bytes != 0) return Malformed("it runs on the host and has a program");
    return part;
  }
  if (bytes == 0 || offset % kProgramAlignment != 0 || offset > programs.size() ||
      bytes > programs.size() - offset) {
    return Malformed("its program (offset " + std::to_string(offset) + ", " +
                     std::to_string(bytes) +
                     " bytes) is none, not aligned, or not within section '" + kProgramsSection +
                     "' (" + std::to_string(programs.size()) + " bytes)");
  }
  part.program = programs.subspan(offset, bytes);
  const std::string& digest = message.program_digest();
  if (digest.empty()) return part;  // which CheckProgram says, should the program be asked for
  if (digest.size() != part.digest.size()) {
    return Malformed("its program's digest has " + std::to_string(digest.size()) + " bytes, not " +
                     std::to_string(part.digest.size()));
  }
  std::memcpy(part.digest.data(), digest.data(), digest.size());
  return part;
}

/// Programs of one plan that overlap are those of one part, or damage.
Status CheckNoOverlap(std::span<const DevicePart> parts) {
  const std::byte* end = nullptr;
  for (const DevicePart& part : parts) {
    if (!part.part.on_device) continue;
    if (end != nullptr && part.program.data() < end) {
      return Malformed("its programs overlap, or are not in the order of its parts");
    }
    end = part.program.data() + part.program.size();
  }
  return OkStatus();
}

Result<DevicePlan> ReadDevicePlan(const proto::DevicePlan& message, const Graph& graph,
                                  std::span<const std::byte> programs,
                                  const std::shared_ptr<const void>& owner) {
  DevicePlan plan;
  plan.backend = message.backend();
  plan.fingerprint = message.fingerprint();
  plan.device = message.device();
  plan.rows_independent = message.rows_independent();
  plan.tolerance = message.tolerance();
  if (!IsBackendName(plan.backend)) {
    return Malformed("its backend has no name of 1 to 32 of a-z 0-9 _");
  }
  // Written so that NaN fails.
  if (!(plan.tolerance >= kMinGoldenTolerance && plan.tolerance <= kMaxDeviceTolerance)) {
    return Malformed("its tolerance is not in [1e-5, 0.1]");
  }
  for (const proto::Entry& entry : message.options()) {
    if (!plan.options.emplace(entry.key(), entry.value()).second) {
      return Malformed("option '" + entry.key() + "' is there twice");
    }
  }
  if (message.parts_size() > kMaxDeviceParts) {
    return Malformed("it has " + std::to_string(message.parts_size()) + " parts; at most " +
                     std::to_string(kMaxDeviceParts) + " are taken");
  }
  std::vector<Part> parts;
  for (const proto::DevicePart& part_message : message.parts()) {
    auto part = ReadPart(part_message, programs);
    if (!part.ok()) return part.status().WithContext("part " + std::to_string(parts.size()));
    if (part->part.on_device) part->owner = owner;
    parts.push_back(part->part);
    plan.parts.push_back(*std::move(part));
  }
  VERDICT_RETURN_IF_ERROR(CheckParts(graph, parts));
  VERDICT_RETURN_IF_ERROR(CheckNoOverlap(plan.parts));
  return plan;
}

}  // namespace

Result<std::vector<DevicePlan>> ReadDevicePlans(const proto::DevicePlans& message,
                                                const Graph& graph,
                                                std::span<const std::byte> programs,
                                                const std::shared_ptr<const void>& owner) {
  if (message.plans_size() > kMaxDevicePlans) {
    return Malformed("there are " + std::to_string(message.plans_size()) +
                     " device plans; at most " + std::to_string(kMaxDevicePlans) + " are taken");
  }
  std::vector<DevicePlan> plans;
  for (const proto::DevicePlan& plan_message : message.plans()) {
    auto plan = ReadDevicePlan(plan_message, graph, programs, owner);
    if (!plan.ok()) {
      return plan.status().WithContext("device plan " + std::to_string(plans.size()));
    }
    plans.push_back(*std::move(plan));
  }
  return plans;
}

}  // namespace verdict
