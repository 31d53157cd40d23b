#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace verdict {

using Sha256Digest = std::array<std::byte, 32>;

/// SHA-256 of the concatenation of `parts` (OpenSSL).
Sha256Digest Sha256(std::span<const std::span<const std::byte>> parts);

/// Lower-case hexadecimal.
std::string ToHex(std::span<const std::byte> bytes);

}  // namespace verdict
