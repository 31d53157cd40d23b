#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string_view>
#include <thread>
#include <vector>

namespace verdict {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/file_test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  size_t NumFiles() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

std::string ReadText(const fs::path& path) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status().ToString();
  const auto bytes = (*file)->bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status WriteTexts(const fs::path& path, const std::vector<std::string_view>& texts) {
  std::vector<std::span<const std::byte>> parts;
  for (std::string_view text : texts)
    parts.push_back(std::as_bytes(std::span(text.data(), text.size())));
  return WriteFileAtomically(path, parts);
}

TEST_F(FileTest, MapsWhatWasWritten) {
  const fs::path path = folder_ / "m.engine";
  ASSERT_TRUE(WriteTexts(path, {"one,", "", "two"}).ok());
  EXPECT_EQ(ReadText(path), "one,two");
  EXPECT_EQ(NumFiles(), 1U) << "a temporary file was left behind";
}

TEST_F(FileTest, ACopyKeepsItsBytesWhenTheFileIsTruncatedAndOverwritten) {
  const fs::path path = folder_ / "m.engine";
  const std::string text(3 << 20, 'a');
  ASSERT_TRUE(WriteTexts(path, {text}).ok());
  const auto copy = FileCopy::Read(path);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  fs::resize_file(path, 0);
  std::ofstream(path) << "another";
  const auto bytes = (*copy)->bytes();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 4096, 0U);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), text);
}

TEST_F(FileTest, ACopyMayBeOfTheBeginning) {
  const fs::path path = folder_ / "m.engine";
  ASSERT_TRUE(WriteTexts(path, {"one,two"}).ok());
  EXPECT_EQ((*FileCopy::Read(path, 3))->bytes().size(), 3U);
  EXPECT_EQ((*FileCopy::Read(path, 100))->bytes().size(), 7U);
}

TEST_F(FileTest, WhatCannotBeCopiedSaysWhy) {
  EXPECT_EQ(FileCopy::Read(folder_ / "none").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(FileCopy::Read(folder_).status().code(), StatusCode::kInvalidArgument);
  std::ofstream(folder_ / "empty").flush();
  EXPECT_EQ(FileCopy::Read(folder_ / "empty").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(FileTest, APipeIsWrittenToAndStaysOne) {
  const fs::path path = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { std::getline(std::ifstream(path), got); });
  EXPECT_TRUE(WriteTexts(path, {"one,", "two"}).ok());
  reader.join();
  EXPECT_EQ(got, "one,two");
  EXPECT_TRUE(fs::is_fifo(path));
  EXPECT_EQ(NumFiles(), 1U);
}

TEST_F(FileTest, MappingOutlivesTheNameAndItsReplacement) {
  const fs::path path = folder_ / "m.engine";
  ASSERT_TRUE(WriteTexts(path, {"old"}).ok());
  const auto old = MappedFile::Open(path);
  ASSERT_TRUE(old.ok());
  ASSERT_TRUE(WriteTexts(path, {"newer"}).ok());
  EXPECT_EQ((*old)->bytes().size(), 3U);
  EXPECT_EQ((*old)->bytes()[0], std::byte{'o'});
  EXPECT_EQ(ReadText(path), "newer");
}

TEST_F(FileTest, RefusesWhatIsMissing) {
  EXPECT_EQ(MappedFile::Open(folder_ / "nothing").status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(WriteTexts(folder_ / "file", {"x"}).ok());
  const Status below_a_file = MappedFile::Open(folder_ / "file" / "below").status();
  EXPECT_EQ(below_a_file.code(), StatusCode::kNotFound);
  EXPECT_NE(below_a_file.message().find((folder_ / "file" / "below").string()), std::string::npos);
}

TEST_F(FileTest, RefusesAnEmptyFile) {
  std::ofstream(folder_ / "empty").close();
  const Status status = MappedFile::Open(folder_ / "empty").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("empty"), std::string::npos);
}

TEST_F(FileTest, RefusesAFolder) {
  const Status status = MappedFile::Open(folder_).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("not a regular file"), std::string::npos);
}

TEST_F(FileTest, RefusesAFifoWithoutWaitingForItsWriter) {
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::Open(fifo).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(FileTest, RefusesAFileWithoutPermission) {
  const fs::path path = folder_ / "secret";
  ASSERT_TRUE(WriteTexts(path, {"x"}).ok());
  fs::permissions(path, fs::perms::none);
  const auto open_as_nobody = [&] {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && ::seteuid(kNobody) != 0) ::_exit(9);  // Root may read every file.
    ::_exit(MappedFile::Open(path).status().code() == StatusCode::kUnavailable ? 0 : 1);
  };
  EXPECT_EXIT(open_as_nobody(), testing::ExitedWithCode(0), "");
}

TEST_F(FileTest, AFailedWriteKeepsTheOldFileAndLeavesNothingBehind) {
  // A folder of that name cannot be replaced by a file, so the last step, the rename, fails.
  const fs::path path = folder_ / "m.engine";
  fs::create_directory(path);
  ASSERT_TRUE(WriteTexts(path / "kept", {"kept"}).ok());
  EXPECT_FALSE(WriteTexts(path, {"new"}).ok());
  EXPECT_EQ(ReadText(path / "kept"), "kept");
  EXPECT_EQ(NumFiles(), 1U) << "a temporary file was left behind";
}

TEST_F(FileTest, WritingIntoAMissingFolderSaysSo) {
  const Status status = WriteTexts(folder_ / "nowhere" / "m.engine", {"x"});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("nowhere/m.engine"), std::string::npos);
}

