#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ir/types.h"

namespace verdict {

/// Appends `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, so
/// that the result is always JSON.
void AppendJsonString(std::string* out, std::string_view text);

void AppendJsonInteger(std::string* out, int64_t value);
void AppendJsonInteger(std::string* out, uint64_t value);

/// Appends the shortest number that reads back as the same float or double; must be finite.
void AppendJsonNumber(std::string* out, float value);
void AppendJsonNumber(std::string* out, double value);

/// Appends "[3,16]".
void AppendJsonShape(std::string* out, std::span<const Dim> dims);

/// `text` in single quotes for a message, cut to a length that suits one.
std::string Quoted(std::string_view text);

}  // namespace verdict
