#include "runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "backends/registry.h"
#include "compile/compile.h"
#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/half.h"
#include "ops/infer.h"
#include "runtime/allocation_count_test.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

// Two layers with everything between that a plan has to handle: a view, a branch, a shape computed
// at run time, an input passed through.
constexpr char kModel[] = R"(graph "mlp" {
  input %x: f32[N,6]
  const %w1: f32[6,20] = seed(1)
  const %b1: f32[20] = seed(2)
  const %w2: f32[20,3] = seed(3)
  const %tail: i64[1] = [-1]
  const %zero: i64[] = [0]
  const %axes: i64[1] = [0]
  %h = MatMul(%x, %w1)
  %hb = Add(%h, %b1)
  %a = Relu(%hb)
  %s = Shape(%a)
  %n = Gather(%s, %zero)
  %n1 = Unsqueeze(%n, %axes)
  %target = Concat(%n1, %tail) {axis=0}
  %flat = Reshape(%a, %target)
  %y = MatMul(%flat, %w2)
  %p = Softmax(%y)
  %same = Identity(%x)
  output %p
  output %same
}
)";

std::shared_ptr<const Engine> MakeEngine(const std::string& backend = "") {
  Graph graph = ParseGraph(kModel).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  CompileOptions options;
  options.backend = backend;
  options.min_shapes = ParseShapes("x:1x6").value();
  options.opt_shapes = ParseShapes("x:4x6").value();
  options.max_shapes = ParseShapes("x:32x6").value();
  auto compiled = Compile(std::move(graph), options);
  VERDICT_CHECK(compiled.ok());
  auto engine = Engine::FromContents(std::move(compiled->contents));
  VERDICT_CHECK(engine.ok());
  return *engine;
}

std::vector<float> Rows(int64_t rows, float seed) {
  std::vector<float> values(static_cast<size_t>(rows * 6));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(seed + static_cast<float>(i));
  return values;
}

TensorView View(std::vector<float>& values) {
  return {DataType::kFloat32, Shape{static_cast<int64_t>(values.size()) / 6, 6}, values.data()};
}

std::vector<float> Expected(std::vector<float>& x) {
  Graph graph = ParseGraph(kModel).value();
  VERDICT_CHECK(InferShapes(graph).ok());
  const TensorView view = View(x);
  const auto outputs = Evaluate(graph, std::span(&view, 1)).value();
  const auto p = outputs[0].view();
  const auto values = p.as<const float>();
  return {values.begin(), values.end()};
}

void ExpectScores(Session& session, std::vector<float>& x, const std::vector<float>& want) {
  const TensorView view = View(x);
  const auto outputs = session.Run(std::span(&view, 1));
  ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
  const auto got = (*outputs)[0].as<const float>();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5) << i;
  const auto same = (*outputs)[1].as<const float>();
  EXPECT_TRUE(std::equal(x.begin(), x.end(), same.begin(), same.end()));
}

TEST(Session, EqualsTheInterpreterOnEveryBatchSize) {
  for (const char* backend : {"", "reference"}) {
    const auto engine = MakeEngine(backend);
    const auto session = Session::Create(engine).value();
    for (int64_t rows : {1, 4, 3, 32, 1, 1, 17}) {
      auto x = Rows(rows, static_cast<float>(rows));
      const auto want = Expected(x);
      ExpectScores(*session, x, want);
      auto moved = x;  // same shape, other memory: nothing may remember the old address
      std::fill(x.begin(), x.end(), 99.0F);
      ExpectScores(*session, moved, want);
    }
  }
}

TEST(Session, AllocatesNothingInARun) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer brings its own malloc";
  const auto engine = MakeEngine();
  const auto session = Session::Create(engine).value();
  auto one = Rows(1, 0), many = Rows(29, 1);
  for (auto* x : {&one, &many, &one, &one}) {
    const TensorView view = View(*x);
    const int64_t before = AllocationCount();
    const auto outputs = session->Run(std::span(&view, 1));
    const int64_t after = AllocationCount();
    ASSERT_TRUE(outputs.ok());
    EXPECT_EQ(after - before, 0) << "rows " << view.shape[0];
  }
  // The counter counts.
  const int64_t before = AllocationCount();
  const auto* waste = new std::vector<int>(3);
  EXPECT_GT(AllocationCount(), before);
  delete waste;
}

