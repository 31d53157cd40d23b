#include "backends/tensorrt/trials.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace verdict::tensorrt {
namespace {

struct Trial {
  std::string_view name;
  uint64_t Trials::*value;
};

constexpr Trial kTrials[] = {
    {"zero_copy_bytes", &Trials::zero_copy_bytes},
    {"large_input_bytes", &Trials::large_input_bytes},
    {"shared_scratch_bytes", &Trials::shared_scratch_bytes},
    {"stack_bytes", &Trials::stack_bytes},
    {"parser_forms", &Trials::parser_forms},
};

}  // namespace

Result<Trials> ParseTrials(std::string_view text) {
  Trials trials;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::string_view name = item.substr(0, item.find('='));
    const std::string_view number = item.substr(std::min(item.size(), name.size() + 1));
    const auto* const found = std::ranges::find(kTrials, name, &Trial::name);
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(number.begin(), number.end(), value);
    if (found == std::end(kTrials) || error != std::errc() || end != number.end()) {
      std::string names;
      for (const Trial& trial : kTrials) names += " " + std::string(trial.name);
      return InvalidArgument("VERDICT_TENSORRT_TRIALS: '" + std::string(item) +
                             "' is not NAME=NUMBER with one of the names" + names);
    }
    trials.*found->value = value;
  }
  return trials;
}

}  // namespace verdict::tensorrt
