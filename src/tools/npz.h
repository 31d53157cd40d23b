#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace verdict {

using NamedTensors = std::map<std::string, Constant, std::less<>>;

/// The most memory that a file's arrays may take.
inline constexpr uint64_t kMaxNpzBytes = uint64_t{4} << 30;

/// Reads a file of np.savez or np.savez_compressed: all its arrays by name, kMaxNpzBytes at most.
/// Errors: kNotFound; kInvalidArgument, kUnimplemented, kResourceExhausted naming the file and the
/// array.
Result<NamedTensors> ReadNpz(const std::filesystem::path& path);

/// As ReadNpz, on bytes in memory. `name` stands for the file in messages, max_bytes for
/// kMaxNpzBytes.
Result<NamedTensors> ParseNpz(std::span<const std::byte> bytes, const std::string& name,
                              uint64_t max_bytes = kMaxNpzBytes);

/// Writes the tensors as np.savez does (stored, the same bytes every time), atomically. Of tensors
/// with the same name the first is written. Errors: as SerializeNpy and WriteFileAtomically.
Status WriteNpz(const std::filesystem::path& path,
                std::span<const std::pair<std::string, TensorView>> tensors);

}  // namespace verdict
