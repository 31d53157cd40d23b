#include "backends/reference/reference_backend.h"

namespace verdict {
namespace {

/// One tactic per operator, made once from the operator list.
std::span<const Tactic> Tactics() {
  static const std::vector<Tactic> tactics = [] {
    std::vector<Tactic> list;
    for (const OpDef* op : AllOps()) {
      list.push_back({.id = "reference",
                      .op = op->name,
                      .accepts = [](const Graph&, const Node&) { return OkStatus(); },
                      .run = op->run,
                      .scratch_bytes = op->scratch_bytes});
    }
    return list;
  }();
  return tactics;
}

std::vector<const Tactic*> Candidates(std::string_view op) {
  for (const Tactic& tactic : Tactics()) {
    if (tactic.op == op) return {&tactic};
  }
  return {};
}

}  // namespace

const Backend kReferenceBackend = {.name = "reference",
                                   .available = [] { return OkStatus(); },
                                   .fingerprint = [] { return std::string(); },
                                   .candidates = Candidates};

}  // namespace verdict
