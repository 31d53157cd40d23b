#pragma once

#include <string>

#include "base/json_writer.h"
#include "engine/engine_file.h"

namespace verdict {

/// What a device plan is for, its options and parts, and what is copied between them, with the
/// bytes at the first profile's expected shapes. For DumpText.
std::string DumpDevicePlan(const EngineContents& contents, size_t index);

/// The same for DumpJson.
void DumpDevicePlan(const EngineContents& contents, size_t index, JsonWriter& json);

}  // namespace verdict
