#include "serve/admission/clients_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "serve/admission/authenticator.h"

namespace verdict {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string Hex(std::string_view token) { return ToHex(HashToken(token)); }

std::string Token(const std::string& name, const std::string& token, const std::string& more) {
  return "  - name: " + name + "\n    sha256: " + Hex(token) + "\n" + more;
}

TEST(ClientsFile, ReadsTokensCertificatesAndAnonymous) {
  const auto table = ClientTable::Parse(
      "tokens:\n" + Token("checkout", "a", "    roles: [infer]\n") +
      Token("ops", "b", "    roles: [admin, metrics]\n    expires: 2027-06-30T12:00:01Z\n") +
      Token("day", "c", "    roles: [infer]\n    expires: 1970-01-02\n") +
      "certificates:\n  - name: settle\n    subject: dns:settle.example\n    roles: [infer]\n"
      "anonymous: [metrics]\n");
  ASSERT_TRUE(table.ok()) << table.status().message();
  EXPECT_EQ((*table)->num_tokens(), 3U);
  const TokenEntry* checkout = (*table)->FindToken(HashToken("a"));
  ASSERT_NE(checkout, nullptr);
  EXPECT_EQ(checkout->principal.name, "checkout");
  EXPECT_EQ(checkout->principal.roles, Roles{Role::kInfer});
  const TokenEntry* ops = (*table)->FindToken(HashToken("b"));
  ASSERT_NE(ops, nullptr);
  EXPECT_EQ(ops->principal.roles, (Roles{Role::kAdmin, Role::kMetrics}));
  EXPECT_EQ(ops->expires_s, 1814356801);
  EXPECT_EQ((*table)->FindToken(HashToken("c"))->expires_s, 86400);
  EXPECT_EQ((*table)->FindToken(HashToken("d")), nullptr);
  ASSERT_NE((*table)->FindCertificate("dns:settle.example"), nullptr);
  EXPECT_EQ((*table)->FindCertificate("dns:settle.example")->name, "settle");
  EXPECT_EQ((*table)->FindCertificate("cn:settle.example"), nullptr);
  EXPECT_EQ((*table)->anonymous(), Roles{Role::kMetrics});
}

TEST(ClientsFile, RefusesWhatIsNotMeantSo) {
  const std::string good = "tokens:\n" + Token("a", "a", "    roles: [infer]\n");
  const std::string hex(64, 'a');
  struct Case {
    std::string text;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"", "expected the keys"},
      {"[1]", "expected the keys"},
      {"token: []", "line 1: unknown key"},
      {"tokens: 7", "line 1: tokens: expected a list"},
      {"tokens: [7]", "tokens: expected entries"},
      {"tokens:\n  - sha256: " + hex + "\n    roles: [infer]\n", "line 2: name: is missing"},
      {"tokens:\n  - name: a\n    roles: [infer]\n", "line 2: sha256: is missing"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "\n", "line 2: roles: is missing"},
      {"tokens:\n  - name: a b\n    sha256: " + hex + "\n    roles: [infer]\n", "line 2: name"},
      {"tokens:\n  - name: ''\n    sha256: " + hex + "\n    roles: [infer]\n", "line 2: name"},
      {"tokens:\n  - name: a\n    sha256: vdt_secret\n    roles: [infer]\n", "line 3: sha256"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "0\n    roles: [infer]\n", "line 3: sha256"},
      {"tokens:\n  - name: a\n    sha256: g" + hex.substr(1) + "\n    roles: [infer]\n",
       "line 3: sha256"},
      {"tokens:\n  - name: a\n    sha256: [1]\n    roles: [infer]\n", "sha256: expected text"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "\n    roles: infer\n", "line 4: roles"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "\n    roles: []\n", "line 4: roles: is empty"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "\n    roles: [root]\n", "no such role"},
      {"tokens:\n  - name: a\n    sha256: " + hex + "\n    roles: [open]\n", "no such role"},
      {good + "    expires: soon\n", "line 5: expires"},
      {good + "    expires: 2027-02-30\n", "line 5: expires"},
      {good + "    expires: 2027-01-01T24:00:00Z\n", "line 5: expires"},
      {good + "    expires: 2027-01-01T00:00:00\n", "line 5: expires"},
      {good + "    expiry: 2027-01-01\n", "line 5: unknown key"},
      {good + "    roles: [admin]\n", "line 5: roles: given twice"},
      {good + Token("b", "a", "    roles: [infer]\n"), "line 5: sha256: this token is in the file"},
      {"certificates:\n  - name: a\n    subject: a\n    roles: [infer]\n", "line 3: subject"},
      {"certificates:\n  - name: a\n    subject: 'dns:'\n    roles: [infer]\n", "line 3: subject"},
      {"anonymous: [admin]", "line 1: anonymous: callers without credentials cannot be admin"},
      {"a: [", "line 1: not well-formed YAML"},
      {"a: &a [*a]", "unknown key"},
      {std::string(10'000, '['), "not well-formed YAML"},
      {std::string(kMaxClientsFileBytes + 1, ' '), "larger than"},
  };
  ASSERT_TRUE(ClientTable::Parse(good).ok());
  for (const Case& wrong : cases) {
    const auto table = ClientTable::Parse(wrong.text);
    ASSERT_FALSE(table.ok()) << wrong.text.substr(0, 200);
    EXPECT_EQ(table.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(table.status().message(), HasSubstr(wrong.message)) << wrong.text.substr(0, 200);
    EXPECT_THAT(table.status().message(), Not(HasSubstr("secret")));
  }
}

TEST(ClientsFile, NeverRepeatsAValueThatMayBeASecret) {
  for (const std::string text :
       {"tokens:\n  - name: a\n    sha256: vdt_secret\n    roles: [infer]\n", "vdt_secret",
        "vdt_secret: 1", "tokens: vdt_secret", "tokens: [{vdt_secret: 1}]",
        "tokens:\n  - name: 'vdt_secret!'\n", "anonymous: [vdt_secret]", "a: {vdt_secret",
        "a: *vdt_secret", "tokens: [{name: a, sha256: b, roles: [infer], expires: vdt_secret}]"}) {
    const auto table = ClientTable::Parse(text);
    ASSERT_FALSE(table.ok()) << text;
    EXPECT_THAT(table.status().message(), Not(HasSubstr("secret"))) << text;
  }
}

TEST(ClientsFile, IsReadFromAFileThatOthersCannotWrite) {
  const std::string path = testing::TempDir() + "/clients." + std::to_string(::getpid());
  EXPECT_EQ(ClientTable::Load(path).status().code(), StatusCode::kNotFound);
  std::ofstream(path) << "anonymous: [infer]\n";
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(ClientTable::Load(path).ok());
  ASSERT_EQ(::chmod(path.c_str(), 0646), 0);
  const auto table = ClientTable::Load(path);
  EXPECT_EQ(table.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(table.status().message(), AllOf(HasSubstr(path), HasSubstr("chmod o-w")));
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace verdict
