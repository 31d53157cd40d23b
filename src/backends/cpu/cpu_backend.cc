#include "backends/cpu/cpu_backend.h"

#include "backends/cpu/isa.h"

namespace verdict {
namespace {

std::vector<const Tactic*> Candidates(std::string_view) { return {}; }

}  // namespace

const Backend kCpuBackend = {.name = "cpu",
                             .available = [] { return OkStatus(); },
                             .fingerprint = [] { return std::string(IsaName(DetectedIsa())); },
                             .candidates = Candidates};

}  // namespace verdict
