#include "base/terminal_text.h"

#include <gtest/gtest.h>

namespace verdict {
namespace {

using namespace std::string_view_literals;

TEST(TerminalText, ControlCharactersAreWrittenOut) {
  EXPECT_EQ(TerminalText("a\x1b[2Jb\nc\0d\x7f"sv), "a\\x1b[2Jb\\x0ac\\x00d\\x7f");
  EXPECT_EQ(TerminalText("\xc2\x9b"
                         "2J"),
            "\\x9b2J");
}

TEST(TerminalText, EverythingElseStaysAsItIs) {
  const std::string text = "node 'имя' (\"a\\b\"): 1 \xc2\xa0 \xc3\x9b";
  EXPECT_EQ(TerminalText(text), text);
  EXPECT_EQ(TerminalText("\xc2"), "\xc2");  // cut off
}

}  // namespace
}  // namespace verdict
