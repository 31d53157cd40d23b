#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "plan/plan.h"

namespace verdict::tensorrt {

// A device program is TensorRT's serialized plan behind a header of our own, so that bytes which
// are not what this machine made are refused before TensorRT, which trusts its plans, sees them.
//
//   bytes  what
//   0-7    "VDTRTP2\n"
//   8-11   CRC32C of everything from byte 12 on
//   12-15  TensorRT's version: 80503 is 8.5.3
//   16-19  compute capability: 90 is 9.0
//   20-23  0
//   24-31  hash of the graph; 32-39 of the profiles
//   40-47  bytes of the serialized plan
//   48-51  number n of constants; 52-55 flags: 1: refittable
//   56-    n times: value id, CRC32C of the constant's bytes (4 bytes each)
//   then   the serialized plan, to the end
// Little-endian, as all machines that TensorRT runs on.

struct PlanHeader {
  uint32_t tensorrt_version = 0;
  uint32_t sm = 0;
  uint64_t graph_hash = 0;
  uint64_t profiles_hash = 0;
  bool refittable = false;
  /// Of refittable programs: which constants the program was built with.
  struct ConstantSum {
    int32_t value = 0;
    uint32_t crc = 0;
    bool operator==(const ConstantSum&) const = default;
  };
  std::vector<ConstantSum> constants;
};

struct PlanFile {
  PlanHeader header;
  std::span<const std::byte> plan;  // TensorRT's, within the bytes that were parsed
};

/// "8.5.3" of 80503.
std::string PlanVersionText(uint32_t version);

/// Of what a program must have been built for: the beginnings of StructureDigest. Names and what
/// constants hold do not count.
uint64_t GraphHash(const Graph& graph);
uint64_t ProfilesHash(std::span<const Profile> profiles);

/// Of every numeric constant that a node reads, in order of ids.
std::vector<PlanHeader::ConstantSum> ConstantSums(const Graph& graph);

std::vector<std::byte> WritePlanFile(const PlanHeader& header, std::span<const std::byte> plan);

/// Errors: kDataLoss: not such bytes, truncated, or any bit of them changed. Cost: O(bytes).
Result<PlanFile> ParsePlanFile(std::span<const std::byte> bytes);

/// OK if a program with header `program` runs where one would be built with header `here`. Errors:
/// kFailedPrecondition: of another version of TensorRT, another kind of card, another graph or
/// profiles.
Status CheckPlanHeader(const PlanHeader& program, const PlanHeader& here);

}  // namespace verdict::tensorrt
