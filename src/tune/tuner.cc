#include "tune/tuner.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <limits>

#include "backends/registry.h"
#include "base/processor.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMinRuns = 3;
constexpr auto kBudget = std::chrono::milliseconds(5);
/// Larger shapes are not measured: the build shall not take the machine's memory.
constexpr size_t kMaxTensorBytes = size_t{1} << 30;
/// So many times the best at one shape, and a candidate is not tried at the next: at the largest
/// shapes a reference kernel can take minutes.
constexpr double kHopeless = 4;
constexpr double kLeastMicroseconds = 1e-3;  // what the clock may call nothing

std::string KeyOf(const Tactic& tactic, const Node& node, std::span<const TensorView> inputs) {
  // Another processor, or other kernels under the same name, take other times.
  std::string key = VERDICT_VERSION " (" + ProcessorName() + ") " + TargetFingerprint() + " " +
                    std::string(tactic.id) + " " + node.op;
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
  if (bytes > kMaxTensorBytes) return ResourceExhausted("a tensor of more than 1 GiB");
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

std::string ThreeDigits(double value) {
  std::array<char, 32> text;
  const int length = std::snprintf(text.data(), text.size(), "%.3g", value);
  return {text.data(), static_cast<size_t>(length)};
}

}  // namespace

Result<Tuner> Tuner::Create(const Graph& graph, std::span<const Profile> profiles,
                            const Options& options) {
  Tuner tuner(graph, options);
  for (const Profile& profile : profiles) {
    std::vector<Shape> last;
    for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt, &InputRange::max}) {
      const std::vector<Shape> shapes = CornerShapes(profile, corner);
      if (shapes == last) continue;
      last = shapes;
      VERDICT_ASSIGN_OR_RETURN(std::vector<TensorView> values, ResolveShapes(graph, shapes));
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
    return ResourceExhausted(Graph::Describe(node) + ": needs more than 1 GiB of scratch");
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
  struct Trial {
    Constant packed;
    double relative = 0;  // times, each as a multiple of the best at that shape, summed
    bool is_hopeless = false;
    double time = 0;
    std::string times;
  };
  std::vector<Trial> trials(candidates.size());
  const auto pick = [&] {
    size_t choice = trials.size();
    std::string line = Graph::Describe(node) + ": measured";
    for (size_t i = 0; i < trials.size(); ++i) {
      line += (i == 0 ? " " : ", ") + std::string(candidates[i]->id) + " " +
              (trials[i].times.empty() ? "too large" : trials[i].times + " us");
      if (trials[i].is_hopeless) continue;
      if (choice == trials.size() || trials[i].relative < trials[choice].relative) choice = i;
    }
    if (options_.log) options_.log(line);
    return choice;
  };
  for (const auto& values : shapes_) {
    double best = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < trials.size(); ++i) {
      Trial& trial = trials[i];
      if (trial.is_hopeless) continue;
      const auto time = Time(*candidates[i], node, values, trial.packed);
      if (time.status().code() == StatusCode::kResourceExhausted) return pick();
      if (!time.ok()) return time.status();
      trial.time = std::max(*time, kLeastMicroseconds);
      best = std::min(best, trial.time);
    }
    for (Trial& trial : trials) {
      if (trial.is_hopeless) continue;
      trial.relative += trial.time / best;
      trial.is_hopeless = trial.time > kHopeless * best;
      trial.times += (trial.times.empty() ? "" : " + ") + ThreeDigits(trial.time);
    }
  }
  return pick();
}

}  // namespace verdict