/// y = Relu(x W1) W2 over `width` hidden units: an arena of that size.
std::shared_ptr<const Engine> MakeWideEngine(int64_t width) {
  const std::string w = std::to_string(width);
  Graph graph = ParseGraph(R"(graph "wide" {
  input %x: f32[N,6]
  const %w1: f32[6,)" + w + R"(] = seed(1)
  const %w2: f32[)" + w + R"(,3] = seed(2)
  %h = MatMul(%x, %w1)
  %a = Relu(%h)
  %y = MatMul(%a, %w2)
  output %y
}
)")
                    .value();
  VERDICT_CHECK(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {});
  VERDICT_CHECK(compiled.ok());
  auto engine = Engine::FromContents(std::move(compiled->contents));
  VERDICT_CHECK(engine.ok());
  return *engine;
}

std::vector<float> Scores(Session& session, std::vector<float>& x) {
  const TensorView view = View(x);
  const auto outputs = session.Run(std::span(&view, 1));
  VERDICT_CHECK(outputs.ok());
  const auto y = (*outputs)[0].as<const float>();
  return {y.begin(), y.end()};
}

TEST(Session, SharesAnArenaThatGrowsAndShrinksUnderIt) {
  const auto small = MakeWideEngine(8), large = MakeWideEngine(600);
  auto one = Rows(1, 0), many = Rows(29, 1);
  const auto want_one = Scores(*Session::Create(small).value(), one);
  const auto want_many = Scores(*Session::Create(large).value(), many);

  const auto arena = std::make_shared<Arena>();
  const auto first = Session::Create(small, arena).value();
  EXPECT_EQ(Scores(*first, one), want_one);
  std::byte* before = arena->Acquire();
  auto second = Session::Create(large, arena).value();
  EXPECT_NE(arena->Acquire(), before) << "the arena should have grown";
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Scores(*first, one), want_one);
    EXPECT_EQ(Scores(*second, many), want_many);
  }
  if (kCountsAllocations) {
    const TensorView views[] = {View(one), View(many)};
    const int64_t allocations = AllocationCount();
    ASSERT_TRUE(first->Run(std::span(&views[0], 1)).ok());
    ASSERT_TRUE(second->Run(std::span(&views[1], 1)).ok());
    EXPECT_EQ(AllocationCount(), allocations);
  }
  second.reset();
  EXPECT_EQ(Scores(*first, one), want_one);
}

TEST(Session, RefusesWhatTheEngineDoesNotTake) {
  const auto session = Session::Create(MakeEngine()).value();
  auto x = Rows(33, 0);
  TensorView view = View(x);
  EXPECT_THAT(session->Run(std::span(&view, 1)).status().message(),
              HasSubstr("input 'x' has shape [33,6]; the engine takes [1,6] to [32,6]"));
  view.shape = Shape{33 * 6};
  EXPECT_EQ(session->Run(std::span(&view, 1)).status().code(), StatusCode::kInvalidArgument);
  view = View(x);
  view.dtype = DataType::kInt32;
  EXPECT_THAT(session->Run(std::span(&view, 1)).status().message(), HasSubstr("i32"));
  EXPECT_THAT(session->Run({}).status().message(), HasSubstr("1 inputs, got 0"));
  auto good = Rows(2, 3);
  ExpectScores(*session, good, Expected(good));
}

TEST(Session, ManyThreadsShareOneEngine) {
  const auto engine = MakeEngine();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      const auto session = Session::Create(engine).value();
      for (int round = 0; round < 200; ++round) {
        auto x = Rows(1 + (thread * 7 + round) % 32, static_cast<float>(round));
        const TensorView view = View(x);
        const auto outputs = session->Run(std::span(&view, 1));
        if (!outputs.ok()) {
          ++wrong;
          continue;
        }
        if (round % 50 != 0) continue;  // the interpreter is slow
        const auto want = Expected(x);
        const auto got = (*outputs)[0].as<const float>();
        for (size_t i = 0; i < want.size(); ++i) {
          if (std::fabs(want[i] - got[i]) > 1e-5F) ++wrong;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Engine, PlansAgainForAnotherMachine) {
  Graph graph = ParseGraph(kModel).value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {}).value();
  compiled.contents.plan.target = "cpu:other";
  const auto engine = Engine::FromContents(std::move(compiled.contents)).value();
  EXPECT_THAT(engine->notice(), HasSubstr("the stored plan is for 'cpu:other'"));
  EXPECT_THAT(engine->notice(), HasSubstr("planned again"));
  const auto session = Session::Create(engine).value();
  auto x = Rows(3, 1);
  ExpectScores(*session, x, Expected(x));
}

TEST(Engine, PlansAgainWhereAPackedSizeIsWrong) {
  Graph graph = ParseGraph(kModel).value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {.backend = "cpu"}).value();
  for (Step& step : compiled.contents.plan.steps) step.packed_bytes /= 2;
  const auto engine = Engine::FromContents(std::move(compiled.contents)).value();
  EXPECT_THAT(engine->notice(), HasSubstr("packs"));
  const auto session = Session::Create(engine).value();
  auto x = Rows(3, 1);
  ExpectScores(*session, x, Expected(x));
}

