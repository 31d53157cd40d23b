#include "tools/samples/text_input.h"

#include <gmock/gmock.h>

#include "tools/samples/sample_text_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Lines(TextInput* input) {
  std::vector<std::string> lines;
  std::string line;
  while (input->ReadLine(&line).value()) lines.push_back(line);
  return lines;
}

TEST(TextInput, ReadsLinesHoweverTheyEnd) {
  TextInput input = TextOf("a\r\n\nb\rc\nlast", "f");
  EXPECT_THAT(Lines(&input), ElementsAre("a", "", "b\rc", "last"));
  EXPECT_EQ(input.line(), 4);
}

TEST(TextInput, PassesOverAByteOrderMarkOnEachPass) {
  TextInput input = TextOf("\xEF\xBB\xBFx\n\xEF\xBB\xBFy\n", "f");
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_THAT(Lines(&input), ElementsAre("x", "\xEF\xBB\xBFy"));
    ASSERT_TRUE(input.Rewind().ok());
    EXPECT_EQ(input.line(), 1);
  }
}

TEST(TextInput, ReadsPastItsBuffer) {
  const std::string text(200'000, 'a');
  TextInput input = TextOf(text + "\nb\n", "f");
  EXPECT_THAT(Lines(&input), ElementsAre(text, "b"));
}

TEST(TextInput, RefusesALineThatIsTooLong) {
  TextInput input = TextOf("a\n" + std::string(kMaxRecordBytes + 1, 'a'), "f");
  std::string line;
  ASSERT_TRUE(input.ReadLine(&line).ok());
  EXPECT_THAT(input.ReadLine(&line).status().message(), HasSubstr("f, line 2: longer than 16 MiB"));
}

TEST(TextInput, OpensRegularFilesOnly) {
  EXPECT_EQ(TextInput::Open("/no/such/file.csv").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(TextInput::Open("/dev/null").status().message(), HasSubstr("not a regular file"));
  EXPECT_THAT(TextInput::Open("/tmp").status().message(), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace verdict
