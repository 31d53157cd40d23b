#include "runtime/device_worker/mailbox.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "ir/graph.h"
#include "runtime/device_worker/run_board.h"

namespace verdict {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

const std::vector<MailboxPlace> kInputs = {{DataType::kFloat32, 64}, {DataType::kInt64, 8}};
const std::vector<MailboxPlace> kOutputs = {{DataType::kFloat32, 16}};

/// Both ends of a mailbox, in one process.
struct BothEnds {
  BothEnds()
      : server(Mailbox::Create(kInputs, kOutputs).value()),
        worker(Mailbox::Map(server.second, kInputs, kOutputs).value()) {}
  Mailbox& ours() { return server.first; }

  std::pair<Mailbox, Descriptor> server;
  Mailbox worker;
};

Constant Floats(const Shape& shape, float value) {
  const std::vector<float> values(static_cast<size_t>(NumElements(shape).value()), value);
  return Constant::Of<float>(shape, std::span<const float>(values));
}

steady_clock::time_point In(milliseconds time) { return steady_clock::now() + time; }

TEST(Mailbox, TensorsCrossIt) {
  BothEnds ends;
  ASSERT_TRUE(ends.ours().PutInput(0, Floats({2, 8}, 3).view()).ok());
  ends.ours().StartRun();
  const TensorView input = ends.worker.Input(0).value();
  EXPECT_EQ(input.shape, (Shape{2, 8}));
  EXPECT_EQ(input.as<const float>()[15], 3);
  ASSERT_TRUE(ends.worker.PutOutput(0, Floats({4}, 7).view()).ok());
  ends.worker.FinishRun(OkStatus(), false);
  EXPECT_EQ(ends.ours().Wait(microseconds(0), In(milliseconds(0))), Mailbox::Outcome::kAnswered);
  EXPECT_TRUE(ends.ours().ReadAnswer().status.ok());
  EXPECT_EQ(ends.ours().Output(0).value().as<const float>()[3], 7);
}

TEST(Mailbox, EachInputHasItsPlace) {
  const std::vector<MailboxPlace> inputs = {{DataType::kFloat32, 64}, {DataType::kFloat32, 512}};
  auto server = Mailbox::Create(inputs, kOutputs).value();
  const Mailbox worker = Mailbox::Map(server.second, inputs, kOutputs).value();
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(server.first.PutInput(i, Floats({16}, 3).view()).ok());
    EXPECT_EQ(worker.Input(i).value().data, worker.InputPlace(i).data());
    EXPECT_EQ(worker.InputPlace(i).size(), inputs[i].capacity);
  }
  EXPECT_NE(worker.InputPlace(0).data(), worker.InputPlace(1).data());
}

TEST(Mailbox, AnOutputThatWasTakenCannotBeChangedAnyMore) {
  BothEnds ends;
  ASSERT_TRUE(ends.worker.PutOutput(0, Floats({4}, 7).view()).ok());
  const TensorView output = ends.ours().Output(0).value();
  ASSERT_TRUE(ends.worker.PutOutput(0, Floats({4}, 8).view()).ok());
  EXPECT_EQ(output.as<const float>()[3], 7);
  EXPECT_EQ(ends.ours().Output(0).value().as<const float>()[3], 8);
}

TEST(Mailbox, ErrorsCrossIt) {
  BothEnds ends;
  ends.ours().StartRun();
  ends.worker.FinishRun(InvalidArgument(std::string(5000, 'x')), true);
  ASSERT_EQ(ends.ours().Wait(microseconds(0), In(milliseconds(0))), Mailbox::Outcome::kAnswered);
  const Mailbox::Answer answer = ends.ours().ReadAnswer();
  EXPECT_EQ(answer.status.code(), StatusCode::kInvalidArgument);
  EXPECT_GT(answer.status.message().size(), 500u);
  EXPECT_TRUE(answer.lost);
}

