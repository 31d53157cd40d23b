#include "serve/config/check_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/engine_file.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckRepositoryTest : public testing::Test {
 protected:
  CheckRepositoryTest() { config_.path = root_.string(); }
  ~CheckRepositoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& version, EngineContents contents) {
    std::filesystem::create_directories(root_ / version);
    ASSERT_TRUE(WriteEngineFile(root_ / version / "model.engine", contents).ok());
  }
  void Write(const std::string& version) { Write(version, SmallEngine(1)->contents()); }
  void Configure(const std::string& model, const std::string& text) {
    std::filesystem::create_directories(root_ / model);
    std::ofstream(root_ / model / "config.yaml") << text;
  }

  const std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / ("check" + std::to_string(getpid()));
  RepositoryConfig config_;
};

TEST_F(CheckRepositoryTest, LoadsEveryVersionThatIsWanted) {
  Write("fraud/1");
  Write("fraud/2");
  Write("fraud/10");
  Configure("fraud",
            "max_batch_size: 8\ndynamic_batching:\nversion_policy: {latest: "
            "{num_versions: 2}}\n");
  Write("other/3");
  Write("other/4");
  Configure("other", "version_policy: {specific: {versions: [3]}}");
  Write("plain/1");
  Configure("plain", "max_batch_size: 4\n");
  const RepositoryCheck check = CheckRepository(config_);
  EXPECT_THAT(check.problems, IsEmpty());
  EXPECT_EQ(CheckTable(check),
            "MODEL  VERSION  BATCHING      STATUS\n"
            "fraud  2        up to 8 rows  ready\n"
            "fraud  10       up to 8 rows  ready\n"
            "other  3        none          ready\n"
            "plain  1        up to 4 rows  ready\n");
}

TEST_F(CheckRepositoryTest, ReportsEveryProblem) {
  EngineContents wrong = SmallEngine(1)->contents();
  ASSERT_FALSE(wrong.golden.empty());
  Constant& y = wrong.golden[0].outputs[0];
  const std::vector<float> values(static_cast<size_t>(NumElements(y.shape).value()), 1e6F);
  y = Constant::Of<float>(y.shape, values);
  Write("a/1", std::move(wrong));
  Write("b/1");
  Configure("b", "max_batchsize: 8\nplatfrom: x\n");
  Write("c/1");
  Configure("c", "version_policy: {specific: {versions: [1, 5]}}");
  Write("d/1");
  std::ofstream(root_ / "d" / "1" / "model.engine") << "no engine";
  std::filesystem::create_directories(root_ / "d" / "2");
  const RepositoryCheck check = CheckRepository(config_);
  EXPECT_THAT(check.problems, ElementsAre(HasSubstr("a/1/model.engine: "),
                                          HasSubstr("b/config.yaml:1:1: key 'max_batchsize'"),
                                          HasSubstr("b/config.yaml:2:1: key 'platfrom'"),
                                          HasSubstr("version 5 is not in the folder"),
                                          HasSubstr("d/1/model.engine: ")));
  EXPECT_THAT(check.notes, ElementsAre(HasSubstr("d/2: no model.engine")));
  ASSERT_EQ(check.versions.size(), 4u);
  EXPECT_EQ(check.versions[0].status.code(), StatusCode::kDataLoss);
  EXPECT_TRUE(check.versions[2].status.ok());
}

TEST_F(CheckRepositoryTest, ComparesTheConfigurationWithTheEngine) {
  Write("priorities/1");
  Configure("priorities", "max_batch_size: 8\ndynamic_batching: {priority_levels: 1000}\n");
  Write("rows/1");
  Configure("rows", "max_batch_size: 4096\n");
  Write("states/1");
  Configure("states", "sequence_batching: {state: [{input_name: nope, output_name: y}]}\n");
  EXPECT_THAT(CheckRepository(config_).problems,
              ElementsAre(HasSubstr("priority_levels"),
                          HasSubstr("rows/1/model.engine: max_batch_size is 4096"),
                          HasSubstr("state 'nope' is no input of the engine")));
}

TEST_F(CheckRepositoryTest, KnowsAnEmptyOrMissingFolder) {
  EXPECT_THAT(CheckRepository(config_).problems, ElementsAre(HasSubstr(root_.string())));
  std::filesystem::create_directories(root_);
  EXPECT_THAT(CheckRepository(config_).problems, ElementsAre(HasSubstr("holds no model")));
}

TEST_F(CheckRepositoryTest, ChecksInModeExplicitWhatIsNamed) {
  Write("a/1");
  Write("b/1");
  config_.mode = RepositoryConfig::Mode::kExplicit;
  config_.load = {"b", "c"};
  const RepositoryCheck check = CheckRepository(config_);
  ASSERT_EQ(check.versions.size(), 1u);
  EXPECT_EQ(check.versions[0].model, "b");
  EXPECT_THAT(check.problems, ElementsAre(HasSubstr("has no model 'c'")));
}

TEST(CheckTable, IsSafeForTerminals) {
  RepositoryCheck check;
  check.versions.push_back({"m", 0, "", DataLoss("bad\x1b[2J\n"), ""});
  EXPECT_EQ(CheckTable(check),
            "MODEL  VERSION  BATCHING  STATUS\n"
            "m      -        -         fails: bad\\x1b[2J\\x0a\n");
}

}  // namespace
}  // namespace verdict
