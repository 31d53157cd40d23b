#include "observe/trace/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace verdict {
namespace {

// The standard's own example.
constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, ReadsTheStandardsExample) {
  const TraceContext context = ParseTraceContext(kParent, "congo=t61rcWkgMzE");
  ASSERT_TRUE(context.has_parent());
  EXPECT_EQ(HexText(context.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(HexText(context.parent_id), "00f067aa0ba902b7");
  EXPECT_TRUE(context.sampled);
  EXPECT_EQ(context.tracestate, "congo=t61rcWkgMzE");
  const auto text = FormatTraceparent(context.trace_id, context.parent_id, true);
  EXPECT_EQ(std::string(text.data(), text.size()), kParent);
}

TEST(TraceContext, FlagsOtherThanSampledMeanNothing) {
  std::string text = kParent;
  text.replace(53, 2, "fe");
  EXPECT_TRUE(ParseTraceContext(text, "").has_parent());
  EXPECT_FALSE(ParseTraceContext(text, "").sampled);
  text.replace(53, 2, "03");
  EXPECT_TRUE(ParseTraceContext(text, "").sampled);
}

TEST(TraceContext, LaterVersionsMayBeLonger) {
  const std::string rest = std::string(kParent).substr(2);
  EXPECT_TRUE(ParseTraceContext("cc" + rest, "").has_parent());
  EXPECT_TRUE(ParseTraceContext("cc" + rest + "-what-comes", "").has_parent());
  EXPECT_FALSE(ParseTraceContext("cc" + rest + ".what-comes", "").has_parent());
  EXPECT_FALSE(ParseTraceContext("00" + rest + "-x", "").has_parent());
  EXPECT_FALSE(ParseTraceContext("ff" + rest, "").has_parent());
}

TEST(TraceContext, MalformedParentsCountAsNone) {
  const std::string good = kParent;
  for (size_t cut = 0; cut < good.size(); ++cut) {
    const TraceContext context = ParseTraceContext(good.substr(0, cut), "a=b");
    EXPECT_FALSE(context.has_parent()) << cut;
    EXPECT_EQ(context.tracestate, "");
    EXPECT_FALSE(context.sampled);
  }
  for (size_t at = 0; at < good.size(); ++at) {
    for (const char c : {'G', 'A', ' ', '\0', '\xff', ','}) {
      std::string bad = good;
      bad[at] = c;
      if (c == ' ' && (at == 0 || at + 1 == good.size())) continue;
      EXPECT_FALSE(ParseTraceContext(bad, "").has_parent()) << bad;
    }
  }
  EXPECT_FALSE(ParseTraceContext("00-" + std::string(32, '0') + good.substr(35), "").has_parent());
  EXPECT_FALSE(
      ParseTraceContext(good.substr(0, 36) + std::string(16, '0') + "-01", "").has_parent());
  EXPECT_FALSE(ParseTraceContext(good + "," + good, "").has_parent());  // two headers
}

TEST(TraceContext, TracestatesAreKeptAsTheyAreOrLeftOut) {
  const auto kept = [](const std::string& state) {
    return !ParseTraceContext(kParent, state).tracestate.empty();
  };
  EXPECT_TRUE(kept("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
  EXPECT_TRUE(kept("a=1, b=2 ,\tc=3,,"));
  EXPECT_TRUE(kept("fw529a3039@dt=FfAA,0vendor/*-_=!\"#~"));
  EXPECT_TRUE(kept(std::string(256, 'a') + "=" + std::string(256, 'v')));
  for (const char* bad : {"a", "=1", "a=", "A=1", "a=1,a=2", "a@=1", "@b=1", "a@0b=1", "a=\x7f",
                          "a=b=c", "a =1", "a=\xc3\xa9", "a=1\r\nx: y"}) {
    EXPECT_FALSE(kept(bad)) << bad;
    EXPECT_TRUE(ParseTraceContext(kParent, bad).has_parent()) << bad;
  }
  EXPECT_FALSE(kept(std::string(257, 'a') + "=1"));
  EXPECT_FALSE(kept("a=" + std::string(257, 'v')));
  EXPECT_FALSE(kept("a@" + std::string(15, 'b') + "=1"));
  std::string many = "k0=v";
  for (int i = 1; i < 32; ++i) many += ",k" + std::to_string(i) + "=v";
  EXPECT_TRUE(kept(many));
  EXPECT_FALSE(kept(many + ",k32=v"));
}

}  // namespace
}  // namespace verdict
