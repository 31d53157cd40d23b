#pragma once

#include <string>

#include "engine/engine_file.h"

namespace verdict {

/// What `verdict inspect` prints for people: inputs and outputs with symbolic shapes, profiles,
/// nodes with operator, tactic and output shapes, memory, metadata, sections. Contents that were
/// never planned (a graph alone) show what they have. Names from the file are shown with control
/// characters escaped. Threads: pure.
std::string DumpText(const EngineContents& contents);

/// The same as one line of JSON, for programs.
std::string DumpJson(const EngineContents& contents);

}  // namespace verdict
