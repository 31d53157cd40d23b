#include "backends/tensorrt/plan_file.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/crc32c.h"
#include "plan/graph_digest.h"

namespace verdict::tensorrt {
namespace {

constexpr char kMagic[] = "VDTRTP2\n";
constexpr size_t kMagicBytes = 8;
constexpr size_t kCrcOffset = 8;
constexpr size_t kCheckedFrom = 12;
constexpr size_t kFixedBytes = 56;
constexpr size_t kConstantBytes = 8;
constexpr uint32_t kRefittable = 1;

template <typename T>
void Append(std::vector<std::byte>& bytes, T value) {
  const auto* from = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(value));
}

/// The caller has checked that the bytes are there.
template <typename T>
T At(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

Status Damaged(const std::string& what) {
  return DataLoss("device program: " + what + "; build the engine's device plan again");
}

}  // namespace

std::string PlanVersionText(uint32_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

uint64_t GraphHash(const Graph& graph) { return At<uint64_t>(StructureDigest(graph, {}), 0); }

uint64_t ProfilesHash(std::span<const Profile> profiles) {
  return At<uint64_t>(StructureDigest({}, profiles), 0);
}

std::vector<PlanHeader::ConstantSum> ConstantSums(const Graph& graph) {
  std::set<ValueId> read;
  for (const Node& node : graph.nodes) read.insert(node.inputs.begin(), node.inputs.end());
  std::vector<PlanHeader::ConstantSum> sums;
  for (const ValueId id : read) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr || constant->dtype == DataType::kString) continue;
    const auto bytes = ByteSize(constant->dtype, constant->shape);
    if (!bytes.ok()) continue;
    sums.push_back({id, Crc32c({static_cast<const std::byte*>(constant->data), *bytes})});
  }
  return sums;
}

std::vector<std::byte> WritePlanFile(const PlanHeader& header, std::span<const std::byte> plan) {
  std::vector<std::byte> bytes;
  bytes.reserve(kFixedBytes + header.constants.size() * kConstantBytes + plan.size());
  const auto* magic = reinterpret_cast<const std::byte*>(kMagic);
  bytes.insert(bytes.end(), magic, magic + kMagicBytes);
  Append<uint32_t>(bytes, 0);
  Append(bytes, header.tensorrt_version);
  Append(bytes, header.sm);
  Append<uint32_t>(bytes, 0);
  Append(bytes, header.graph_hash);
  Append(bytes, header.profiles_hash);
  Append<uint64_t>(bytes, plan.size());
  Append(bytes, static_cast<uint32_t>(header.constants.size()));
  Append<uint32_t>(bytes, header.refittable ? kRefittable : 0);
  for (const auto& [value, crc] : header.constants) {
    Append(bytes, value);
    Append(bytes, crc);
  }
  bytes.insert(bytes.end(), plan.begin(), plan.end());
  const uint32_t crc = Crc32c(std::span(bytes).subspan(kCheckedFrom));
  std::memcpy(bytes.data() + kCrcOffset, &crc, sizeof(crc));
  return bytes;
}

Result<PlanFile> ParsePlanFile(std::span<const std::byte> bytes) {
  if (bytes.size() < kFixedBytes || std::memcmp(bytes.data(), kMagic, kMagicBytes) != 0) {
    return Damaged("these are not its bytes");
  }
  if (At<uint32_t>(bytes, kCrcOffset) != Crc32c(bytes.subspan(kCheckedFrom))) {
    return Damaged("its checksum does not fit, it is truncated or damaged");
  }
  PlanFile file;
  PlanHeader& header = file.header;
  header.tensorrt_version = At<uint32_t>(bytes, 12);
  header.sm = At<uint32_t>(bytes, 16);
  header.graph_hash = At<uint64_t>(bytes, 24);
  header.profiles_hash = At<uint64_t>(bytes, 32);
  const auto plan_bytes = At<uint64_t>(bytes, 40);
  const auto constants = At<uint32_t>(bytes, 48);
  const auto flags = At<uint32_t>(bytes, 52);
  std::span<const std::byte> rest = bytes.subspan(kFixedBytes);
  if (rest.size() / kConstantBytes < constants ||
      rest.size() - constants * kConstantBytes != plan_bytes || plan_bytes == 0 ||
      flags > kRefittable) {
    return Damaged("its header contradicts its size");
  }
  header.refittable = flags == kRefittable;
  header.constants.resize(constants);
  for (auto& [value, crc] : header.constants) {
    value = At<int32_t>(rest, 0);
    crc = At<uint32_t>(rest, 4);
    rest = rest.subspan(kConstantBytes);
  }
  file.plan = rest;
  return file;
}

Status CheckPlanHeader(const PlanHeader& program, const PlanHeader& here) {
  const auto refuse = [](const std::string& of, const std::string& instead) {
    return FailedPrecondition("device program: it was built for " + of + ", here is " + instead +
                              "; build the engine's device plan again on this machine");
  };
  if (program.tensorrt_version != here.tensorrt_version) {
    return refuse("TensorRT " + PlanVersionText(program.tensorrt_version),
                  "TensorRT " + PlanVersionText(here.tensorrt_version));
  }
  if (program.sm != here.sm) {
    return refuse("a card of sm_" + std::to_string(program.sm), "sm_" + std::to_string(here.sm));
  }
  if (program.graph_hash != here.graph_hash) {
    return refuse("other inputs, outputs, operators or edges", "another graph");
  }
  if (program.profiles_hash != here.profiles_hash) {
    return refuse("other optimization profiles", "another range of shapes");
  }
  return OkStatus();
}

}  // namespace verdict::tensorrt
