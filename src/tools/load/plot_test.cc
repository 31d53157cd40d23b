#include "tools/load/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

namespace verdict::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

PercentilePlot Plot(const Histogram& histogram) {
  return {.title = "a <title> & more",
          .subtitle = "subtitle",
          .figures = {{"p50", "1 ms"}, {"p99", "2 ms"}},
          .curves = {{"latency", &histogram}},
          .deadline_ns = 0};
}

/// Points of the first curve.
std::vector<std::pair<double, double>> Points(const std::string& svg) {
  std::vector<std::pair<double, double>> points;
  const std::string path = svg.substr(svg.find("<path d=\"") + 9);
  const std::string data = path.substr(0, path.find('"'));
  const std::regex point("[ML]([0-9.]+) ([0-9.]+)");
  for (auto it = std::sregex_iterator(data.begin(), data.end(), point);
       it != std::sregex_iterator(); ++it) {
    points.emplace_back(std::stod((*it)[1]), std::stod((*it)[2]));
  }
  return points;
}

TEST(Plot, ACurveGoesFromTheLeastToTheGreatestAndNeverBack) {
  Histogram histogram;
  for (int64_t i = 1; i <= 100'000; ++i) histogram.Record(i * 100);
  const std::string svg = PlotSvg(Plot(histogram));
  const auto points = Points(svg);
  ASSERT_GT(points.size(), 100u);
  EXPECT_LT(points.size(), 2000u);
  for (size_t i = 1; i < points.size(); ++i) {
    ASSERT_GE(points[i].first, points[i - 1].first);
    ASSERT_LE(points[i].second, points[i - 1].second) << "higher latency is higher up";
  }
  EXPECT_NEAR(points.front().first, 84, 0.1);
  EXPECT_NEAR(points.back().first, 960 - 36, 0.1);
}

TEST(Plot, EachNineIsAsWideAsTheOneBefore) {
  Histogram histogram;
  for (int i = 0; i < 1000; ++i) histogram.Record(1'000'000);
  const std::string svg = PlotSvg(Plot(histogram));
  std::vector<double> at;
  for (const char* label : {">0%<", ">90%<", ">99%<", ">99.9%<"}) {
    const size_t end = svg.find(label);
    ASSERT_NE(end, std::string::npos) << label;
    const size_t begin = svg.rfind("x=\"", end);
    at.push_back(std::stod(svg.substr(begin + 3)));
  }
  EXPECT_NEAR(at[1] - at[0], at[2] - at[1], 0.2);
  EXPECT_NEAR(at[2] - at[1], at[3] - at[2], 0.2);
}

TEST(Plot, EscapesTextsAndShowsTheDeadline) {
  Histogram histogram;
  histogram.Record(1'000'000);
  PercentilePlot plot = Plot(histogram);
  plot.deadline_ns = 2'000'000;
  const std::string svg = PlotSvg(plot);
  EXPECT_THAT(svg, HasSubstr("a &lt;title&gt; &amp; more"));
  EXPECT_THAT(svg, Not(HasSubstr("<title> &")));
  EXPECT_THAT(svg, HasSubstr("deadline 2.00 ms"));
  EXPECT_THAT(svg, HasSubstr(">p99<"));
  plot.deadline_ns = 3'600'000'000'000;
  EXPECT_THAT(PlotSvg(plot), Not(HasSubstr("deadline 3600 s"))) << "far above the curve";
}

TEST(Plot, OfNothingIsStillAnImage) {
  const Histogram empty;
  const std::string svg = PlotSvg(Plot(empty));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, Not(HasSubstr("<path")));
  EXPECT_THAT(PlotHtml(Plot(empty)), HasSubstr("<!doctype html>"));
}

TEST(DurationText, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(DurationText(0), "0 ns");
  EXPECT_EQ(DurationText(999), "999 ns");
  EXPECT_EQ(DurationText(1000), "1.00 us");
  EXPECT_EQ(DurationText(12'340), "12.3 us");
  EXPECT_EQ(DurationText(999'400), "999 us");
  EXPECT_EQ(DurationText(999'600), "1.00 ms");
  EXPECT_EQ(DurationText(4'560'000), "4.56 ms");
  EXPECT_EQ(DurationText(1'200'000'000), "1.20 s");
}

}  // namespace
}  // namespace verdict::load
