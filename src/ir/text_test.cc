#include "ir/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict {
namespace {

using ::testing::HasSubstr;

constexpr char kText[] = R"(graph "mlp" {
  input %x: f32[N,3]
  input %"odd name:0": str[]
  const %w: f32[3,2] = [1, 0.1, -2, 0, 3e-20, inf]
  const %k: i64[2] = [-1, 9007199254740992]
  const %s: str[2] = ["a\"b", "c\\d"]
  %y: f32[N,2] = Gemm(%x, %w, _) {alpha=1.0, axes=[1, -2], scales=[0.5, 2.0], mode="linear", transB=0}
  %a, _ = Split(%y)
  output %y
  output %x
}
)";

TEST(GraphText, PrintsWhatItReads) {
  const auto graph = ParseGraph(kText);
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  const std::string printed = PrintGraph(*graph);
  const auto again = ParseGraph(printed);
  ASSERT_TRUE(again.ok()) << again.status().ToString() << "\n" << printed;
  EXPECT_EQ(PrintGraph(*again), printed);
  EXPECT_THAT(printed, HasSubstr("input %\"odd name:0\": str[]"));
  EXPECT_THAT(printed, HasSubstr("const %w: f32[3,2] = [1, 0.1, -2, 0, 3e-20, inf]"));
  EXPECT_THAT(printed,
              HasSubstr("{alpha=1.0, axes=[1, -2], mode=\"linear\", scales=[0.5, 2.0], transB=0}"));
  EXPECT_EQ(graph->nodes[0].inputs[2], kNoValue);
  EXPECT_EQ(graph->nodes[1].outputs[1], kNoValue);
  EXPECT_EQ(graph->constant(graph->FindValue("s"))->view().as<const std::string_view>()[0], "a\"b");
}

TEST(GraphText, SeededConstantsAreReproducible) {
  const auto graph =
      ParseGraph("graph \"g\" { const %a: f32[3] = seed(1) const %b: f32[3] = seed(1) output %a }");
  ASSERT_TRUE(graph.ok()) << graph.status().ToString();
  const auto a = graph->constant(0)->view().as<const float>();
  const auto b = graph->constant(1)->view().as<const float>();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(a[i], b[i]);
    EXPECT_GE(a[i], -1.0F);
    EXPECT_LT(a[i], 1.0F);
  }
  EXPECT_NE(a[0], a[1]);
}

TEST(GraphText, ErrorsNameTheLine) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"graph \"g\" {\n output %x\n}", "line 2: unknown value 'x'"},
      {"graph \"g\" {\n input %x: f33[1]\n}", "line 2: unknown element type"},
      {"graph \"g\" {\n input %x: f32[-1]\n}", "expected an extent"},
      {"graph \"g\" {\n const %x: f32[2] = [1]\n}", "line 2: expected ','"},
      {"graph \"g\" {\n const %x: f32[9999999999] = fill(0)\n}", "must be small"},
      {"graph \"g\" {\n input %x: f32[1]\n input %x: f32[1]\n}", "line 3: value 'x' exists"},
      {"graph \"g\" {\n input %x: f32[1]\n %y = Add(%x\n}", "expected ')'"},
      {"graph \"g\" {} junk", "after the closing brace"},
      {"graph \"g", "does not end"},
  };
  for (const auto& test : cases) {
    const auto graph = ParseGraph(test.text);
    ASSERT_FALSE(graph.ok()) << test.text;
    EXPECT_THAT(graph.status().message(), HasSubstr(test.message));
  }
}

}  // namespace
}  // namespace verdict
