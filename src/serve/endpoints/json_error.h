#pragma once

#include <string>
#include <string_view>

namespace verdict {

/// Why `json`, which a parser has refused, is not JSON that we take: where, and what to do. Looks
/// for the usual causes (NaN and Infinity, numbers out of range, too deep, cut off) and names the
/// tensor they are in.
///
/// max_depth: how deep arrays and objects may be nested.
/// fallback: what the parser said, for all other causes.
/// Cost: one pass; called on the way to an error only.
std::string DescribeJsonError(std::string_view json, size_t max_depth, std::string_view fallback);

/// `json` with "e0" behind each whole number of more than 64 bits: simdjson refuses those as they
/// are, and JavaScript and Go write 1e20 so. Empty if there is none. Cost: one pass.
std::string WithWideIntegersAsFloats(std::string_view json);

}  // namespace verdict
