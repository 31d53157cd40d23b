#pragma once

#include <string>
#include <string_view>

namespace verdict {

/// `text` on one line, with control characters as \x1b: names that come from a file must neither
/// command the terminal that a message goes to, nor end the message. Threads: pure.
std::string TerminalText(std::string_view text);

}  // namespace verdict
