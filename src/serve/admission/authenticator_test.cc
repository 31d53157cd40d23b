#include "serve/admission/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace verdict {
namespace {

using testing::HasSubstr;
using testing::Not;

class AuthenticatorTest : public testing::Test {
 protected:
  AuthenticatorTest() {
    options_.clients_file = testing::TempDir() + "/auth." + std::to_string(::getpid());
  }
  ~AuthenticatorTest() override { std::filesystem::remove(options_.clients_file); }

  void Write(const std::string& text) {
    std::ofstream(options_.clients_file, std::ios::trunc) << text;
    ::chmod(options_.clients_file.c_str(), 0600);
  }
  std::unique_ptr<Authenticator> Make(const std::string& text) {
    Write(text);
    auto made = Authenticator::Make(options_);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return *std::move(made);
  }
  static std::string Token(const std::string& name, const std::string& token,
                           const std::string& roles, const std::string& more = "") {
    return "  - {name: " + name + ", sha256: " + ToHex(HashToken(token)) + ", roles: [" + roles +
           "]" + more + "}\n";
  }

  AuthOptions options_;
};

TEST_F(AuthenticatorTest, KnowsAClientByItsToken) {
  const auto auth =
      Make("tokens:\n" + Token("checkout", "t1", "infer") + Token("ops", "t2", "infer, admin"));
  const std::vector<std::pair<std::string, std::string>> known = {
      {"Bearer t1", "checkout"}, {"bearer   t2", "ops"}, {"BEARER\tt2 ", "ops"}};
  for (const auto& [header, name] : known) {
    const auto principal = auth->Authenticate({header, {}}, ListenerKind::kInference, 0);
    ASSERT_TRUE(principal.ok()) << header;
    EXPECT_EQ((*principal)->name, name);
  }
  for (const std::string header :
       {"Bearer t3", "Bearer", "Bearer ", "Bearert1", "Basic t1", "t1", "Bearer t1 t1",
        " Bearer t1", "Bearer T1", "Bearer t", "Bearer t11"}) {
    const auto principal = auth->Authenticate({header, {}}, ListenerKind::kInference, 0);
    EXPECT_EQ(principal.status().code(), StatusCode::kUnauthenticated) << header;
    EXPECT_THAT(principal.status().message(), Not(HasSubstr("t1"))) << header;
  }
  const std::string huge = "Bearer " + std::string(100'000, 'x');
  EXPECT_FALSE(auth->Authenticate({huge, {}}, ListenerKind::kInference, 0).ok());
}

TEST_F(AuthenticatorTest, RefusesATokenFromTheSecondItExpires) {
  const auto auth = Make("tokens:\n" + Token("a", "t", "infer", ", expires: 1970-01-01T00:01:40Z"));
  EXPECT_TRUE(auth->Authenticate({"Bearer t", {}}, ListenerKind::kInference, 99).ok());
  const auto expired = auth->Authenticate({"Bearer t", {}}, ListenerKind::kInference, 100);
  const auto unknown = auth->Authenticate({"Bearer u", {}}, ListenerKind::kInference, 100);
  EXPECT_EQ(expired.status().code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(expired.status().message(), unknown.status().message());
}

TEST_F(AuthenticatorTest, JoinsTheRolesOfACertificatesNames) {
  const auto auth = Make("tokens:\n" + Token("t", "t", "metrics") +
                         "certificates:\n"
                         "  - {name: a, subject: 'cn:a', roles: [infer]}\n"
                         "  - {name: b, subject: 'dns:b', roles: [admin]}\n");
  const auto roles_of = [&](std::vector<std::string> names, std::string_view header = "") {
    const auto principal = auth->Authenticate({header, names}, ListenerKind::kInference, 0);
    return principal.ok()
               ? (*principal)->name + ":" + ((*principal)->roles.Has(Role::kInfer) ? "i" : "") +
                     ((*principal)->roles.Has(Role::kAdmin) ? "a" : "") +
                     ((*principal)->roles.Has(Role::kMetrics) ? "m" : "")
               : "none";
  };
  EXPECT_EQ(roles_of({"cn:a"}), "a:i");
  EXPECT_EQ(roles_of({"cn:x", "dns:b"}), "b:a");
  EXPECT_EQ(roles_of({"cn:a", "dns:b"}), "a:ia");
  EXPECT_EQ(roles_of({"dns:a", "cn:b"}), ":") << "the kinds of names are not mixed up";
  EXPECT_EQ(roles_of({}), ":");
  EXPECT_EQ(roles_of({"cn:a"}, "Bearer t"), "t:m") << "a token speaks louder than a certificate";
  EXPECT_EQ(roles_of({"cn:a"}, "Bearer wrong"), "none");
}

TEST_F(AuthenticatorTest, GivesAnonymousCallersWhatTheFileSays) {
  const auto auth = Make("anonymous: [metrics]\n");
  const auto principal = auth->Authenticate({}, ListenerKind::kInference, 0);
  ASSERT_TRUE(principal.ok());
  EXPECT_EQ((*principal)->roles, Roles{Role::kMetrics});
  EXPECT_EQ(Authenticator::Authorize(**principal, Role::kInfer).code(),
            StatusCode::kUnauthenticated);
}

TEST_F(AuthenticatorTest, WithoutAFileTheListenerDecides) {
  struct Case {
    ListenerKind listener;
    bool admin_on_inference_port;
    Roles roles;
  };
  const std::vector<Case> cases = {
      {ListenerKind::kInference, false, {Role::kInfer}},
      {ListenerKind::kInference, true, {Role::kInfer, Role::kAdmin}},
      {ListenerKind::kAdmin, false, {Role::kInfer, Role::kAdmin, Role::kMetrics}},
      {ListenerKind::kMetrics, true, {Role::kMetrics}},
  };
  for (const Case& c : cases) {
    AuthOptions options;
    options.admin_on_inference_port = c.admin_on_inference_port;
    const auto auth = Authenticator::Make(options);
    ASSERT_TRUE(auth.ok());
    const auto principal = (*auth)->Authenticate({"Bearer whatever", {}}, c.listener, 0);
    ASSERT_TRUE(principal.ok());
    EXPECT_EQ((*principal)->roles, c.roles);
    options.clients_file = "/some/file";
    EXPECT_TRUE(RolesWithoutCredentials(c.listener, options).empty());
  }
}

TEST_F(AuthenticatorTest, AsksForTheRoleThatACallNeeds) {
  const Principal infer{"a", {Role::kInfer}};
  const Principal nobody{"", {Role::kInfer}};
  EXPECT_TRUE(Authenticator::Authorize(infer, Role::kInfer).ok());
  EXPECT_TRUE(Authenticator::Authorize(infer, Role::kOpen).ok());
  EXPECT_EQ(Authenticator::Authorize(infer, Role::kAdmin).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(Authenticator::Authorize(infer, Role::kMetrics).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(Authenticator::Authorize(nobody, Role::kAdmin).code(), StatusCode::kUnauthenticated);
}

TEST_F(AuthenticatorTest, KeepsTheOldClientsWhenTheNewFileIsBroken) {
  const auto auth = Make("tokens:\n" + Token("a", "t1", "infer"));
  Write("tokens:\n" + Token("a", "t2", "infer"));
  EXPECT_TRUE(auth->Authenticate({"Bearer t1", {}}, ListenerKind::kInference, 0).ok());
  ASSERT_TRUE(auth->Reload().ok());
  EXPECT_FALSE(auth->Authenticate({"Bearer t1", {}}, ListenerKind::kInference, 0).ok());
  EXPECT_TRUE(auth->Authenticate({"Bearer t2", {}}, ListenerKind::kInference, 0).ok());
  Write("tokens: {");
  EXPECT_FALSE(auth->Reload().ok());
  EXPECT_TRUE(auth->Authenticate({"Bearer t2", {}}, ListenerKind::kInference, 0).ok());
}

TEST_F(AuthenticatorTest, ReloadsUnderRequests) {
  const auto auth = Make("tokens:\n" + Token("a", "t1", "infer"));
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        const auto principal = auth->Authenticate({"Bearer t1", {}}, ListenerKind::kInference, 0);
        if (!principal.ok() || (*principal)->name != "a") refused.fetch_add(1);
      }
    });
  }
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(auth->Reload().ok());
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused.load(), 0);
}

TEST(Token, IsNewEachTimeAndOfItsForm) {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) {
    const auto token = MakeToken();
    ASSERT_TRUE(token.ok());
    EXPECT_THAT(*token, testing::MatchesRegex("vdt_[A-Za-z0-9_-]{43}"));
    tokens.insert(*token);
  }
  EXPECT_EQ(tokens.size(), 100U);
}

TEST(Token, HashIsSha256) {
  EXPECT_EQ(ToHex(HashToken("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace verdict
