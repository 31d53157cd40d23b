#include "release/repository/verify_version.h"

#include <gmock/gmock.h>

#include "release/repository/published_test.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

using VerifiedRepository = PublishedTest;

TEST_F(VerifiedRepository, WithoutManifestOnlyWhereNoneIsAskedFor) {
  PublishVersions(2);
  fs::remove(Folder(1) / kManifestFileName);
  const auto allowed = VerifyVersion(Folder(1), {});
  ASSERT_TRUE(allowed.ok());
  EXPECT_FALSE(allowed->has_value());
  VersionTrust strict;
  strict.require_manifest = true;
  EXPECT_EQ(VerifyVersion(Folder(1), strict).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(VerifyVersion(Folder(2), strict).ok());
  // It is half written: not listed.
  const auto listing = ListRepository(root_, true);
  ASSERT_EQ(listing->models.size(), 1u);
  ASSERT_EQ(listing->models[0].versions.size(), 1u);
  EXPECT_EQ(listing->models[0].versions[0].version, 2);
  ASSERT_EQ(listing->ignored.size(), 1u);
  EXPECT_THAT(listing->ignored[0], HasSubstr("no manifest.json in it"));
  EXPECT_EQ(ListRepository(root_)->models[0].versions.size(), 2u);
}

TEST_F(VerifiedRepository, AChangedManifestChangesTheStamp) {
  PublishVersions(1);
  const VersionStamp before = ListModel(root_, "fraud")->versions[0].stamp;
  std::ofstream(Folder(1) / kManifestFileName, std::ios::app) << " ";
  EXPECT_NE(ListModel(root_, "fraud")->versions[0].stamp, before);
}

TEST_F(VerifiedRepository, RefusesAChangedByteAlsoWhereNothingIsAskedFor) {
  PublishVersions(1);
  Tamper(Folder(1) / kEngineFileName);
  const auto verified = VerifyVersion(Folder(1), {});
  EXPECT_EQ(verified.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(verified.status().message(), HasSubstr("is not what its manifest says"));
}

TEST_F(VerifiedRepository, RefusesAnotherVersionsManifest) {
  PublishVersions(1);
  fs::copy(Folder(1), Folder(2));
  EXPECT_THAT(VerifyVersion(Folder(2), {}).status().message(),
              HasSubstr("its manifest is that of model 'fraud' version 1"));
}

TEST_F(VerifiedRepository, TrustedKeysAskForTheirSignature) {
  const std::string key = (root_ / "key.pem").string(), other = (root_ / "other.pem").string();
  for (const std::string& pem : {key, other}) {
    if (std::system(("openssl genpkey -algorithm ed25519 -out " + pem + " && openssl pkey -in " +
                     pem + " -pubout -out " + pem + ".pub")
                        .c_str()) != 0) {
      GTEST_SKIP() << "no openssl command";
    }
  }
  PublishVersions(1);
  Publication publication = Fraud();
  publication.key = *SigningKey::Load(key);
  ASSERT_EQ(*Publish(publication), 2);
  const VersionTrust trust = *VersionTrust::Load(false, {key + ".pub"});
  EXPECT_THAT(VerifyVersion(Folder(1), trust).status().message(), HasSubstr("is not signed"));
  const auto verified = VerifyVersion(Folder(2), trust);
  ASSERT_TRUE(verified.ok()) << verified.status().ToString();
  EXPECT_EQ((*verified)->key_id, publication.key->id());
  EXPECT_EQ(VerifyVersion(Folder(2), *VersionTrust::Load(false, {other + ".pub"})).status().code(),
            StatusCode::kPermissionDenied);
  Tamper(Folder(2) / kManifestFileName);
  EXPECT_EQ(VerifyVersion(Folder(2), trust).status().code(), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace verdict
