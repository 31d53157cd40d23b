#include "backends/planner.h"

#include <algorithm>
#include <map>

#include "backends/registry.h"
#include "base/checked_math.h"
#include "ir/text.h"
#include "plan/memory.h"

namespace verdict {
namespace {

constexpr size_t kPackedAlignment = 64;
/// What all packed weights may take, beside four times what the constants have: a hostile graph
/// names one constant in many different nodes, or has weights of no bytes that packing pads to
/// many.
constexpr uint64_t kPackedAllowance = uint64_t{64} << 20;

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

/// What a tactic packs depends on: nodes that share weights, as the steps of an unrolled loop do,
/// share what is packed of them.
std::string PackedKey(const Graph& graph, const Node& node, const Tactic& tactic) {
  std::string key = std::string(tactic.id) + " " + PrintAttributes(node.attributes);
  for (ValueId id : node.inputs) {
    key += graph.constant(id) == nullptr ? " -" : " " + std::to_string(id);
  }
  return key;
}

/// Packs the steps' weights into one section of `bytes`, in the order of their offsets.
Status PackTogether(const Graph& graph, std::span<const Tactic* const> tactics, uint64_t bytes,
                    PlannedGraph& planned) {
  auto [section, data] = Constant::Allocate(DataType::kUInt8, Shape{static_cast<int64_t>(bytes)});
  const std::span<std::byte> to(static_cast<std::byte*>(data), bytes);
  std::ranges::fill(to, std::byte{0});  // the gaps go into the file
  uint64_t end = 0;
  for (size_t index = 0; index < tactics.size(); ++index) {
    const Step& step = planned.plan.steps[index];
    if (step.packed_bytes == 0 || step.packed_offset < end) continue;  // nothing, or shared
    end = step.packed_offset + step.packed_bytes;
    const Node& node = graph.nodes[static_cast<size_t>(step.node)];
    VERDICT_ASSIGN_OR_RETURN(const std::vector<std::byte> packed,
                             tactics[index]->pack(graph, node));
    VERDICT_CHECK(packed.size() == step.packed_bytes);
    std::ranges::copy(packed, to.subspan(step.packed_offset).begin());
  }
  planned.packed = to;
  planned.packed_owner = section.owner;
  return OkStatus();
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
  const uint64_t packed_limit = kPackedAllowance + 4 * graph.ConstantBytes();
  uint64_t packed_bytes = 0;
  std::map<std::string, uint64_t> packed_at;  // offsets, by PackedKey
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
        Status status = tactic->accepts(graph, node);
        if (status.ok() && tactic->pack != nullptr &&
            !packed_at.contains(PackedKey(graph, node, *tactic)) &&
            packed_bytes + tactic->packed_bytes(graph, node) > packed_limit) {
          status = ResourceExhausted("all packed weights would take more than " +
                                     std::to_string(packed_limit) + " bytes");
        }
        if (status.ok()) {
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
    if (choice->pack != nullptr) {
      const auto [at, is_new] = packed_at.try_emplace(PackedKey(graph, node, *choice),
                                                      AlignUp(packed_bytes, kPackedAlignment));
      step.packed_offset = at->second;
      step.packed_bytes = choice->packed_bytes(graph, node);
      if (is_new) packed_bytes = step.packed_offset + step.packed_bytes;
    }
    planned.plan.steps.push_back(std::move(step));
    tactics.push_back(choice);
  }
  VERDICT_RETURN_IF_ERROR(PackTogether(graph, tactics, packed_bytes, planned));
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