TEST(Engine, PlansAgainWherePackedTreesAreDamaged) {
  constexpr char kTrees[] = R"(graph "trees" {
  input %x: f32[N,2]
  const %features: i32[1] = [1]
  const %splits: f32[1] = [0.5]
  const %modes: u8[1] = [0]
  const %true: i32[1] = [-1]
  const %false: i32[1] = [-2]
  const %missing: u8[1] = [0]
  const %roots: i32[1] = [0]
  const %offsets: i32[3] = [0, 1, 2]
  const %targets: i32[2] = [0, 0]
  const %weights: f32[2] = [1, 2]
  const %base: f32[1] = [0]
  %y = TreeEnsemble(%x, %features, %splits, %modes, %true, %false, %missing, %roots, %offsets, %targets, %weights, %base) {features=2, targets=1}
  output %y
}
)";
  Graph graph = ParseGraph(kTrees).value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {.backend = "cpu"}).value();
  ASSERT_EQ(compiled.contents.plan.steps[0].tactic, "cpu/tree_ensemble");
  EXPECT_EQ(Engine::FromContents(compiled.contents).value()->notice(), "");
  // The last part is the nodes: 5 bytes of one, and its children are the last two of them.
  const auto packed = compiled.contents.packed;
  auto* const child = const_cast<std::byte*>(&packed[packed.size() - 64 + 3]);
  ASSERT_EQ(*child, std::byte{0x80});  // leaf 0
  *child = std::byte{0x7F};
  const auto engine = Engine::FromContents(std::move(compiled.contents)).value();
  EXPECT_THAT(engine->notice(), HasSubstr("packed trees are damaged"));
  EXPECT_THAT(engine->notice(), HasSubstr("planned again"));
}

TEST(Engine, RefusesAShapeThatDependsOnTheData) {
  EngineContents contents;
  contents.graph = ParseGraph(R"(graph "hostile" {
    input %x: f32[64,2]
    input %axes: i64[1]
    %y = ReduceSum(%x, %axes) {keepdims=1}
    output %y
  })")
                       .value();
  ASSERT_TRUE(InferShapes(contents.graph).ok());
  contents.profiles = {{{{"x", {64, 2}, {64, 2}, {64, 2}}, {"axes", {1}, {1}, {1}}}}};
  // A plan that fits this machine, with room for the sums over the first axis alone.
  contents.plan.target = TargetFingerprint();
  contents.plan.steps = {{0, "reference"}};
  contents.plan.storage = {0, 1, 2};
  Layout layout;
  layout.offset = {Layout::kNotInArena, Layout::kNotInArena, 0};
  layout.capacity = {512, 8, 8};
  layout.scratch_offset = layout.arena_bytes = 64;
  contents.plan.layouts = {layout};
  const auto engine = Engine::FromContents(std::move(contents));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(engine.status().message(), HasSubstr("profile 0"));
  EXPECT_THAT(engine.status().message(), HasSubstr("depends on the data"));
}

// At N = 1 and N = 3 no axes are left and all are reduced; in between the request names them.
TEST(Session, RefusesAShapeThatDependsOnTheDataBetweenTheCorners) {
  Graph graph = ParseGraph(R"(graph "hostile" {
    input %x: f32[N,1,4]
    input %axes: i64[2]
    const %zero: i64[1] = [0]
    const %one: i64[1] = [1]
    const %two: i64[1] = [2]
    const %three: i64[1] = [3]
    %s = Shape(%x)
    %n = Gather(%s, %zero)
    %below = Sub(%n, %one)
    %above = Sub(%three, %n)
    %product = Mul(%below, %above)
    %end = Mul(%product, %two)
    %some = Slice(%axes, %zero, %end)
    %y = ReduceSum(%x, %some) {keepdims=1}
    output %y
  })")
                    .value();
  ASSERT_TRUE(InferShapes(graph).ok());
  CompileOptions options;
  options.min_shapes = ParseShapes("x:1x1x4").value();
  options.opt_shapes = options.max_shapes = ParseShapes("x:3x1x4").value();
  auto compiled = Compile(std::move(graph), options);
  ASSERT_TRUE(compiled.ok()) << compiled.status().ToString();
  // A hostile plan has room for those axes.
  const auto some = static_cast<size_t>(compiled->contents.graph.FindValue("some"));
  Layout& layout = compiled->contents.plan.layouts[0];
  layout.offset[some] = layout.arena_bytes;
  layout.capacity[some] = 64;
  layout.arena_bytes += 64;
  const auto engine = Engine::FromContents(std::move(compiled->contents)).value();
  const auto session = Session::Create(engine).value();
  std::vector<float> x(12, 1.0F);
  int64_t axes[] = {0, 2};
  for (int64_t n : {2, 1, 2, 3, 2}) {
    const TensorView inputs[] = {{DataType::kFloat32, Shape{n, 1, 4}, x.data()},
                                 {DataType::kInt64, Shape{2}, axes}};
    const auto outputs = session->Run(inputs);
    if (n == 2) {
      ASSERT_FALSE(outputs.ok());
      EXPECT_THAT(outputs.status().message(), HasSubstr("output 'y' depends on the data"));
    } else {
      ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
      EXPECT_EQ((*outputs)[0].as<const float>()[0], static_cast<float>(4 * n));
    }
  }
}