TEST(Mailbox, OutputsOfAnImpossibleShapeAreRefused) {
  BothEnds ends;
  ASSERT_TRUE(ends.ours().PutInput(0, Floats({2, 8}, 3).view()).ok());
  ASSERT_TRUE(ends.worker.PutOutput(0, Floats({4}, 7).view()).ok());
  EXPECT_FALSE(ends.worker.PutOutput(0, Floats({5}, 7).view()).ok()) << "no room";
  const SharedPages pages = SharedPages::Map(ends.server.second, ends.ours().bytes()).value();
  auto* record = reinterpret_cast<int64_t*>(pages.data() + Mailbox::kRecordsOffset) + 2 * 9;
  ASSERT_EQ(record[0], 1) << "the rank";
  ASSERT_EQ(record[1], 4) << "the extent";
  const auto refused = [&](int64_t rank, int64_t extent) {
    record[0] = rank;
    record[1] = extent;
    return ends.ours().Output(0).status().code();
  };
  EXPECT_EQ(refused(9, 4), StatusCode::kDataLoss);
  EXPECT_EQ(refused(-1, 4), StatusCode::kDataLoss);
  EXPECT_EQ(refused(INT64_MAX, 4), StatusCode::kDataLoss);
  EXPECT_EQ(refused(1, 5), StatusCode::kDataLoss);
  EXPECT_EQ(refused(1, -1), StatusCode::kDataLoss);
  EXPECT_EQ(refused(1, INT64_MAX), StatusCode::kDataLoss);
  EXPECT_EQ(refused(1, 4), StatusCode::kOk);
}

TEST(Mailbox, WaitEndsInTimeOrWhenItIsAbandoned) {
  BothEnds ends;
  ends.ours().StartRun();
  EXPECT_EQ(ends.ours().Wait(microseconds(100), In(milliseconds(5))), Mailbox::Outcome::kTimedOut);
  std::thread abandons([&] {
    std::this_thread::sleep_for(milliseconds(20));
    ends.ours().Abandon();
  });
  EXPECT_EQ(ends.ours().Wait(microseconds(100), In(milliseconds(20'000))),
            Mailbox::Outcome::kAbandoned);
  abandons.join();
  EXPECT_EQ(ends.ours().Wait(microseconds(0), In(milliseconds(20'000))),
            Mailbox::Outcome::kAbandoned)
      << "later too";
}

TEST(Mailbox, IsOfTheseTensorsOrRefused) {
  BothEnds ends;
  EXPECT_EQ(
      Mailbox::Map(ends.server.second, kInputs, {{DataType::kFloat32, 1 << 20}}).status().code(),
      StatusCode::kDataLoss);
  EXPECT_EQ(Mailbox::Create({{DataType::kString, 16}}, {}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Mailbox::Create({{DataType::kFloat32, UINT64_MAX}}, {}).status().code(),
            StatusCode::kResourceExhausted);
}

/// Every run that is announced is taken exactly once, whoever watches.
void TakesEachRunOnce(const RunBoard::Watch& watch) {
  auto pages = SharedPages::Create(sizeof(RunBoard)).value();
  auto& board = *reinterpret_cast<RunBoard*>(pages.first.data());
  constexpr uint32_t kRunners = 6;
  constexpr int kRuns = 1000;
  std::array<std::atomic<int>, RunBoard::kSlots> taken{};
  std::vector<std::thread> workers;
  for (uint32_t i = 0; i < kRunners; ++i) {
    workers.emplace_back([&] {
      while (const auto slot = board.Take(watch)) ++taken[*slot];
    });
  }
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < kRunners; ++i) {
    callers.emplace_back([&, slot = i * 170] {
      for (int run = 1; run <= kRuns; ++run) {
        board.Post(slot);
        const auto limit = In(milliseconds(20'000));
        while (taken[slot] < run) {
          ASSERT_LT(steady_clock::now(), limit) << "nobody took run " << run;
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  board.End();
  for (std::thread& worker : workers) worker.join();
  for (uint32_t i = 0; i < kRunners; ++i) EXPECT_EQ(taken[i * 170], kRuns);
}

TEST(RunBoard, SleepersTakeEachRunOnce) { TakesEachRunOnce({0, 1}); }
TEST(RunBoard, WatchersTakeEachRunOnce) { TakesEachRunOnce({RunBoard::kForever, 1}); }
TEST(RunBoard, WhoeverStopsWatchingLeavesNoRun) { TakesEachRunOnce({1, 2}); }

}  // namespace
}  // namespace verdict
