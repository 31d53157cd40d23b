#include "base/terminal_text.h"

#include <cstdint>

namespace verdict {

std::string TerminalText(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string line;
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t next = i + 1 < text.size() ? static_cast<uint8_t>(text[i + 1]) : 0;
    const bool is_c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080 to U+009F in UTF-8
    if (is_c1) {
      byte = next;
      ++i;
    }
    if (is_c1 || byte < 0x20 || byte == 0x7F) {
      line += "\\x";
      line += kDigits[byte >> 4];
      line += kDigits[byte & 0xF];
    } else {
      line += static_cast<char>(byte);
    }
  }
  return line;
}

}  // namespace verdict
