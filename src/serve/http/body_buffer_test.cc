#include "serve/http/body_buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace verdict {
namespace {

TEST(BodyBuffer, KeepsBytesAndAlignsWhereAsked) {
  MemoryBudget budget(1 << 20);
  BodyBuffer body(budget);
  for (const size_t aligned_at : {0, 1, 63, 64, 1000}) {
    body.Start(aligned_at);
    std::string expected;
    for (int i = 0; i < 500; ++i) {
      const std::string part = std::to_string(i) + ",";
      ASSERT_TRUE(body.Append(part));
      expected += part;
    }
    EXPECT_EQ(body.text(), expected);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(body.text().data() + aligned_at) % 64, 0u);
  }
}

TEST(BodyBuffer, BudgetIsKeptAndGivenBack) {
  MemoryBudget budget(200'000);
  {
    BodyBuffer first(budget);
    BodyBuffer second(budget);
    first.Start(0);
    second.Start(0);
    ASSERT_TRUE(first.Append(std::string(150'000, 'a')));
    EXPECT_FALSE(second.Append(std::string(150'000, 'b')));
    first.Reset();  // a big body's memory goes back at once
    EXPECT_EQ(budget.used(), 0u);
    EXPECT_TRUE(second.Append(std::string(150'000, 'b')));
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST(BodyBuffer, ASmallBodyKeepsItsMemory) {
  MemoryBudget budget(1 << 20);
  BodyBuffer body(budget);
  body.Start(0);
  ASSERT_TRUE(body.Append("hello"));
  const size_t used = budget.used();
  body.Reset();
  EXPECT_EQ(body.size(), 0u);
  EXPECT_EQ(budget.used(), used);
}

}  // namespace
}  // namespace verdict
