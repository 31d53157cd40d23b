#include "serve/admission/limiter.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace verdict {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Verdict = Limiter::Verdict;

const auto kStart = Limiter::Clock::time_point(seconds(1000));

TEST(BucketRate, LetsABurstThroughAndThenTheRate) {
  const BucketRate rate(10, 3);
  int64_t due = 0;
  const int64_t now = 1'000'000'000;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rate.Take(now, &due), 0);
  EXPECT_EQ(rate.Take(now, &due), 100'000'000);
  EXPECT_EQ(rate.Take(now + 40'000'000, &due), 60'000'000);
  EXPECT_EQ(rate.Take(now + 100'000'000, &due), 0);
  EXPECT_GT(rate.Take(now + 100'000'000, &due), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rate.Take(now + 10'000'000'000, &due), 0) << i;
  EXPECT_GT(rate.Take(now + 10'000'000'000, &due), 0) << "idle time is not saved up";
}

TEST(BucketRate, WithoutABurstAllowsOneSecondsWorth) {
  const BucketRate rate(5, 0);
  int64_t due = 0;
  int passed = 0;
  while (rate.Take(1, &due) == 0) ++passed;
  EXPECT_EQ(passed, 5);
}

TEST(BucketRate, AlwaysLetsOneThrough) {
  const BucketRate slow(0.5, 0);
  int64_t due = 0;
  EXPECT_EQ(slow.Take(1, &due), 0);
  EXPECT_EQ(slow.Take(1, &due), 2'000'000'000);
}

TEST(SharedBucket, NeverGivesMoreThanTheBurstToManyThreads) {
  SharedBucket bucket(BucketRate(1, 5000));
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5000; ++j) passed += bucket.Take(1) == 0 ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed.load(), 5000);
}

TEST(Limiter, LimitsEachClientsRate) {
  LimitOptions options;
  options.client = {.requests_per_s = 10, .burst = 2};
  options.named["vip"] = {.requests_per_s = 10, .burst = 4};
  Limiter limiter(options);
  const auto passed = [&](std::string_view name, std::string_view address) {
    int count = 0;
    while (limiter.Enter(name, address, kStart).verdict == Verdict::kAdmitted) ++count;
    return count;
  };
  EXPECT_EQ(passed("a", "10.0.0.1"), 2);
  EXPECT_EQ(passed("b", "10.0.0.1"), 2) << "names count, not the address they share";
  EXPECT_EQ(passed("a", "10.0.0.2"), 0);
  EXPECT_EQ(passed("vip", "10.0.0.1"), 4);
  EXPECT_EQ(passed("", "10.0.0.1"), 2);
  EXPECT_EQ(passed("", "10.0.0.2"), 2);
  EXPECT_EQ(passed("10.0.0.2", ""), 2) << "a name is no address";
  const auto refused = limiter.Enter("a", "", kStart + milliseconds(40));
  EXPECT_EQ(refused.verdict, Verdict::kClientRate);
  EXPECT_EQ(refused.wait, milliseconds(60));
  EXPECT_EQ(limiter.Enter("a", "", kStart + milliseconds(100)).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.in_flight(), 0);
}

TEST(Limiter, LimitsRequestsInFlight) {
  LimitOptions options;
  options.client.max_in_flight = 2;
  options.total.max_in_flight = 3;
  Limiter limiter(options);
  auto one = limiter.Enter("a", "", kStart);
  auto two = limiter.Enter("a", "", kStart);
  EXPECT_EQ(two.verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.Enter("a", "", kStart).verdict, Verdict::kClientInFlight);
  auto three = limiter.Enter("b", "", kStart);
  EXPECT_EQ(three.verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.in_flight(), 3);
  EXPECT_EQ(limiter.Enter("b", "", kStart).verdict, Verdict::kTotalInFlight);
  EXPECT_EQ(limiter.in_flight(), 3) << "a refused request holds nothing";
  Limiter::Ticket moved = std::move(one.ticket);
  one.ticket.Release();
  EXPECT_EQ(limiter.in_flight(), 3);
  moved.Release();
  moved.Release();
  EXPECT_EQ(limiter.in_flight(), 2);
  EXPECT_EQ(limiter.Enter("a", "", kStart).verdict, Verdict::kAdmitted);
  moved = std::move(two.ticket);
  moved = Limiter::Ticket();
  three.ticket.Release();
  EXPECT_EQ(limiter.in_flight(), 0);
}

TEST(Limiter, WhatTheServerRefusesDoesNotCountAgainstTheClient) {
  LimitOptions options;
  options.client = {.requests_per_s = 1, .burst = 5};
  options.total = {.requests_per_s = 1, .burst = 2};
  Limiter limiter(options);
  EXPECT_EQ(limiter.Enter("a", "", kStart).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.Enter("b", "", kStart).verdict, Verdict::kAdmitted);
  for (int i = 0; i < 10; ++i) {
    const auto answer = limiter.Enter("a", "", kStart);
    EXPECT_EQ(answer.verdict, Verdict::kTotalRate);
    EXPECT_EQ(answer.wait, seconds(1));
  }
  // Two seconds on, the total lets two through, and the client's own five were never used up.
  const auto later = kStart + seconds(2);
  EXPECT_EQ(limiter.Enter("a", "", later).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.Enter("a", "", later).verdict, Verdict::kAdmitted);
}

TEST(Limiter, WithoutLimitsFollowsNobody) {
  Limiter limiter{LimitOptions()};
  auto answer = limiter.Enter("a", "10.0.0.1", kStart);
  EXPECT_EQ(answer.verdict, Verdict::kAdmitted);
  EXPECT_EQ(limiter.num_clients(), 0U);
  EXPECT_EQ(limiter.in_flight(), 1) << "what shedding goes by";
}

TEST(Limiter, FollowsABoundedNumberOfClients) {
  LimitOptions options;
  options.client = {.requests_per_s = 1, .burst = 1, .max_in_flight = 10};
  options.max_clients = 128;
  Limiter limiter(options);
  std::vector<Limiter::Ticket> held;
  for (int i = 0; i < 10'000; ++i) {
    auto answer = limiter.Enter("", "10.1." + std::to_string(i), kStart);
    EXPECT_LE(limiter.num_clients(), 128U);
    if (answer.verdict == Verdict::kAdmitted) held.push_back(std::move(answer.ticket));
  }
  EXPECT_GT(held.size(), 128U) << "who finds no room shares one limit";
  EXPECT_LT(held.size(), 300U) << "with requests under way nobody is forgotten";
  held.clear();
  EXPECT_EQ(limiter.in_flight(), 0);
  EXPECT_EQ(limiter.Enter("", "10.9.9.9", kStart).verdict, Verdict::kAdmitted)
      << "the longest idle made room";
}

TEST(Limiter, KeepsTheOneWhoCameLast) {
  LimitOptions options;
  options.client = {.requests_per_s = 1, .burst = 1};
  options.max_clients = 64;  // one a shard
  Limiter limiter(options);
  for (int i = 0; i < 500; ++i) {
    const std::string name = "c" + std::to_string(i);
    EXPECT_EQ(limiter.Enter(name, "", kStart).verdict, Verdict::kAdmitted);
    EXPECT_EQ(limiter.Enter(name, "", kStart).verdict, Verdict::kClientRate);
  }
}

TEST(Limiter, CountsExactlyOverThreads) {
  LimitOptions options;
  options.client.max_in_flight = 3;
  options.total.max_in_flight = 5;
  Limiter limiter(options);
  std::atomic<int> most{0};
  std::atomic<int> in_flight{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::string name = "c" + std::to_string(i % 3);
      for (int j = 0; j < 5000; ++j) {
        const auto answer = limiter.Enter(name, "", kStart);
        if (answer.verdict != Verdict::kAdmitted) continue;
        const int now = in_flight.fetch_add(1) + 1;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        in_flight.fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most.load(), 5);
  EXPECT_EQ(limiter.in_flight(), 0);
}

TEST(ClientAddress, IsTheNetworkOfOneCustomer) {
  EXPECT_EQ(ClientAddress("10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(ClientAddress("::ffff:10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(ClientAddress("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(ClientAddress("fe80::1%eth0"), "fe80::/64");
  EXPECT_EQ(ClientAddress("unix:"), "unix:");
}

}  // namespace
}  // namespace verdict