TEST_F(FileTest, AFullDiskKeepsTheOldFile) {
  // A limit on the file size stands for the full disk: write() fails part of the way.
  const fs::path path = folder_ / "m.engine";
  ASSERT_TRUE(WriteTexts(path, {"old"}).ok());
  const std::string large(1 << 20, 'x');
  const auto write_with_limit = [&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(9);
    ::_exit(WriteTexts(path, {large}).code() == StatusCode::kUnavailable ? 0 : 1);
  };
  EXPECT_EXIT(write_with_limit(), testing::ExitedWithCode(0), "");
  EXPECT_EQ(ReadText(path), "old");
  EXPECT_EQ(NumFiles(), 1U) << "a temporary file was left behind";
}

TEST_F(FileTest, NewFilesObeyTheUmask) {
  const mode_t old_umask = ::umask(0027);
  const Status status = WriteTexts(folder_ / "m.engine", {"x"});
  ::umask(old_umask);
  ASSERT_TRUE(status.ok()) << status.ToString();
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / "m.engine").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
}

TEST_F(FileTest, LeftoversOfADeadProcessWithOurNumberAreNoObstacle) {
  const std::string prefix = "m.engine.tmp." + std::to_string(::getpid()) + ".";
  for (int i = 0; i < 64; ++i) std::ofstream(folder_ / (prefix + std::to_string(i))) << "stale";
  const Status status = WriteTexts(folder_ / "m.engine", {"new"});
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(ReadText(folder_ / "m.engine"), "new");
}

TEST_F(FileTest, ReadersSeeOneWholeFileWhileWritersReplaceIt) {
  const fs::path path = folder_ / "m.engine";
  const std::string a(70'000, 'a');
  const std::string b(90'000, 'b');
  ASSERT_TRUE(WriteTexts(path, {a}).ok());
  std::vector<std::jthread> writers;
  for (const std::string* text : {&a, &b}) {
    writers.emplace_back([&path, text] {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(WriteTexts(path, {*text}).ok());
    });
  }
  for (int i = 0; i < 50; ++i) {
    const std::string seen = ReadText(path);
    EXPECT_TRUE(seen == a || seen == b) << seen.size() << " bytes";
  }
  writers.clear();
  EXPECT_EQ(NumFiles(), 1U);
}

TEST_F(FileTest, ReadsASmallFileWholeOrNotAtAll) {
  const fs::path file = folder_ / "a";
  EXPECT_EQ(ReadSmallFile(file, 10).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ReadSmallFile(folder_, 10).status().code(), StatusCode::kInvalidArgument);
  std::ofstream(file) << "";
  EXPECT_EQ(*ReadSmallFile(file, 0), "");
  std::ofstream(file) << std::string(40'000, 'x');
  EXPECT_EQ(*ReadSmallFile(file, 40'000), std::string(40'000, 'x'));
  const auto refused = ReadSmallFile(file, 39'999);
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(refused.status().message().find("39999"), std::string::npos);
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ReadSmallFile(pipe, 10).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace verdict
