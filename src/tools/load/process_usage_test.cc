#include "tools/load/process_usage.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace verdict::load {
namespace {

constexpr int64_t kTicks = 100;
constexpr int64_t kPage = 4096;

/// As proc(5) has it, with a name that is hard to read.
std::string Stat(const std::string& user, const std::string& kernel, const std::string& pages) {
  return "4711 (a) b ( ) R 1 2 3 4 5 6 7 8 9 10 " + user + " " + kernel +
         " 13 14 20 0 17 18 99 100 " + pages + " 18446744073709551615 1\n";
}

TEST(ProcessUsage, IsReadBehindAnyName) {
  const auto usage = ParseProcessStat(Stat("250", "50", "3"), kTicks, kPage);
  ASSERT_TRUE(usage.ok());
  EXPECT_DOUBLE_EQ(usage->user_s, 2.5);
  EXPECT_DOUBLE_EQ(usage->kernel_s, 0.5);
  EXPECT_EQ(usage->resident_bytes, 3 * kPage);
}

TEST(ProcessUsage, OfAnotherTextIsRefused) {
  for (const std::string& text : {std::string(), std::string("1 (a) R 1 2"), std::string("1 a R 1"),
                                  Stat("x", "5", "3"), Stat("5", "5", "")}) {
    EXPECT_FALSE(ParseProcessStat(text, kTicks, kPage).ok()) << text;
  }
}

TEST(ProcessUsage, OfThisProcessGrows) {
  const auto before = ReadProcessUsage(0);
  ASSERT_TRUE(before.ok());
  EXPECT_GT(before->resident_bytes, 1 << 20);
  auto after = ReadProcessUsage(static_cast<int>(::getpid()));
  while (after.ok() && after->user_s + after->kernel_s <= before->user_s + before->kernel_s) {
    after = ReadProcessUsage(static_cast<int>(::getpid()));
  }
  EXPECT_TRUE(after.ok());
}

TEST(ProcessUsage, OfNoProcessIsNotFound) {
  EXPECT_EQ(ReadProcessUsage(1 << 29).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace verdict::load
