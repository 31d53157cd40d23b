#include "release/repository/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace verdict {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Signature : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("signature." + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
    if (std::system("openssl version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl command";
    for (const char* name : {"a", "b"}) {
      const std::string pem = Path(name);
      ASSERT_EQ(std::system(("openssl genpkey -algorithm ed25519 -out " + pem + ".pem && " +
                             "openssl pkey -in " + pem + ".pem -pubout -out " + pem + ".pub")
                                .c_str()),
                0);
    }
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string Path(const std::string& name) { return (root_ / name).string(); }
  SigningKey Key(const std::string& name) { return *SigningKey::Load(Path(name + ".pem")); }
  TrustedKeys Trusted(const std::vector<std::string>& names) {
    std::vector<std::string> files;
    for (const std::string& name : names) files.push_back(Path(name + ".pub"));
    return *TrustedKeys::Load(files);
  }
  fs::path root_;
};

TEST_F(Signature, VerifiesByAnyTrustedKey) {
  const std::string line = Key("b").Sign("text");
  const auto id = Trusted({"a", "b"}).Verify("text", line);
  ASSERT_TRUE(id.ok()) << id.status().ToString();
  EXPECT_EQ(*id, Key("b").id());
}

TEST_F(Signature, OpensslVerifiesItToo) {
  std::ofstream(root_ / "text") << "text";
  const std::string line = Key("a").Sign("text");
  std::ofstream(root_ / "base64") << line.substr(line.rfind(' ') + 1);
  EXPECT_EQ(
      std::system(("openssl base64 -d -A -in " + Path("base64") + " -out " + Path("raw") +
                   " && openssl pkeyutl -verify -pubin -inkey " + Path("a.pub") + " -rawin -in " +
                   Path("text") + " -sigfile " + Path("raw") + " > /dev/null")
                      .c_str()),
      0);
}

TEST_F(Signature, RefusesOtherTextsOtherKeysAndNoise) {
  const std::string line = Key("a").Sign("text");
  EXPECT_EQ(Trusted({"a"}).Verify("texT", line).status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(Trusted({"b"}).Verify("text", line).status().code(), StatusCode::kPermissionDenied);
  std::string forged = line;  // another key's signature under a trusted id
  forged.replace(8, 16, Key("b").id());
  EXPECT_EQ(Trusted({"b"}).Verify("text", forged).status().code(), StatusCode::kPermissionDenied);
  for (const std::string& noise :
       {std::string(), line.substr(1), line + "x", line.substr(0, 40), std::string(114, 'x'),
        line.substr(0, 30) + "!" + line.substr(31)}) {
    EXPECT_FALSE(Trusted({"a"}).Verify("text", noise).ok()) << noise;
  }
}

TEST_F(Signature, SaysHowToMakeAKey) {
  std::ofstream(root_ / "no.pem") << "no key";
  const auto none = SigningKey::Load(root_ / "no.pem");
  EXPECT_THAT(none.status().message(), HasSubstr("openssl genpkey -algorithm ed25519"));
  // A private key is not taken for a public one.
  EXPECT_EQ(TrustedKeys::Load({Path("a.pem")}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(TrustedKeys::Load({Path("none")}).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace verdict
