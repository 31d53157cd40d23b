#include "tune/tuner.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "backends/registry.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMinRuns = 3;
constexpr auto kBudget = std::chrono::milliseconds(5);
constexpr size_t kMaxTensorBytes = size_t{4} << 30;

std::string KeyOf(const Tactic& tactic, const Node& node, std::span<const TensorView> inputs) {
  std::string key = TargetFingerprint() + " " + std::string(tactic.id) + " " + node.op;
  for (const TensorView& input : inputs) {
    key += input.dtype == DataType::kUndefined
               ? " _"
               : " " + std::string(DataTypeName(input.dtype)) + ToString(input.shape);
  }
  key += " " + PrintAttributes(node.attributes);
  std::ranges::replace(key, '\n', ' ');
  return key;
}

/// Memory for a tensor, floats set to a value that neither overflows nor is denormal on its way
/// through a layer.
Result<Constant> Allocate(const TensorView& tensor) {
  VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(tensor.dtype, tensor.shape));
  if (bytes > kMaxTensorBytes) return ResourceExhausted("a tensor of more than 4 GiB");
  auto [constant, data] = Constant::Allocate(tensor.dtype, tensor.shape);
  std::fill_n(static_cast<std::byte*>(data), bytes, std::byte{0});
  if (tensor.dtype == DataType::kFloat32) {
    std::fill_n(static_cast<float*>(data), bytes / sizeof(float), 0.5F);
  }
  return constant;
}

Result<Constant> AllocateBytes(size_t count) {
  return Allocate({DataType::kUInt8, Shape{static_cast<int64_t>(count)}, nullptr});
}

/// Least time of a run, in microseconds: what disturbs a run only ever adds to it.
Result<double> LeastTime(const Tactic& tactic, KernelContext& context) {
  VERDICT_RETURN_IF_ERROR(tactic.run(context));  // brings code and weights into the caches
  double least = 0;
  const auto start = Clock::now();
  for (int run = 0; run < kMinRuns || Clock::now() - start < kBudget; ++run) {
    const auto before = Clock::now();
    VERDICT_RETURN_IF_ERROR(tactic.run(context));
    const std::chrono::duration<double, std::micro> elapsed = Clock::now() - before;
    least = run == 0 ? elapsed.count() : std::min(least, elapsed.count());
    if (elapsed > kBudget) break;
  }
  return least;
}

std::string Microseconds(double value) {
  std::array<char, 32> text;
  const int length = std::snprintf(text.data(), text.size(), "%.3g us", value);
  return {text.data(), static_cast<size_t>(length)};
}

}  // namespace

Result<Tuner> Tuner::Create(const Graph& graph, std::span<const Profile> profiles,
                            const Options& options) {
  Tuner tuner(graph, options);
  for (const Profile& profile : profiles) {
    for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt}) {
      VERDICT_ASSIGN_OR_RETURN(std::vector<TensorView> values,
                               ResolveShapes(graph, CornerShapes(profile, corner)));
      tuner.shapes_.push_back(std::move(values));
    }
  }
  return tuner;
}

Result<double> Tuner::Time(const Tactic& tactic, const Node& node,
                           std::span<const TensorView> values, Constant& packed) {
  std::vector<Constant> owners;
  const auto place = [&](std::span<const ValueId> ids, bool allocate,
                         std::vector<TensorView>& views) -> Status {
    for (ValueId id : ids) {
      views.push_back(id == kNoValue ? TensorView{} : values[static_cast<size_t>(id)]);
      if (id == kNoValue) continue;
      if (const Constant* constant = graph_.constant(id)) {
        views.back() = constant->view();
      } else if (allocate) {
        VERDICT_ASSIGN_OR_RETURN(Constant owner, Allocate(views.back()));
        views.back() = owner.view();
        owners.push_back(std::move(owner));
      }
    }
    return OkStatus();
  };
  std::vector<TensorView> inputs, outputs;
  VERDICT_RETURN_IF_ERROR(place(node.inputs, /*allocate=*/false, inputs));
  const std::string key = KeyOf(tactic, node, inputs);
  if (const auto known = options_.cache->Find(key)) return *known;
  if (options_.error_on_cache_miss) {
    return FailedPrecondition(Graph::Describe(node) + ": the timing cache has no entry for '" +
                              key + "'; build once without --errorOnTimingCacheMiss");
  }
  inputs.clear();
  VERDICT_RETURN_IF_ERROR(place(node.inputs, /*allocate=*/true, inputs));
  VERDICT_RETURN_IF_ERROR(place(node.outputs, /*allocate=*/true, outputs));

  const size_t scratch_bytes =
      tactic.scratch_bytes == nullptr ? 0 : tactic.scratch_bytes(node, inputs, outputs);
  if (scratch_bytes > kMaxTensorBytes) {
    return ResourceExhausted(Graph::Describe(node) + ": needs more than 4 GiB of scratch");
  }
  VERDICT_ASSIGN_OR_RETURN(const Constant scratch, AllocateBytes(scratch_bytes));
  if (tactic.pack != nullptr && packed.data == nullptr) {
    VERDICT_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, tactic.pack(graph_, node));
    VERDICT_ASSIGN_OR_RETURN(packed, AllocateBytes(bytes.size()));
    std::ranges::copy(bytes, static_cast<std::byte*>(const_cast<void*>(packed.data)));
  }
  const size_t packed_bytes = packed.data == nullptr ? 0 : static_cast<size_t>(packed.shape[0]);
  KernelContext context{node,
                        inputs,
                        outputs,
                        {static_cast<std::byte*>(const_cast<void*>(scratch.data)), scratch_bytes},
                        {static_cast<const std::byte*>(packed.data), packed_bytes}};
  VERDICT_ASSIGN_OR_RETURN(const double microseconds, LeastTime(tactic, context));
  options_.cache->Put(key, microseconds);
  return microseconds;
}

Result<size_t> Tuner::Choose(const Node& node, std::span<const Tactic* const> candidates) {
  size_t best = 0;
  double best_time = 0;
  std::string line = Graph::Describe(node) + ": measured";
  for (size_t index = 0; index < candidates.size(); ++index) {
    double total = 0;
    Constant packed;
    for (const auto& values : shapes_) {
      VERDICT_ASSIGN_OR_RETURN(const double time, Time(*candidates[index], node, values, packed));
      total += time;
    }
    if (index == 0 || total < best_time) {
      best = index;
      best_time = total;
    }
    line +=
        (index == 0 ? " " : ", ") + std::string(candidates[index]->id) + " " + Microseconds(total);
  }
  if (options_.log) options_.log(line);
  return best;
}

}  // namespace verdict
