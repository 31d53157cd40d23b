#pragma once

#include <string_view>

#include "base/status.h"
#include "config/config_key.h"

namespace verdict {

/// Where a scalar's text comes from decides what it may stand for: in YAML `8000` is a number and
/// `"8000"` is text; in the environment and in a flag everything is written plainly.
enum class ScalarForm { kPlainYaml, kQuotedYaml, kOverride };

/// Sets a flag, integer, number, text or choice from its text. Errors: kInvalidArgument "what is
/// wrong; what to do", without the key; the target is then as it was.
Status SetScalar(const ConfigKey& key, std::string_view text, ScalarForm form);

/// The number in `text`: decimal digits without leading zeros, in [min, max]. Errors: as SetScalar.
Result<int64_t> ParseConfigInteger(std::string_view text, int64_t min, int64_t max);

/// OK if `text` may be the value of a text: no control characters. Errors: as SetScalar.
Status CheckConfigText(std::string_view text, ScalarForm form);

/// Which of `names` the text is. Errors: kInvalidArgument with all of them.
Result<size_t> ParseChoice(std::string_view text, const std::vector<std::string>& names);

/// A number as short as it can be read back. Threads: pure.
std::string NumberText(double value);

}  // namespace verdict
