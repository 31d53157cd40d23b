#include "serve/tls/tls_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

#include "serve/tls/certificate.h"
#include "serve/tls/test_certificates_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;
using testing::Not;

class TlsContextTest : public testing::Test {
 protected:
  TlsContextTest() {
    MakeIdentity({"test ca", ""}, nullptr, &ca_);
    MakeIdentity({"server", "DNS:localhost"}, &ca_, &server_);
    folder_.Write("ca", ca_);
    folder_.Write("server", server_);
    options_.certificate_chain = folder_ / "server.crt";
    options_.private_key = folder_ / "server.key";
  }
  Status Load() { return TlsContext::Load(options_, {"http/1.1"}).status(); }
  void ExpectRefused(StatusCode code, const std::string& message) {
    const Status status = Load();
    EXPECT_EQ(status.code(), code) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(message));
    EXPECT_THAT(status.message(), Not(HasSubstr("PRIVATE")));
  }
  static std::string ReadAll(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  CertificateFolder folder_;
  TestIdentity ca_;
  TestIdentity server_;
  TlsOptions options_;
};

TEST_F(TlsContextTest, LoadsAChainAndAKey) {
  std::ofstream(folder_ / "server.crt", std::ios::app) << ReadAll(folder_ / "ca.crt");
  const auto context = TlsContext::Load(options_, {"http/1.1"});
  ASSERT_TRUE(context.ok()) << context.status().message();
  EXPECT_NE((*context)->Current(), nullptr);
  EXPECT_NEAR(static_cast<double>((*context)->expires_s()),
              static_cast<double>(std::time(nullptr) + 3600), 60);
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs((*context)->Current().get(), &chain);
  EXPECT_EQ(sk_X509_num(chain), 1);
  EXPECT_EQ(options_.files().size(), 2U);
}

TEST_F(TlsContextTest, NamesTheFileAndWhatIsWrongWithIt) {
  const TlsOptions good = options_;
  options_.private_key.clear();
  ExpectRefused(StatusCode::kInvalidArgument, "both a certificate and its private key");
  options_ = good;
  options_.certificate_chain = folder_ / "absent.crt";
  ExpectRefused(StatusCode::kNotFound, "absent.crt");
  options_ = good;
  options_.private_key = folder_ / "absent.key";
  ExpectRefused(StatusCode::kNotFound, "absent.key");
  options_ = good;
  options_.certificate_chain = folder_ / "server.key";
  ExpectRefused(StatusCode::kInvalidArgument, "server.key: no certificate in PEM form");
  options_ = good;
  options_.private_key = folder_ / "server.crt";
  ExpectRefused(StatusCode::kInvalidArgument, "server.crt: no private key in PEM form");
  options_ = good;
  options_.private_key = folder_ / "ca.key";
  ExpectRefused(StatusCode::kInvalidArgument, "ca.key: is not the key of the certificate");
  options_ = good;
  std::ofstream(folder_ / "text.crt") << "no certificate\n";
  options_.certificate_chain = folder_ / "text.crt";
  ExpectRefused(StatusCode::kInvalidArgument, "text.crt: no certificate in PEM form");
  std::string damaged = ReadAll(folder_ / "server.crt");
  damaged.replace(100, 8, "AAAA!AAA");
  std::ofstream(folder_ / "damaged.crt") << damaged;
  options_.certificate_chain = folder_ / "damaged.crt";
  ExpectRefused(StatusCode::kInvalidArgument, "damaged.crt: certificate 1 is damaged");
  std::ofstream(folder_ / "big.crt") << std::string(5 << 20, ' ');
  options_.certificate_chain = folder_ / "big.crt";
  ExpectRefused(StatusCode::kInvalidArgument, "big.crt: larger than");
}

TEST_F(TlsContextTest, RefusesAnEncryptedKeyWithoutAskingForItsPassphrase) {
  const std::string path = folder_ / "locked.key";
  std::FILE* out = std::fopen(path.c_str(), "w");
  PEM_write_PrivateKey(out, server_.key, EVP_aes_128_cbc(),
                       reinterpret_cast<const unsigned char*>("pass"), 4, nullptr, nullptr);
  std::fclose(out);
  options_.private_key = path;
  ExpectRefused(StatusCode::kInvalidArgument, "locked.key: the private key is encrypted");
}

TEST_F(TlsContextTest, RefusesACertificateOutOfItsTime) {
  TestIdentity expired;
  MakeIdentity({"server", "DNS:localhost", -7200, -3600}, &ca_, &expired);
  folder_.Write("server", expired);
  ExpectRefused(StatusCode::kFailedPrecondition, "server.crt: the certificate has expired on 2");
  TestIdentity early;
  MakeIdentity({"server", "DNS:localhost", 3600, 7200}, &ca_, &early);
  folder_.Write("server", early);
  ExpectRefused(StatusCode::kFailedPrecondition, "server.crt: the certificate is not valid before");
}

TEST_F(TlsContextTest, RefusesOptionsThatContradictEachOther) {
  options_.client_auth = ClientAuth::kRequired;
  ExpectRefused(StatusCode::kInvalidArgument, "needs the CA");
  options_.client_ca = folder_ / "ca.crt";
  EXPECT_TRUE(Load().ok());
  options_.client_auth = ClientAuth::kNone;
  ExpectRefused(StatusCode::kInvalidArgument, "clients are not asked");
  options_.client_auth = ClientAuth::kOptional;
  TestIdentity expired;
  MakeIdentity({"old ca", "", -7200, -3600}, nullptr, &expired);
  folder_.Write("ca", expired);
  ExpectRefused(StatusCode::kFailedPrecondition, "ca.crt: the certificate has expired");
}

TEST_F(TlsContextTest, KeepsWhatItHasWhenNewFilesAreBroken) {
  const auto context = TlsContext::Load(options_, {"http/1.1"});
  ASSERT_TRUE(context.ok());
  const auto before = (*context)->Current();
  TestIdentity other;
  MakeIdentity({"server", "DNS:localhost", -10, 7200}, &ca_, &other);
  std::filesystem::rename(folder_ / "server.key", folder_ / "old.key");
  folder_.Write("server", other);
  std::filesystem::rename(folder_ / "old.key", folder_ / "server.key");
  EXPECT_FALSE((*context)->Reload().ok()) << "the certificate is new, the key is not yet";
  EXPECT_EQ((*context)->Current(), before);
  folder_.Write("server", other);
  const int64_t expires = (*context)->expires_s();
  EXPECT_TRUE((*context)->Reload().ok());
  EXPECT_NE((*context)->Current(), before);
  EXPECT_GT((*context)->expires_s(), expires + 3000);
}

}  // namespace
}  // namespace verdict
