#include "tune/tuner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "backends/planner.h"
#include "backends/registry.h"
#include "base/processor.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

Status Accept(const Graph&, const Node&) { return OkStatus(); }

Status Spin(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
  return OkStatus();
}

constexpr Tactic kSlow = {
    .id = "test/slow", .op = "Relu", .accepts = Accept, .run = [](KernelContext&) {
      return Spin(std::chrono::microseconds(3000));
    }};
constexpr Tactic kFast = {
    .id = "test/fast", .op = "Relu", .accepts = Accept, .run = [](KernelContext&) {
      return Spin(std::chrono::microseconds(10));
    }};

class TunerTest : public ::testing::Test {
 protected:
  TunerTest() {
    graph_ = ParseGraph(R"(graph "g" {
      input %x: f32[N,4]
      %y = Relu(%x)
      output %y
    })")
                 .value();
    VERDICT_CHECK(InferShapes(graph_).ok());
    profiles_.push_back(MakeProfile(graph_, {}, {}, {}).value());
  }
  Result<size_t> Choose(bool error_on_cache_miss = false) {
    auto tuner = Tuner::Create(graph_, profiles_,
                               {.cache = &cache_,
                                .error_on_cache_miss = error_on_cache_miss,
                                .log = [&](const std::string& line) { log_ += line; }});
    VERDICT_CHECK(tuner.ok());
    const Tactic* candidates[] = {&kSlow, &kFast};
    return tuner->Choose(graph_.nodes[0], candidates);
  }
  std::string Key(const Tactic& tactic, int rows) {
    return VERDICT_VERSION " (" + ProcessorName() + ") " + TargetFingerprint() + " " +
           std::string(tactic.id) + " Relu f32[" + std::to_string(rows) + ",4] {}";
  }

  Graph graph_;
  std::vector<Profile> profiles_;
  TimingCache cache_;
  std::string log_;
};

TEST_F(TunerTest, TakesTheFasterAndRemembersBoth) {
  const auto choice = Choose();
  ASSERT_TRUE(choice.ok()) << choice.status().ToString();
  EXPECT_EQ(*choice, 1u);
  EXPECT_EQ(cache_.size(), 4u) << "the slow one at the least shape only";
  EXPECT_GE(*cache_.Find(Key(kSlow, 1)), 3000);
  EXPECT_LT(*cache_.Find(Key(kFast, 1)), 3000);
  EXPECT_TRUE(cache_.Find(Key(kFast, 8)) && cache_.Find(Key(kFast, 128)));
  EXPECT_THAT(log_, HasSubstr("node 'y' (Relu): measured test/slow "));
}

TEST_F(TunerTest, BelievesTheCacheAndMeasuresNothing) {
  for (int rows : {1, 8, 128}) {
    cache_.Put(Key(kSlow, rows), 1.0 * rows);
    cache_.Put(Key(kFast, rows), 2.0 * rows);
  }
  EXPECT_EQ(Choose(/*error_on_cache_miss=*/true).value(), 0u);
  cache_.Put(Key(kSlow, 8), 80.0);
  EXPECT_EQ(Choose(/*error_on_cache_miss=*/true).value(), 1u);
}

TEST_F(TunerTest, SmallShapesCountAsMuchAsLargeOnes) {
  for (int rows : {1, 8}) {
    cache_.Put(Key(kSlow, rows), 1.0);
    cache_.Put(Key(kFast, rows), 2.0);
  }
  cache_.Put(Key(kSlow, 128), 250.0);
  cache_.Put(Key(kFast, 128), 100.0);
  EXPECT_EQ(Choose(/*error_on_cache_miss=*/true).value(), 0u) << "1 + 1 + 2.5 against 2 + 2 + 1";
}

TEST_F(TunerTest, ShapesTooLargeToMeasureAreLeftOut) {
  profiles_[0] =
      MakeProfile(graph_, {{"x", {1, 4}}}, {{"x", {8, 4}}}, {{"x", {1 << 27, 4}}}).value();
  EXPECT_EQ(Choose().value(), 1u);
  EXPECT_EQ(cache_.Find(Key(kFast, 1 << 27)), std::nullopt);
  profiles_[0].inputs[0].min = profiles_[0].inputs[0].max;
  EXPECT_EQ(Choose().value(), 0u) << "the best guess";
}

TEST_F(TunerTest, AMissIsAnErrorWhereAskedFor) {
  const auto choice = Choose(/*error_on_cache_miss=*/true);
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(choice.status().message(), HasSubstr("node 'y' (Relu)"));
}

TEST_F(TunerTest, PlannerFollowsTheChoice) {
  Graph graph = ParseGraph(R"(graph "g" {
    input %x: f32[N,4]
    const %w: f32[4,8] = seed(1)
    %y = FusedGemm(%x, %w)
    output %y
  })")
                    .value();
  ASSERT_TRUE(InferShapes(graph).ok());
  for (size_t wanted : {size_t{0}, size_t{1}}) {
    size_t offered = 0;
    PlannerOptions options;
    options.choose = [&](const Node&, std::span<const Tactic* const> candidates) {
      offered = candidates.size();
      return Result<size_t>(wanted);
    };
    const auto planned = PlanGraph(graph, profiles_, options);
    ASSERT_TRUE(planned.ok()) << planned.status().ToString();
    EXPECT_EQ(offered, 2u);
    EXPECT_EQ(planned->plan.steps[0].tactic, wanted == 0 ? "cpu/fused_gemm" : "reference");
  }
}

class TimingCacheTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  const std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / "timing_cache_test.txt";
  void TearDown() override { std::filesystem::remove(path_); }
};

TEST_F(TimingCacheTest, ReadsWhatItWrote) {
  TimingCache cache = TimingCache::Load(path_).value();
  EXPECT_EQ(cache.size(), 0u) << "no file yet";
  EXPECT_FALSE(cache.changed());
  cache.Put("a key with spaces", 0.1);
  cache.Put("another", 1e9);
  EXPECT_TRUE(cache.changed());
  ASSERT_TRUE(cache.Save(path_).ok());
  const TimingCache again = TimingCache::Load(path_).value();
  EXPECT_EQ(again.size(), 2u);
  EXPECT_EQ(again.Find("a key with spaces"), 0.1);
  EXPECT_EQ(again.Find("another"), 1e9);
  EXPECT_EQ(again.Find("a key"), std::nullopt);
  EXPECT_FALSE(again.changed());
}

TEST_F(TimingCacheTest, RefusesWhatIsNoCacheAndNamesTheLine) {
  for (const char* text : {"x", "verdict timing cache 2\n", "verdict timing cache 1"}) {
    Write(text);
    EXPECT_EQ(TimingCache::Load(path_).status().code(), StatusCode::kInvalidArgument) << text;
  }
  for (const char* line : {"1.0", "1.0 \n", "abc key\n", "nan key\n", "-1 key\n", "1.0 key"}) {
    Write(std::string("verdict timing cache 1\n2.0 good\n") + line);
    EXPECT_THAT(TimingCache::Load(path_).status().message(), HasSubstr("line 3")) << line;
  }
}

}  // namespace
}  // namespace verdict
