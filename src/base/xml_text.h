#pragma once

#include <string>
#include <string_view>

namespace verdict {

/// `text` fit for XML and HTML, within an attribute too: markup escaped, control characters, of
/// which XML has hardly any, left out. Threads: pure.
std::string XmlText(std::string_view text);

}  // namespace verdict
