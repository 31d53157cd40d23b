#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "base/sanitized_test.h"
#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/batching/scheduler.h"

namespace {
/// So many allocations of this thread succeed, then one fails; negative: all succeed.
thread_local int allocations_left = -1;
}  // namespace

// The sanitizers have operators of their own, which do not mix with others.
#ifndef VERDICT_SANITIZED
constexpr bool kReplaced = true;

void* operator new(size_t bytes) {
  if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*bytes*/) noexcept { std::free(memory); }
#else
constexpr bool kReplaced = false;
#endif

namespace verdict {
namespace {

TEST(SchedulerMemory, WithoutMemoryOneRequestFailsAndNoOther) {
  if (!kReplaced) GTEST_SKIP() << "sanitizers allocate by themselves";
  const auto scheduler = Scheduler::Start(1).value();
  ModelConfig config{.max_batch_size = 8};
  config.sequence_batching.emplace().state = {{"state", "next"}};
  const auto queue = scheduler->Add(SummingEngine(), config).value();
  std::vector<std::shared_ptr<RecordedJob>> taken;
  int refused = 0;
  for (int allocations = 0; allocations < 100; ++allocations) {
    const auto job = std::make_shared<RecordedJob>(std::vector<float>{1, 1}, Shape{1, 2});
    job->AddInput({});
    job->sequence = "a sequence whose key takes memory, " + std::to_string(allocations);
    job->sequence_start = true;
    allocations_left = allocations;
    const Status status = scheduler->Submit(queue, job);
    const bool failed = allocations_left < 0;
    allocations_left = -1;
    if (status.ok()) {
      taken.push_back(job);
      if (!failed) break;  // there was memory for all
      continue;
    }
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
    EXPECT_EQ(job->finishes(), 0);
    EXPECT_EQ(job.use_count(), 1) << "it is held after all";
    ++refused;
  }
  EXPECT_GT(refused, 3) << "nothing took memory";
  ASSERT_FALSE(taken.empty());
  for (const auto& job : taken) {
    ASSERT_TRUE(job->Wait().ok()) << job->Wait().ToString();
    EXPECT_EQ(job->output(1)[0], 1);
  }
  EXPECT_EQ(queue->pending(), 0U);
}

}  // namespace
}  // namespace verdict
