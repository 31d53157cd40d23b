#include "observe/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

namespace verdict {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;

constexpr char kStamp[] = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}";

/// What `work` writes to standard error under these settings.
template <typename Work>
std::string Logged(const LogSettings& settings, const Work& work) {
  StartLogging(settings);
  testing::internal::CaptureStderr();
  work();
  spdlog::default_logger()->flush();
  return testing::internal::GetCapturedStderr();
}

TEST(Logging, TextLinesHaveTimeLevelAndMessage) {
  const std::string line = Logged({}, [] { spdlog::info("{} models", 3); });
  EXPECT_THAT(line, MatchesRegex(std::string(kStamp) + "[+-][0-9]{2}:[0-9]{2} info 3 models\n"));
}

TEST(Logging, JsonLinesHaveTimeLevelMessageAndTheFieldsAround) {
  const std::string line = Logged({LogFormat::kJson}, [] {
    const LogScope model("model", "fr\"aud");
    const LogScope version("version", "3");
    spdlog::error("broken");
  });
  EXPECT_THAT(line, MatchesRegex("\\{\"ts\":\"" + std::string(kStamp) +
                                 "Z\",\"level\":\"error\",\"msg\":\"broken\","
                                 "\"model\":\"fr\\\\\"aud\",\"version\":\"3\"\\}\n"));
}

TEST(Logging, AFieldEndsWithItsScopeAndBelongsToItsThread) {
  const std::string lines = Logged({LogFormat::kJson}, [] {
    {
      const LogScope model("model", "m");
      std::thread([] { spdlog::info("elsewhere"); }).join();
    }
    spdlog::info("later");
  });
  EXPECT_THAT(lines, testing::Not(HasSubstr("model")));
}

TEST(Logging, WaitsForNoReader) {
  StartLogging({});
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(ends[1], STDERR_FILENO);
  const std::string text(1000, 'x');
  for (int i = 0; i < 1000; ++i) spdlog::info("{}", text);  // a pipe holds 64 of them
  const auto read_all = [&] {
    std::string all(1 << 20, 0);
    const ssize_t count = ::read(ends[0], all.data(), all.size());
    return all.substr(0, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  };
  EXPECT_GT(read_all().size(), 40'000U);
  spdlog::info("next");
  ::dup2(before, STDERR_FILENO);
  EXPECT_THAT(read_all(), MatchesRegex(".* warn(ing)? [0-9]+ lines were dropped: nobody read "
                                       "them\n.* info next\n"));
  for (const int descriptor : {before, ends[0], ends[1]}) ::close(descriptor);
}

TEST(Logging, NoLineCommandsATerminalOrForgesAnother) {
  const auto attack = [] { spdlog::warn("name {}", "\x1b[2J\n2026 info forged \xc2\x9b \xff"); };
  const std::string text = Logged({}, attack);
  EXPECT_THAT(text, HasSubstr("name \\x1b[2J\\x0a2026 info forged \\x9b"));
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  const std::string json = Logged({LogFormat::kJson}, attack);
  EXPECT_THAT(json, HasSubstr(R"("name \u001b[2J\n2026 info forged \u009b )"
                              "\xef\xbf\xbd\""));
  EXPECT_EQ(json.find('\n'), json.size() - 1);
}

TEST(Logging, LevelsAreSwitchedOneByOneWhileItRuns) {
  const auto all = [] {
    spdlog::trace("a");
    spdlog::debug("b");
    spdlog::info("c");
    spdlog::warn("d");
    spdlog::error("e");
  };
  const auto letters = [&](const LogSettings& settings) {
    std::string found;
    const std::string lines = Logged({}, [&] {
      SetLogSettings(settings);
      all();
    });
    for (size_t at = lines.find('\n'); at != std::string::npos; at = lines.find('\n', at + 1)) {
      found += lines[at - 1];
    }
    return found;
  };
  EXPECT_EQ(letters({}), "cde");
  EXPECT_EQ(letters({.info = true, .warning = false, .error = true}), "ce");
  EXPECT_EQ(letters({.info = false, .warning = false, .error = false}), "");
  EXPECT_EQ(letters({.info = false, .verbose_level = 1}), "bde");
  EXPECT_EQ(letters({.verbose_level = 2}), "abcde");
  SetLogSettings({.format = LogFormat::kJson, .error = false, .verbose_level = 7});
  EXPECT_EQ(CurrentLogSettings().format, LogFormat::kJson);
  EXPECT_FALSE(CurrentLogSettings().error);
  EXPECT_EQ(CurrentLogSettings().verbose_level, 7u);
  SetLogSettings({});
}

TEST(LogLimit, PassesOneAnIntervalAndCountsTheRest) {
  LogLimit limit(100ms);
  const LogLimit::Clock::time_point start{1s};
  EXPECT_EQ(limit.Pass(start), 0u);
  EXPECT_EQ(limit.Pass(start + 1ms), std::nullopt);
  EXPECT_EQ(limit.Pass(start + 99ms), std::nullopt);
  EXPECT_EQ(limit.Pass(start + 100ms), 2u);
  EXPECT_EQ(limit.Pass(start + 300ms), 0u);
  EXPECT_EQ(MoreLikeIt(0), "");
  EXPECT_EQ(MoreLikeIt(2), " (2 more like it were not logged)");
}

}  // namespace
}  // namespace verdict