// Padding to a fixed length: the filler shrinks as the sequence grows.
TEST(Session, HasRoomWhereOneExtentFallsAsAnotherGrows) {
  Graph graph = ParseGraph(R"(graph "pad" {
    input %x: f32[N,T,4]
    const %zero: i64[1] = [0]
    const %one: i64[1] = [1]
    const %four: i64[1] = [4]
    const %length: i64[1] = [128]
    %s = Shape(%x)
    %n = Gather(%s, %zero)
    %t = Gather(%s, %one)
    %rest = Sub(%length, %t)
    %filler = Concat(%n, %rest, %four) {axis=0}
    %z = ConstantOfShape(%filler)
    %y = Concat(%x, %z) {axis=1}
    output %y
  })")
                    .value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {});
  ASSERT_TRUE(compiled.ok()) << compiled.status().ToString();
  const auto engine = Engine::FromContents(std::move(compiled->contents)).value();
  const auto session = Session::Create(engine).value();
  std::vector<float> x(size_t{128} * 128 * 4, 1.0F);
  for (const auto& [n, t] : {std::pair{1, 1}, {128, 128}, {128, 1}, {1, 128}, {100, 2}, {20, 20}}) {
    const TensorView input{DataType::kFloat32, Shape{n, t, 4}, x.data()};
    const auto outputs = session->Run(std::span(&input, 1));
    ASSERT_TRUE(outputs.ok()) << outputs.status().ToString();
    EXPECT_EQ((*outputs)[0].shape, (Shape{n, 128, 4}));
  }
}

// Weights of no bytes that packing would pad to 2 GB: the reference kernel reads none.
TEST(Engine, PacksNoMoreThanTheConstantsAccountFor) {
  EngineContents contents;
  Graph& graph = contents.graph;
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{1, 0});
  const Shape shape{0, int64_t{1} << 29};
  const ValueId w = graph.AddConstant("w", Constant::Of<float>(shape, std::span<const float>()));
  const ValueId y = graph.AddValue("y", DataType::kFloat32, Shape{});
  graph.nodes.push_back({"gemm", "FusedGemm", {x, w}, {y}, {}});
  const ValueId some =
      graph.AddConstant("some", Constant::Of<int64_t>({1}, std::vector<int64_t>{8}));
  const ValueId axes =
      graph.AddConstant("axes", Constant::Of<int64_t>({1}, std::vector<int64_t>{1}));
  const ValueId zero =
      graph.AddConstant("zero", Constant::Of<int64_t>({1}, std::vector<int64_t>{0}));
  const ValueId z = graph.AddValue("z", DataType::kFloat32, Shape{});
  graph.nodes.push_back({"slice", "Slice", {y, zero, some, axes}, {z}, {}});
  graph.outputs = {z};
  ASSERT_TRUE(InferShapes(graph).ok());
  contents.profiles = {{{{"x", {1, 0}, {1, 0}, {1, 0}}}}};
  contents.plan.target = "cpu:other";
  const auto engine = Engine::FromContents(std::move(contents));
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_EQ((*engine)->plan().steps[0].tactic, "reference");
  EXPECT_EQ((*engine)->contents().packed.size(), 0U);
}

