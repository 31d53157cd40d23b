#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "release/repository/publish.h"

namespace verdict {

/// For tests: a repository of its own, and versions of a real engine in it.
class PublishedTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) / ("published." + std::to_string(::getpid()));
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  Publication Fraud() const {
    Publication publication;
    publication.engine = VERDICT_SOURCE_DIR "/tests/data/skl_mlp_binary.v1_1.engine";
    publication.repository = root_;
    publication.model = "fraud";
    publication.tool = "test";
    return publication;
  }
  void PublishVersions(int count) const {
    for (int i = 0; i < count; ++i) {
      const auto version = Publish(Fraud());
      ASSERT_TRUE(version.ok()) << version.status().ToString();
    }
  }
  std::filesystem::path Folder(int64_t version) const {
    return root_ / "fraud" / std::to_string(version);
  }
  /// Changes one byte; the size stays.
  static void Tamper(const std::filesystem::path& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(-1, std::ios::end);
    const int last = stream.get();
    stream.seekp(-1, std::ios::end);
    stream.put(static_cast<char>(last ^ 1));
  }
  std::filesystem::path root_;
};

}  // namespace verdict
