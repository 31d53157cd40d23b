#include "tools/speed_comparison.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "compile/golden.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

// Short rounds, and many: one that nothing else interrupted is enough.
constexpr int kMinRounds = 5;
constexpr int kMaxRounds = 200;
constexpr double kRoundUs = 200;
constexpr double kEnoughUs = 100'000;

double Microseconds(Clock::duration elapsed) {
  return std::chrono::duration<double, std::micro>(elapsed).count();
}

std::vector<TensorView> Views(std::span<const Constant> constants) {
  std::vector<TensorView> views;
  for (const Constant& constant : constants) views.push_back(constant.view());
  return views;
}

Result<std::unique_ptr<Session>> Open(const EngineContents& contents) {
  VERDICT_ASSIGN_OR_RETURN(auto engine, Engine::FromContents(contents));
  return Session::Create(std::move(engine));
}

/// The mean of so many runs that they take kRoundUs, or of one.
Result<double> Round(Session& session, std::span<const TensorView> inputs) {
  const auto begin = Clock::now();
  for (int runs = 1;; ++runs) {
    VERDICT_RETURN_IF_ERROR(session.Run(inputs).status());
    const double elapsed = Microseconds(Clock::now() - begin);
    if (elapsed >= kRoundUs) return elapsed / runs;
  }
}

/// Made-up inputs that the session takes; nothing if it takes none.
Result<std::vector<Constant>> InputsFor(const Graph& graph, const std::vector<Shape>& shapes,
                                        Session& session) {
  std::mt19937_64 random(0);
  for (const bool zeros : {false, true}) {
    VERDICT_ASSIGN_OR_RETURN(std::vector<Constant> inputs,
                             MadeUpInputs(graph, shapes, zeros, random));
    if (session.Run(Views(inputs)).ok()) return inputs;
  }
  return std::vector<Constant>();
}

}  // namespace

Result<std::vector<SpeedComparison>> CompareSpeed(const EngineContents& baseline,
                                                  const EngineContents& candidate) {
  VERDICT_ASSIGN_OR_RETURN(const auto first, Open(baseline));
  VERDICT_ASSIGN_OR_RETURN(const auto second, Open(candidate));
  std::vector<SpeedComparison> compared;
  std::vector<Shape> last;
  for (Shape InputRange::*corner : {&InputRange::min, &InputRange::opt}) {
    std::vector<Shape> shapes;
    for (const InputRange& range : baseline.profiles.front().inputs) {
      shapes.push_back(range.*corner);
    }
    if (!compared.empty() && shapes == last) continue;
    last = shapes;
    VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> held,
                             InputsFor(baseline.graph, shapes, *first));
    if (held.empty()) continue;
    const std::vector<TensorView> inputs = Views(held);
    SpeedComparison times{.first_input = inputs[0].shape};
    const auto begin = Clock::now();
    for (int round = 0; round < kMaxRounds; ++round) {
      if (round >= kMinRounds && Microseconds(Clock::now() - begin) > kEnoughUs) break;
      VERDICT_ASSIGN_OR_RETURN(const double one, Round(*first, inputs));
      VERDICT_ASSIGN_OR_RETURN(const double other, Round(*second, inputs));
      times.baseline_us = round == 0 ? one : std::min(times.baseline_us, one);
      times.candidate_us = round == 0 ? other : std::min(times.candidate_us, other);
    }
    compared.push_back(times);
  }
  return compared;
}

}  // namespace verdict
