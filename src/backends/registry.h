#pragma once

#include "backends/backend.h"

namespace verdict {

/// All backends, best guess first; the reference backend is last.
std::span<const Backend* const> AllBackends();

/// The tactic of that id if its backend is available here, else null.
const Tactic* FindTactic(std::string_view op, std::string_view id);

/// "cpu:avx512" or the like: what a plan made here depends on.
std::string TargetFingerprint();

}  // namespace verdict
