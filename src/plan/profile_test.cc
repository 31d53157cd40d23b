#include "plan/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/infer.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

TEST(ParseShapes, ReadsTensorRtSyntax) {
  const auto shapes = ParseShapes("in0:1x3,a:b:0:8x64x2,scalar:");
  ASSERT_TRUE(shapes.ok()) << shapes.status().ToString();
  ASSERT_EQ(shapes->size(), 3u);
  EXPECT_EQ((*shapes)[0].first, "in0");
  EXPECT_EQ((*shapes)[0].second, (Shape{1, 3}));
  EXPECT_EQ((*shapes)[1].first, "a:b:0");
  EXPECT_EQ((*shapes)[1].second, (Shape{8, 64, 2}));
  EXPECT_EQ((*shapes)[2].second.rank(), 0);
}

TEST(ParseShapes, QuotesWhatIsWrong) {
  for (const char* text : {"x", ":1x3", "x:1x", "x:x1", "x:-1x3", "x:1x3y", "x:99999999999",
                           "x:1x1x1x1x1x1x1x1x1", "x:1,", ",x:1", "x:1,,y:2"}) {
    const auto shapes = ParseShapes(text);
    ASSERT_FALSE(shapes.ok()) << text;
    EXPECT_EQ(shapes.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(shapes.status().message(), HasSubstr("shape '")) << text;
  }
}

class ProfileTest : public ::testing::Test {
 protected:
  ProfileTest() {
    const Dim batch = graph_.Symbol("N");
    graph_.AddInput("x", DataType::kFloat32, Shape{batch, 30});
    graph_.AddInput("y", DataType::kInt64, Shape{batch});
  }
  Result<Profile> Make(std::string_view min, std::string_view opt, std::string_view max) {
    return MakeProfile(graph_, ParseShapes(min).value(), ParseShapes(opt).value(),
                       ParseShapes(max).value());
  }
  Graph graph_;
};

TEST_F(ProfileTest, DefaultsSymbolsTo1_8_128) {
  const auto profile = Make("", "", "");
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(profile->inputs[0].min, (Shape{1, 30}));
  EXPECT_EQ(profile->inputs[0].opt, (Shape{8, 30}));
  EXPECT_EQ(profile->inputs[1].max, (Shape{128}));
}

TEST_F(ProfileTest, FixesTheExtentsThatCannotVary) {
  const Dim events = graph_.Symbol("T");
  const ValueId z = graph_.AddInput("z", DataType::kFloat32, Shape{graph_.Symbol("N"), events});
  const ValueId sum = graph_.AddValue("sum", DataType::kUndefined, Shape{});
  graph_.nodes.push_back({.name = "", .op = "Relu", .inputs = {z}, .outputs = {sum}});
  graph_.outputs = {sum};
  ASSERT_TRUE(InferShapes(graph_).ok());
  const auto profile = Make("x:1x30,z:1x12", "x:4x30,z:4x12", "x:8x30,z:8x12");
  ASSERT_TRUE(profile.ok()) << profile.status().ToString();
  ASSERT_TRUE(FixExtents(*profile, graph_).ok());
  EXPECT_EQ(graph_.value(z).shape, (Shape{graph_.Symbol("N"), 12}));
  EXPECT_EQ(graph_.value(sum).shape, (Shape{graph_.Symbol("N"), 12}));
  EXPECT_EQ(graph_.value(graph_.inputs[0]).shape, (Shape{graph_.Symbol("N"), 30}));
}

TEST_F(ProfileTest, OneFlagStandsForAllThree) {
  const auto profile = Make("", "x:4x30", "");
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(profile->inputs[0].min, (Shape{4, 30}));
  EXPECT_EQ(profile->inputs[0].max, (Shape{4, 30}));
  EXPECT_EQ(profile->inputs[1].max, (Shape{4})) << "the shared symbol takes the flag's size";
}

TEST_F(ProfileTest, SharedSymbolFollowsTheNamedInputInAnyOrder) {
  const auto profile = Make("y:2", "y:4", "y:16");
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(profile->inputs[0].max, (Shape{16, 30}));
}

TEST_F(ProfileTest, RefusesWhatDoesNotFit) {
  EXPECT_THAT(Make("z:1", "", "").status().message(), HasSubstr("no input 'z'"));
  EXPECT_THAT(Make("x:1", "", "").status().message(), HasSubstr("[N,30]"));
  EXPECT_THAT(Make("x:1x31", "", "").status().message(), HasSubstr("does not fit"));
  EXPECT_THAT(Make("x:1x31", "", "").status().message(), HasSubstr("--minShapes of input 'x'"));
  EXPECT_THAT(Make("x:1x31", "x:1x31", "x:1x31").status().message(),
              HasSubstr("--shapes of input 'x'"));
  EXPECT_THAT(Make("x:8x30", "x:4x30", "x:16x30").status().message(), HasSubstr("not in order"));
  EXPECT_THAT(Make("x:8x30,y:4", "", "").status().message(), HasSubstr("'N'"));
  EXPECT_THAT(Make("x:8x30,x:4x30", "", "").status().message(), HasSubstr("twice"));
}

TEST_F(ProfileTest, CheckShapesNamesInputAndRange) {
  const Profile profile = Make("x:1x30", "x:8x30", "x:16x30").value();
  const std::vector<Shape> good = {Shape{16, 30}, Shape{16}};
  EXPECT_TRUE(CheckShapes(profile, good).ok());
  const std::vector<Shape> big = {Shape{17, 30}, Shape{17}};
  EXPECT_THAT(CheckShapes(profile, big).message(), HasSubstr("'x' has shape [17,30]"));
  const std::vector<Shape> rank = {Shape{16}, Shape{16}};
  EXPECT_FALSE(CheckShapes(profile, rank).ok());
}

}  // namespace
}  // namespace verdict
