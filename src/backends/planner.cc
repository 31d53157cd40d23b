#include "backends/planner.h"

#include <algorithm>

#include "backends/registry.h"
#include "base/checked_math.h"
#include "plan/memory.h"

namespace verdict {
namespace {

constexpr size_t kPackedAlignment = 64;

std::string KnownBackends() {
  std::string names;
  for (const Backend* backend : AllBackends()) {
    names += (names.empty() ? "" : ", ") + std::string(backend->name);
  }
  return names;
}

/// The backends to ask, in order: the one asked for and the reference backend, or all that are
/// available.
Result<std::vector<const Backend*>> ChooseBackends(const std::string& name) {
  std::vector<const Backend*> chosen;
  bool found = name.empty();
  for (const Backend* backend : AllBackends()) {
    const bool named = backend->name == name;
    found = found || named;
    if (named) VERDICT_RETURN_IF_ERROR(backend->available());
    if (named || backend->name == "reference" || (name.empty() && backend->available().ok())) {
      chosen.push_back(backend);
    }
  }
  if (!found) {
    return InvalidArgument("unknown backend '" + name + "'; the backends are " + KnownBackends());
  }
  return chosen;
}

/// packed: each step's weights, empty where it has none; bytes: what all take where they lie.
void PackTogether(std::span<const std::vector<std::byte>> packed, uint64_t bytes,
                  PlannedGraph& planned) {
  auto [section, data] = Constant::Allocate(DataType::kUInt8, Shape{static_cast<int64_t>(bytes)});
  const std::span<std::byte> to(static_cast<std::byte*>(data), bytes);
  std::ranges::fill(to, std::byte{0});  // the gaps go into the file
  for (size_t step = 0; step < packed.size(); ++step) {
    std::ranges::copy(packed[step], to.subspan(planned.plan.steps[step].packed_offset).begin());
  }
  planned.packed = to;
  planned.packed_owner = section.owner;
}

}  // namespace

Result<PlannedGraph> PlanGraph(const Graph& graph, std::span<const Profile> profiles,
                               const PlannerOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const auto backends, ChooseBackends(options.backend));
  const auto log = [&](const std::string& line) {
    if (options.log) options.log(line);
  };
  PlannedGraph planned;
  planned.plan.target = TargetFingerprint();
  std::vector<std::vector<std::byte>> packed;  // one per step
  uint64_t packed_size = 0;
  std::vector<const Tactic*> tactics;
  std::vector<const Tactic*> accepted;
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    accepted.clear();
    for (const Backend* backend : backends) {
      // Beside a backend that was asked for, the reference backend only takes what that one
      // declines.
      if (!options.backend.empty() && !accepted.empty()) break;
      for (const Tactic* tactic : backend->candidates(node.op)) {
        if (const Status status = tactic->accepts(graph, node); status.ok()) {
          accepted.push_back(tactic);
        } else {
          log(Graph::Describe(node) + ": " + std::string(tactic->id) +
              " declines: " + status.message());
        }
      }
    }
    if (accepted.empty()) {
      return Unimplemented(Graph::Describe(node) + ": no backend can compute it");
    }
    size_t index_of_choice = 0;
    if (options.choose && accepted.size() > 1) {
      VERDICT_ASSIGN_OR_RETURN(index_of_choice, options.choose(node, accepted));
    }
    const Tactic* choice = accepted[index_of_choice];
    log(Graph::Describe(node) + ": " + std::string(choice->id));
    Step step{.node = static_cast<int32_t>(index), .tactic = std::string(choice->id)};
    packed.emplace_back();
    if (choice->pack != nullptr) {
      VERDICT_ASSIGN_OR_RETURN(packed.back(), choice->pack(graph, node));
      step.packed_offset = AlignUp(packed_size, kPackedAlignment);
      step.packed_bytes = packed.back().size();
      packed_size = step.packed_offset + step.packed_bytes;
    }
    planned.plan.steps.push_back(std::move(step));
    tactics.push_back(choice);
  }
  PackTogether(packed, packed_size, planned);
  PlanStorage(graph, planned.plan);
  const ScratchRule scratch = [&](size_t step, auto inputs, auto outputs) -> size_t {
    const Tactic& tactic = *tactics[step];
    const Node& node = graph.nodes[static_cast<size_t>(planned.plan.steps[step].node)];
    return tactic.scratch_bytes == nullptr ? 0 : tactic.scratch_bytes(node, inputs, outputs);
  };
  for (const Profile& profile : profiles) {
    VERDICT_ASSIGN_OR_RETURN(Layout layout, PlanLayout(graph, planned.plan, profile, scratch));
    planned.plan.layouts.push_back(std::move(layout));
  }
  return planned;
}

}  // namespace verdict
