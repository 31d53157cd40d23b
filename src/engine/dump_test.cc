#include "engine/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/json_writer.h"
#include "engine/engine_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string JsonString(std::string_view text) {
  std::string json;
  AppendJsonString(text, json);
  return json;
}

TEST(JsonWriter, EscapesStrings) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x01\x1b\x7f"), "\"a\\\"b\\\\c\\n\\u0001\\u001b\\u007f\"");
  EXPECT_EQ(JsonString(std::string_view("\0", 1)), "\"\\u0000\"");
  EXPECT_EQ(JsonString("é ∑ 😀"), "\"é ∑ 😀\"");
}

TEST(JsonWriter, ReplacesWhatIsNotUtf8) {
  const std::string replacement = "\"\xEF\xBF\xBD\"";
  EXPECT_EQ(JsonString("\x80"), replacement);
  EXPECT_EQ(JsonString("\xFF"), replacement);
  EXPECT_EQ(JsonString("\xC3"), replacement);                    // cut short
  EXPECT_EQ(JsonString("\xC0\xAF").size(), 2U + 2 * 3);          // overlong
  EXPECT_EQ(JsonString("\xE0\x80\x80").size(), 2U + 3 * 3);      // overlong
  EXPECT_EQ(JsonString("\xED\xA0\x80").size(), 2U + 3 * 3);      // surrogate
  EXPECT_EQ(JsonString("\xF4\x90\x80\x80").size(), 2U + 4 * 3);  // above U+10FFFF
  EXPECT_EQ(JsonString("\xC3(x"), "\"\xEF\xBF\xBD(x\"");
}

TEST(JsonWriter, PlacesCommas) {
  JsonWriter json;
  json.BeginObject().Key("a").BeginArray().Int(-1).UInt(2).BeginArray().EndArray().String("x");
  json.EndArray().Key("b").BeginObject().EndObject().Key("c").Number(0.1).Key("d").Number(INFINITY);
  json.EndObject();
  EXPECT_EQ(json.text(), R"({"a":[-1,2,[],"x"],"b":{},"c":0.1,"d":null})");
}

EngineContents ReadBack() {
  const auto file = SerializeEngine(MakeTestContents()).value();
  return ParseEngine(file, nullptr, "m").value();
}

TEST(Dump, TextShowsTheWholeEngine) {
  const std::string text = DumpText(ReadBack());
  for (const char* line :
       {"graph 'test': 5 nodes", "engine format 1.1, ",
        "planned for test:machine, 1 golden vectors", "  x  f32[N,2]", "  s  str[N]",
        "  names  str[3]", "  x  min [1,2]  opt [4,2]  max [8,2]",
        "  0  Gemm      cpu/gemm   -> h f32[N,3]", "  4  Identity  reference  -> names str[3]",
        "  packed              88 bytes", "  constants           49 bytes",
        "  arena of profile 0  320 bytes (64 of them scratch)", "  builder  verdict test",
        "  golden     at "}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Dump, TextCannotDriveATerminal) {
  EngineContents contents = MakeTestContents();
  contents.graph.RenameValue(0, "x\x1b[2J\n");
  contents.profiles[0].inputs[0].name = "x\x1b[2J\n";
  contents.metadata["key"] =
      "\x1b]0;title\x07 \xC2\x9B"
      "31m";
  const std::string text = DumpText(contents);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text + DumpJson(contents), Not(HasSubstr("\xC2\x9B")));
  EXPECT_THAT(text, HasSubstr("x\\u001b[2J\\n"));
}

TEST(Dump, ALongNameWidensNoOtherRow) {
  EngineContents contents = MakeTestContents();
  const size_t usual = DumpText(contents).size();
  contents.plan.steps[0].tactic = std::string(100'000, 't');
  EXPECT_LT(DumpText(contents).size(), usual + 2000);
}

TEST(Dump, JsonHoldsTheSame) {
  const std::string json = DumpJson(ReadBack());
  for (
      const char* part :
      {R"("name":"test","format":"1.1","file_bytes":)", R"("target":"test:machine")",
       R"("inputs":[{"name":"x","dtype":"f32","shape":["N",2]},{"name":"s",)",
       R"({"name":"x","min":[1,2],"opt":[4,2],"max":[8,2]})",
       R"("arena_bytes":320,"scratch_bytes":64)",
       R"({"name":"make_h","op":"Gemm","tactic":"cpu/gemm","packed_bytes":24,"inputs":["x","weight","bias"],)",
       R"("constant_bytes":49,"packed_bytes":88,"golden_vectors":1)",
       R"("metadata":{"builder":"verdict test","source":"model.onnx"})",
       R"("sections":[{"name":"metadata","offset":)"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
}

TEST(Dump, ShowsAGraphThatWasNeverPlanned) {
  EngineContents contents;
  contents.graph = MakeTestContents().graph;
  const std::string text = DumpText(contents);
  EXPECT_THAT(text, HasSubstr("  0  Gemm      -> h f32[N,3]"));
  EXPECT_THAT(text, Not(HasSubstr("planned")));
  EXPECT_THAT(text, Not(HasSubstr("packed")));
  EXPECT_THAT(DumpJson(contents), HasSubstr(R"("profiles":[],"nodes":[{)"));
}

}  // namespace
}  // namespace verdict
