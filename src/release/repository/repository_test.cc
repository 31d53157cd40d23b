#include "release/repository/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Repository : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("repository." + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void Engine(const std::string& folder) {
    fs::create_directories(root_ / folder);
    std::ofstream(root_ / folder / "model.engine") << "x";
  }
  RepositoryListing List() {
    auto listing = ListRepository(root_);
    EXPECT_TRUE(listing.ok()) << listing.status().ToString();
    return listing.ok() ? *std::move(listing) : RepositoryListing{};
  }
  fs::path root_;
};

TEST_F(Repository, ModelsByNameVersionsByNumber) {
  Engine("b/10");
  Engine("b/9");
  Engine("a-1.x_Y/1");
  const RepositoryListing listing = List();
  ASSERT_EQ(listing.models.size(), 2u);
  EXPECT_EQ(listing.models[0].name, "a-1.x_Y");
  EXPECT_EQ(listing.models[1].name, "b");
  ASSERT_EQ(listing.models[1].versions.size(), 2u);
  EXPECT_EQ(listing.models[1].versions[0].version, 9);
  EXPECT_EQ(listing.models[1].versions[1].version, 10);
  EXPECT_EQ(listing.models[1].versions[1].engine, root_ / "b/10/model.engine");
  EXPECT_THAT(listing.ignored, ElementsAre());
}

TEST_F(Repository, WhatIsNoVersionIsIgnoredAloud) {
  Engine("m/1");
  Engine("m/latest");
  Engine("m/02");
  Engine("m/0");
  Engine("m/-3");
  Engine("m/99999999999999999999");
  const RepositoryListing listing = List();
  ASSERT_EQ(listing.models.size(), 1u);
  EXPECT_EQ(listing.models[0].versions.size(), 1u);
  EXPECT_EQ(listing.ignored.size(), 5u);
  EXPECT_THAT(listing.ignored, testing::Each(HasSubstr("is not a version")));
}

TEST_F(Repository, HalfWrittenVersionIsIgnoredAloud) {
  Engine("m/1");
  fs::create_directories(root_ / "m/2");
  fs::create_directories(root_ / "m/3/model.engine");  // a folder where the file should be
  fs::create_directories(root_ / "m/4");
  std::ofstream(root_ / "m/4/model.onnx") << "as other servers have it";
  const RepositoryListing listing = List();
  ASSERT_EQ(listing.models.size(), 1u);
  EXPECT_EQ(listing.models[0].versions.size(), 1u);
  EXPECT_THAT(listing.ignored,
              ElementsAre(HasSubstr("m/2: no model.engine"), HasSubstr("m/3: no model.engine"),
                          HasSubstr("m/4: no model.engine in it, but a model.onnx: make one")));
}

TEST_F(Repository, BadNamesAndEmptyModelsAreIgnoredAloud) {
  Engine("sp ace/1");
  Engine("-flag/1");
  fs::create_directories(root_ / "empty");
  Engine(".hidden/1");
  std::ofstream(root_ / "README") << "not a model";
  const RepositoryListing listing = List();
  EXPECT_TRUE(listing.models.empty());
  EXPECT_THAT(listing.ignored,
              ElementsAre(HasSubstr("-flag: a model's name"), HasSubstr("empty: no version"),
                          HasSubstr("sp ace: a model's name")));
}

TEST_F(Repository, MissingFolderAndFileAreErrors) {
  EXPECT_EQ(ListRepository(root_ / "none").status().code(), StatusCode::kNotFound);
  std::ofstream(root_ / "file") << "x";
  EXPECT_EQ(ListRepository(root_ / "file").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(Repository, AStampTellsWhetherAFileHasChanged) {
  Engine("m/1");
  const ModelFolder before = List().models.at(0);
  EXPECT_EQ(List().models.at(0).versions[0].stamp, before.versions[0].stamp);
  EXPECT_EQ(before.config, root_ / "m/config.yaml");
  EXPECT_EQ(before.config_stamp, FileStamp{}) << "there is none";
  std::ofstream(root_ / "m/1/model.engine") << "xx";
  std::ofstream(root_ / "m/config.yaml") << "max_batch_size: 8";
  const ModelFolder after = List().models.at(0);
  EXPECT_NE(after.versions[0].stamp, before.versions[0].stamp);
  EXPECT_NE(after.config_stamp, FileStamp{});
  std::ofstream(root_ / "m/1/new") << "xx";
  fs::rename(root_ / "m/1/new", root_ / "m/1/model.engine");
  EXPECT_NE(List().models.at(0).versions[0].stamp, after.versions[0].stamp)
      << "another file of the same size";
}

TEST_F(Repository, OneModelAlone) {
  Engine("m/2");
  Engine("m/1");
  fs::create_directories(root_ / "empty");
  auto model = ListModel(root_, "m");
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_EQ(model->name, "m");
  EXPECT_EQ(model->versions.size(), 2u);
  EXPECT_EQ(ListModel(root_, "none").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ListModel(root_, "empty").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ListModel(root_, "../m").status().code(), StatusCode::kInvalidArgument);
}

TEST(ModelName, RulesAreTheDocumentedOnes) {
  for (const char* good : {"a", "fraud-v2.1_x", "0"})
    EXPECT_TRUE(CheckModelName(good).ok()) << good;
  for (const char* bad : {"", ".", "..", "-x", "a/b", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(CheckModelName(bad).ok()) << bad;
  }
  EXPECT_TRUE(CheckModelName(std::string(kMaxModelNameBytes, 'a')).ok());
  EXPECT_FALSE(CheckModelName(std::string(kMaxModelNameBytes + 1, 'a')).ok());
}

TEST(Version, WholeNumbersFromOne) {
  EXPECT_EQ(ParseVersion("1").value(), 1);
  EXPECT_EQ(ParseVersion("9223372036854775807").value(), INT64_MAX);
  for (const char* bad : {"", "0", "-1", "+1", " 1", "1 ", "01", "1.0", "9223372036854775808"}) {
    EXPECT_FALSE(ParseVersion(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace verdict
