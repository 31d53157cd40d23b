#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine.pb.h"
#include "engine/engine_file.h"

namespace verdict {

// What writer.cc and the readers of the single sections agree on.

inline constexpr char kIrSection[] = "ir";
inline constexpr char kConstantsSection[] = "constants";
inline constexpr char kPlanSection[] = "plan";
inline constexpr char kPackedSection[] = "packed";
inline constexpr char kProfilesSection[] = "profiles";
inline constexpr char kGoldenSection[] = "golden";
inline constexpr char kMetadataSection[] = "metadata";
inline constexpr char kDeviceSection[] = "device";      // optional
inline constexpr char kProgramsSection[] = "programs";  // optional

/// Constants and packed weights begin at multiples of this within their sections.
inline constexpr size_t kBlobAlignment = 64;
/// And programs of devices within theirs at multiples of this.
inline constexpr size_t kProgramAlignment = 4096;

/// Parsing a message takes up to 50 times its bytes of memory, so that messages are bounded.
inline constexpr size_t kMaxMessageBytes = size_t{64} << 20;
inline constexpr int kMaxProfiles = 64;  // each has a layout of all values
inline constexpr int kMaxDevicePlans = 64;
inline constexpr int kMaxDeviceParts = 1024;  // each costs time in the number of nodes
inline constexpr size_t kMaxGoldenBytes = size_t{256} << 20;

/// kDataLoss for contents whose checksums are right but which make no sense.
Status Malformed(const std::string& what,
                 std::source_location place = std::source_location::current());

/// Errors: kDataLoss for a rank over 8, an extent over 2^31, a symbol that is not among
/// `num_symbols`, or more elements than fit.
Result<Shape> ReadShape(const proto::Shape& message, int64_t num_symbols);

/// Section `ir`. constants: section `constants`, aligned to 64 bytes and kept alive by `owner`.
/// Returns a graph that has passed VerifyGraph, with inferred shapes.
Result<Graph> ReadGraph(const proto::Graph& message, std::span<const std::byte> constants,
                        const std::shared_ptr<const void>& owner);

/// Section `profiles`; at least one.
Result<std::vector<Profile>> ReadProfiles(const proto::Profiles& message, const Graph& graph);

/// Section `plan`. packed_bytes: size of section `packed`.
Result<Plan> ReadPlan(const proto::Plan& message, const Graph& graph, size_t num_profiles,
                      uint64_t packed_bytes);

/// Section `device`. programs: section `programs`, kept alive by `owner`.
Result<std::vector<DevicePlan>> ReadDevicePlans(const proto::DevicePlans& message,
                                                const Graph& graph,
                                                std::span<const std::byte> programs,
                                                const std::shared_ptr<const void>& owner);

/// Section `golden`.
Result<std::vector<GoldenVector>> ReadGolden(const proto::Golden& message, const Graph& graph);

}  // namespace verdict
