#include "serve/admission/reloader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace verdict {
namespace {

using std::chrono::milliseconds;

template <typename Condition>
bool Within10s(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return false;
}

class ReloaderTest : public testing::Test {
 protected:
  ReloaderTest() : file_(testing::TempDir() + "/reload." + std::to_string(::getpid())) {
    Write("1");
  }
  ~ReloaderTest() override { std::filesystem::remove(file_); }
  /// As a careful writer does: whole, under a new inode.
  void Write(const std::string& text) {
    const std::string temporary = file_.string() + ".new";
    std::ofstream(temporary) << text;
    std::filesystem::rename(temporary, file_);
  }
  std::unique_ptr<Reloader> Start(milliseconds every) {
    auto reloader = Reloader::Start({{"test",
                                      {file_},
                                      StampOf({file_}),
                                      [this] {
                                        ++reads_;
                                        return broken_ ? InvalidArgument("broken") : OkStatus();
                                      }}},
                                    every);
    EXPECT_TRUE(reloader.ok());
    return *std::move(reloader);
  }

  std::filesystem::path file_;
  std::atomic<int> reads_{0};
  std::atomic<bool> broken_{false};
};

TEST_F(ReloaderTest, ReadsAgainWhenAFileIsReplaced) {
  const auto reloader = Start(milliseconds(2));
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_EQ(reads_, 0);
  Write("2");  // as long as before
  EXPECT_TRUE(Within10s([&] { return reloader->succeeded() == 1; }));
  std::filesystem::remove(file_);
  EXPECT_TRUE(Within10s([&] { return reloader->succeeded() == 2; }));
}

TEST_F(ReloaderTest, SaysThatAFileWasReplacedWhileTheServerStarted) {
  std::vector<Reloader::Item> items = {
      {"test", {file_}, StampOf({file_}), [] { return OkStatus(); }}};
  Write("2");
  const auto reloader = Reloader::Start(std::move(items), milliseconds(2));
  ASSERT_TRUE(reloader.ok());
  EXPECT_TRUE(Within10s([&] { return (*reloader)->succeeded() == 1; }));
}

TEST_F(ReloaderTest, TriesUntilItCanBeRead) {
  const auto reloader = Start(milliseconds(2));
  broken_ = true;
  Write("22");
  EXPECT_TRUE(Within10s([&] { return reloader->failed() >= 3; }));
  EXPECT_EQ(reloader->succeeded(), 0U);
  broken_ = false;
  EXPECT_TRUE(Within10s([&] { return reloader->succeeded() == 1; }));
}

TEST_F(ReloaderTest, ReadsWhenToldToAndStopsAtOnce) {
  const auto start = std::chrono::steady_clock::now();
  {
    const auto reloader = Start(std::chrono::hours(1));
    reloader->ReloadNow();
    EXPECT_TRUE(Within10s([&] { return reloader->succeeded() == 1; }));
    EXPECT_EQ(reads_, 1);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(10));
}

}  // namespace
}  // namespace verdict
