#include "release/repository/publish.h"

#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "release/repository/published_test.h"
#include "release/repository/repository.h"
#include "release/repository/verify_version.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

using Publishing = PublishedTest;

TEST_F(Publishing, TakesTheNextFreeVersionWholly) {
  PublishVersions(2);
  Publication tenth = Fraud();
  tenth.version = 10;
  tenth.metadata = "{\"auc\": 0.97}";
  EXPECT_EQ(*Publish(tenth), 10);
  EXPECT_EQ(*Publish(Fraud()), 11);
  VersionTrust trust;
  trust.require_manifest = true;
  for (const int64_t version : {1, 2, 10, 11}) {
    const auto verified = VerifyVersion(Folder(version), trust);
    ASSERT_TRUE(verified.ok()) << verified.status().ToString();
    EXPECT_EQ((*verified)->manifest.version, version);
  }
  EXPECT_EQ((*VerifyVersion(Folder(10), trust))->manifest.metadata, "{\"auc\":0.97}");
  // Nothing is left beside the versions.
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ / "fraud"), fs::directory_iterator()), 4);
}

TEST_F(Publishing, NeverReplacesAVersion) {
  PublishVersions(1);
  Publication again = Fraud();
  again.version = 1;
  EXPECT_EQ(Publish(again).status().code(), StatusCode::kAlreadyExists);
  // Nor an empty folder that somebody else has made.
  fs::create_directory(Folder(2));
  EXPECT_EQ(*Publish(Fraud()), 3);
  again.version = 2;
  EXPECT_EQ(Publish(again).status().code(), StatusCode::kAlreadyExists);
}

TEST_F(Publishing, WritersAtOnceEachGetAVersion) {
  constexpr int kWriters = 8;
  std::vector<int64_t> versions(kWriters);
  std::vector<std::thread> writers;
  for (int64_t& version : versions) {
    writers.emplace_back([&version, this] {
      const auto published = Publish(Fraud());
      version = published.ok() ? *published : -1;
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(std::set<int64_t>(versions.begin(), versions.end()),
            (std::set<int64_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  for (const int64_t version : versions) EXPECT_TRUE(VerifyVersion(Folder(version), {}).ok());
}

TEST_F(Publishing, RefusesWhatNoServerWouldTake) {
  std::ofstream(root_ / "noise") << "noise";
  Publication publication = Fraud();
  publication.engine = root_ / "noise";
  EXPECT_FALSE(Publish(publication).ok());
  publication = Fraud();
  publication.metadata = "[]";
  EXPECT_THAT(Publish(publication).status().message(), HasSubstr("metadata"));
  publication = Fraud();
  publication.model = "../fraud";
  EXPECT_EQ(Publish(publication).status().code(), StatusCode::kInvalidArgument);
  publication = Fraud();
  publication.repository = root_ / "none";
  EXPECT_EQ(Publish(publication).status().code(), StatusCode::kNotFound);
  for (const auto& entry : fs::recursive_directory_iterator(root_ / "fraud")) {
    ADD_FAILURE() << "left behind: " << entry.path();
  }
}

}  // namespace
}  // namespace verdict
