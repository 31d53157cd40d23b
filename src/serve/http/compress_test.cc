#include "serve/http/compress.h"

#include <gtest/gtest.h>

#include "serve/http/inflate.h"

namespace verdict {
namespace {

TEST(ChooseCoding, FollowsTheClientsWeights) {
  struct Row {
    const char* field;
    Coding coding;
  };
  const Row rows[] = {
      {"", Coding::kNone},
      {"identity", Coding::kNone},
      {"br, zstd", Coding::kNone},
      {"gzip", Coding::kGzip},
      {"GZip , deflate", Coding::kGzip},
      {"deflate, gzip;q=0.5", Coding::kDeflate},
      {"deflate;q=0.2,gzip; q=0.3", Coding::kGzip},
      {"gzip;q=0, deflate", Coding::kDeflate},
      {"gzip;q=0", Coding::kNone},
      {"gzip;q=0.000", Coding::kNone},
      {"gzip;q=1.000", Coding::kGzip},
      {"gzip;level=9", Coding::kNone},
      {"gzip;q=x", Coding::kNone},
      {",,;,", Coding::kNone},
  };
  for (const Row& row : rows) EXPECT_EQ(ChooseCoding(row.field), row.coding) << row.field;
}

TEST(Compress, WhatItMakesReadsBack) {
  MemoryBudget budget(size_t{64} << 20);
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919 % 1000);
  for (const std::string& wanted : {std::string(), std::string("x"), text}) {
    for (const Coding coding : {Coding::kGzip, Coding::kDeflate}) {
      std::string body = wanted;
      ASSERT_TRUE(Compress(coding, &body));
      if (wanted == text) {
        EXPECT_LT(body.size(), wanted.size() / 2);
      }
      BodyBuffer read(budget);
      read.Start(0);
      ASSERT_TRUE(Inflate(body, wanted.size() + 1, &read).ok());
      EXPECT_EQ(read.text(), wanted);
    }
  }
}

}  // namespace
}  // namespace verdict
