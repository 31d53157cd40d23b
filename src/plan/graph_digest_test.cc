#include "plan/graph_digest.h"

#include <gtest/gtest.h>

#include "ir/text.h"

namespace verdict {
namespace {

/// A text with one thing in it changed.
std::string Text(const std::string& from = "", const std::string& to = "") {
  std::string text = R"(graph "g" {
  input %x: f32[N,4]
  const %w: f32[4,4] = seed(1)
  const %b: f32[4] = seed(2)
  const %unread: f32[4] = seed(5)
  const %given: f32[3] = seed(6)
  const %names: str[2] = ["ab", "c"]
  %h = Gemm(%x, %w, %b) {alpha=1.5}
  %a = Relu(%h)
  %y = Add(%h, %a)
  %t = Identity(%names)
  output %y
  output %t
  output %given
}
)";
  if (!from.empty()) text.replace(text.find(from), from.size(), to);
  return text;
}

Sha256Digest Structure(const std::string& text, Dim rows = 8) {
  const Profile profile{{{"x", {1, 4}, {2, 4}, {rows, 4}}}};
  return StructureDigest(ParseGraph(text).value(), std::span(&profile, 1));
}

Sha256Digest Weights(const std::string& text) { return WeightsDigest(ParseGraph(text).value()); }

TEST(GraphDigest, StructureIsAllButNamesAndContents) {
  const Sha256Digest base = Structure(Text());
  EXPECT_EQ(Structure(Text()), base);
  EXPECT_EQ(Structure(Text("graph \"g\"", "graph \"other\"")), base);
  EXPECT_EQ(Structure(Text("[N,4]", "[M,4]")), base);
  EXPECT_EQ(Structure(Text("seed(1)", "seed(3)")), base);
  EXPECT_EQ(Structure(Text("f32[4] = seed(5)", "f32[5] = seed(5)")), base) << "nothing reads it";
  EXPECT_NE(Structure(Text("[N,4]", "[3,4]")), base) << "an extent";
  EXPECT_NE(Structure(Text("[N,4]", "[N,5]")), base) << "an extent";
  EXPECT_NE(Structure(Text("f32[4] = seed(2)", "f32[1] = seed(2)")), base) << "a constant's shape";
  EXPECT_NE(Structure(Text("Relu", "Tanh")), base) << "an operator";
  EXPECT_NE(Structure(Text("alpha=1.5", "alpha=2.5")), base) << "an attribute";
  EXPECT_NE(Structure(Text("Add(%h, %a)", "Add(%a, %h)")), base) << "an edge";
  EXPECT_NE(Structure(Text("output %y", "output %a")), base) << "an output";
  EXPECT_EQ(Structure(Text("seed(6)", "seed(7)")), base);
  EXPECT_NE(Structure(Text("f32[3]", "f32[2]")), base) << "a constant's shape, given as it is";
  EXPECT_NE(Structure(Text(), 9), base) << "a profile";
}

TEST(GraphDigest, WeightsAreWhatConstantsHold) {
  const Sha256Digest base = Weights(Text());
  EXPECT_EQ(Weights(Text("alpha=1.5", "alpha=2.5")), base);
  EXPECT_EQ(Weights(Text("seed(5)", "seed(7)")), base) << "nothing reads it";
  EXPECT_NE(Weights(Text("seed(1)", "seed(3)")), base);
  EXPECT_NE(Weights(Text("seed(2)", "seed(3)")), base);
  EXPECT_NE(Weights(Text("seed(6)", "seed(7)")), base) << "an output alone";
  EXPECT_NE(Weights(Text("\"ab\", \"c\"", "\"a\", \"bc\"")), base);
}

}  // namespace
}  // namespace verdict
