#include "serve/http/body_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "serve/endpoints/infer_request.h"

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

TEST(BodyBuffer, AClaimTakesNoMoreThanFourTimesWhatIsHere) {
  MemoryBudget budget(size_t{1} << 30);
  BodyBuffer body(budget);
  for (const size_t claimed : {size_t{100'000}, size_t{1} << 29, SIZE_MAX}) {
    body.Start(0, claimed);
    ASSERT_TRUE(body.Append(std::string(20'000, 'a')));
    EXPECT_LE(budget.used(), 4 * (20'000 + kJsonPadding) + 2 * 64 + kJsonPadding) << claimed;
    ASSERT_TRUE(body.Append(std::string(80'000, 'b')));
    EXPECT_EQ(body.text(), std::string(20'000, 'a') + std::string(80'000, 'b'));
    if (claimed == 100'000) {
      EXPECT_LE(budget.used(), claimed + kJsonPadding + 2 * 64);
    }
    body.Reset();
  }
}

TEST(BodyBuffer, ASmallBodyNeedsNoBudget) {
  MemoryBudget budget(0);
  BodyBuffer body(budget);
  body.Start(0);
  for (size_t i = 0; i + kJsonPadding < kFreeBodyBytes; ++i) ASSERT_TRUE(body.Append("x")) << i;
  EXPECT_FALSE(body.Append(std::string(kJsonPadding, 'x')));
  body.Reset();
  EXPECT_EQ(body.size(), 0u);
  EXPECT_TRUE(body.Append("hello"));
}

}  // namespace
}  // namespace verdict