/// The status of golden vectors of a model whose output is a Cast to type number `to`, after
/// `change` was made to the first expected element.
template <typename T>
Status CheckCast(int to, const std::function<T(T)>& change) {
  Graph graph = ParseGraph(R"(graph "cast" {
    input %x: f32[N,6]
    const %w: f32[6,20] = seed(1)
    %h = MatMul(%x, %w)
    %p = Softmax(%h)
    %y = Cast(%p) {to=)" + std::to_string(to) +
                           "}\n    output %y\n  }\n")
                    .value();
  VERDICT_CHECK(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {}).value();
  Constant& output = compiled.contents.golden.at(0).outputs.at(0);
  auto [copy, data] = Constant::Allocate(output.dtype, output.shape);
  std::memcpy(data, output.data, ByteSize(output.dtype, output.shape).value());
  T& first = *static_cast<T*>(data);
  first = change(first);
  output = copy;
  return Engine::CheckGolden(Engine::FromContents(std::move(compiled.contents)).value());
}

// As an unrolled loop has them.
TEST(Engine, PacksWeightsThatNodesShareOnce) {
  Graph graph = ParseGraph(R"(graph "g" {
    input %x: f32[N,6]
    const %w: f32[6,6] = seed(1)
    const %v: f32[6,6] = seed(2)
    %a = MatMul(%x, %w)
    %b = MatMul(%a, %v)
    %c = MatMul(%b, %w)
    %d = MatMul(%c, %v)
    output %d
  })")
                    .value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto x = Rows(5, 1);
  const TensorView view = View(x);
  const auto want = Evaluate(graph, std::span(&view, 1)).value();
  auto compiled = Compile(std::move(graph), {.backend = "cpu"}).value();
  const std::vector<Step>& steps = compiled.contents.plan.steps;
  ASSERT_EQ(steps.size(), 4U);
  EXPECT_EQ(steps[0].packed_offset, steps[2].packed_offset);
  EXPECT_EQ(steps[1].packed_offset, steps[3].packed_offset);
  EXPECT_NE(steps[0].packed_offset, steps[1].packed_offset);
  EXPECT_LT(compiled.contents.packed.size(), 3 * steps[0].packed_bytes);
  const auto session =
      Session::Create(Engine::FromContents(std::move(compiled.contents)).value()).value();
  const auto outputs = session->Run(std::span(&view, 1));
  ASSERT_TRUE(outputs.ok());
  const auto got = (*outputs)[0].as<const float>();
  const auto expected = want[0].view().as<const float>();
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-4) << i;
}

TEST(Engine, AnInfiniteGoldenValueIsNoBlankCheque) {
  const auto infinite = [](double) { return std::numeric_limits<double>::infinity(); };
  EXPECT_EQ(CheckCast<double>(11, infinite).code(), StatusCode::kDataLoss);
}

TEST(Engine, GoldenDoublesAndHalvesAreComparedByValue) {
  EXPECT_TRUE(CheckCast<double>(11, [](double x) { return x + 1e-7; }).ok());
  EXPECT_EQ(CheckCast<double>(11, [](double x) { return x + 1e-3; }).code(), StatusCode::kDataLoss);
  EXPECT_TRUE(
      CheckCast<Float16>(10, [](Float16 x) { return Float16::Of(x.ToFloat() + 5e-4F); }).ok());
  EXPECT_EQ(
      CheckCast<Float16>(10, [](Float16 x) { return Float16::Of(x.ToFloat() + 5e-3F); }).code(),
      StatusCode::kDataLoss);
  EXPECT_TRUE(
      CheckCast<BFloat16>(16, [](BFloat16 x) { return BFloat16::Of(x.ToFloat() + 5e-3F); }).ok());
  EXPECT_EQ(
      CheckCast<BFloat16>(16, [](BFloat16 x) { return BFloat16::Of(x.ToFloat() + 0.1F); }).code(),
      StatusCode::kDataLoss);
}

TEST(Engine, GoldenVectorsPassAndFail) {
  Graph graph = ParseGraph(kModel).value();
  ASSERT_TRUE(InferShapes(graph).ok());
  auto compiled = Compile(std::move(graph), {}).value();
  ASSERT_EQ(compiled.contents.golden.size(), 2u);
  EngineContents broken = compiled.contents;
  const auto engine = Engine::FromContents(std::move(compiled.contents)).value();
  EXPECT_TRUE(Engine::CheckGolden(engine).ok()) << Engine::CheckGolden(engine).ToString();

  Constant& output = broken.golden[1].outputs[0];
  auto [copy, data] = Constant::Allocate(output.dtype, output.shape);
  std::memcpy(data, output.data, ByteSize(output.dtype, output.shape).value());
  static_cast<float*>(data)[1] += 0.001F;
  output = copy;
  const Status status = Engine::CheckGolden(Engine::FromContents(std::move(broken)).value());
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("output 'p'"));
}

}  // namespace
}  // namespace verdict
