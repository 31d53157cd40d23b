#include "runtime/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

namespace verdict {
namespace {

TEST(Arena, IsAsLargeAsItsLargestUser) {
  Arena arena;
  EXPECT_EQ(arena.Acquire(), nullptr);
  ASSERT_TRUE(arena.Reserve(100).ok());
  std::byte* first = arena.Acquire();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % Arena::kAlignment, 0U);
  ASSERT_TRUE(arena.Reserve(60).ok());
  EXPECT_EQ(arena.Acquire(), first) << "a smaller user needs no move";
  ASSERT_TRUE(arena.Reserve(1 << 20).ok());
  std::memset(first, 1, 100);  // still there: it moves at the next Acquire
  std::memset(arena.Acquire(), 2, 1 << 20);
  arena.Release(1 << 20);
  std::memset(arena.Acquire(), 3, 100);
  arena.Release(100);
  arena.Release(60);
  EXPECT_EQ(arena.Acquire(), nullptr) << "without users there is no memory";
}

TEST(Arena, KeepsWhatItHasWhenMemoryIsShort) {
  Arena arena;
  ASSERT_TRUE(arena.Reserve(100).ok());
  std::byte* first = arena.Acquire();
  EXPECT_EQ(arena.Reserve(SIZE_MAX - 100).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(arena.Acquire(), first);
}

TEST(Arena, GrowsWhileItIsInUse) {
  Arena arena;
  ASSERT_TRUE(arena.Reserve(64).ok());
  std::thread grower([&] {
    for (size_t bytes = 128; bytes <= 1 << 20; bytes *= 2) {
      ASSERT_TRUE(arena.Reserve(bytes).ok());
      arena.Release(bytes);
    }
  });
  for (int i = 0; i < 10'000; ++i) std::memset(arena.Acquire(), i, 64);
  grower.join();
}

}  // namespace
}  // namespace verdict
