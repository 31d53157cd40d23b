#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace verdict {

using NamedTensors = std::map<std::string, Constant, std::less<>>;

/// Reads a file of np.savez or np.savez_compressed: all its arrays by name. At most 4 GiB in all.
/// Errors: kNotFound; kInvalidArgument, kUnimplemented, kResourceExhausted naming the file and the
/// array.
Result<NamedTensors> ReadNpz(const std::filesystem::path& path);

/// As ReadNpz, on bytes in memory. `name` stands for the file in messages.
Result<NamedTensors> ParseNpz(std::span<const std::byte> bytes, const std::string& name);

/// Writes the tensors as np.savez does (stored, the same bytes every time), atomically. Of tensors
/// with the same name the first is written. Errors: as SerializeNpy and WriteFileAtomically.
Status WriteNpz(const std::filesystem::path& path,
                std::span<const std::pair<std::string, TensorView>> tensors);

}  // namespace verdict
