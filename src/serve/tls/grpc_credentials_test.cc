#include "serve/tls/grpc_credentials.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "serve/tls/test_certificates_test.h"

namespace verdict {
namespace {

using testing::Contains;
using testing::IsEmpty;

/// Answers every call with the names of the client's certificate.
class NamesService : public grpc::CallbackGenericService {
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(grpc::GenericCallbackServerContext* context)
        : names_(ClientNamesOf(*context->auth_context())) {
      for (const std::string& name : names_) context->AddTrailingMetadata("name", name);
      Finish(grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    std::vector<std::string> names_;
  };
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Reactor(context);
  }
};

class GrpcCredentialsTest : public testing::Test {
 protected:
  GrpcCredentialsTest() {
    MakeIdentity({"test ca", ""}, nullptr, &ca_);
    MakeIdentity({"server", "DNS:localhost"}, &ca_, &server_);
    MakeIdentity({"checkout", "DNS:a.example,URI:spiffe://bank/checkout"}, &ca_, &client_);
    folder_.Write("ca", ca_);
    folder_.Write("server", server_);
    folder_.Write("client", client_);
    options_.certificate_chain = folder_ / "server.crt";
    options_.private_key = folder_ / "server.key";
  }
  ~GrpcCredentialsTest() override {
    if (grpc_ != nullptr) grpc_->Shutdown(std::chrono::system_clock::now());
  }

  void Start() {
    tls_ = TlsContext::Load(options_, {"h2"}).value();
    credentials_ = MakeGrpcCredentials(tls_).value();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials_, &port_);
    builder.RegisterCallbackGenericService(&service_);
    grpc_ = builder.BuildAndStart();
    ASSERT_NE(grpc_, nullptr);
  }
  static std::string ReadAll(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// The names the server saw; "refused" if there was no answer.
  std::vector<std::string> Ask(const std::string& identity, const std::string& trusted = "ca") {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = ReadAll(folder_ / (trusted + ".crt"));
    if (!identity.empty()) {
      ssl.pem_cert_chain = ReadAll(folder_ / (identity + ".crt"));
      ssl.pem_private_key = ReadAll(folder_ / (identity + ".key"));
    }
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("localhost");
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    const auto channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                                   grpc::SslCredentials(ssl), arguments);
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::CompletionQueue queue;
    auto call = stub.PrepareUnaryCall(&context, "/test.Names/Get", grpc::ByteBuffer(), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    // The service answers without a message, which a unary call takes for an error of the server;
    // its trailers tell that it was reached.
    std::vector<std::string> names;
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
        status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      return {"refused"};
    }
    for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
      if (key == "name") names.emplace_back(value.data(), value.size());
    }
    return names;
  }

  CertificateFolder folder_;
  TestIdentity ca_;
  TestIdentity server_;
  TestIdentity client_;
  TlsOptions options_;
  std::shared_ptr<TlsContext> tls_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  NamesService service_;
  std::unique_ptr<grpc::Server> grpc_;
  int port_ = 0;
};

TEST_F(GrpcCredentialsTest, ServesWithoutAskingForCertificates) {
  Start();
  EXPECT_THAT(Ask(""), IsEmpty());
  EXPECT_THAT(Ask("client"), IsEmpty()) << "a certificate that nobody verified has no names";
  EXPECT_THAT(Ask("", "client"), testing::ElementsAre("refused"));
}

TEST_F(GrpcCredentialsTest, KnowsAVerifiedClientByItsNames) {
  options_.client_auth = ClientAuth::kRequired;
  options_.client_ca = folder_ / "ca.crt";
  Start();
  const auto names = Ask("client");
  EXPECT_THAT(names, Contains("cn:checkout"));
  EXPECT_THAT(names, Contains("dns:a.example"));
  EXPECT_THAT(names, Contains("uri:spiffe://bank/checkout"));
  EXPECT_THAT(Ask(""), testing::ElementsAre("refused"));
  TestIdentity stranger;
  MakeIdentity({"checkout", "DNS:a.example"}, nullptr, &stranger);
  folder_.Write("stranger", stranger);
  EXPECT_THAT(Ask("stranger"), testing::ElementsAre("refused"));
}

TEST_F(GrpcCredentialsTest, AnOptionalCertificateMustBeGoodIfShown) {
  options_.client_auth = ClientAuth::kOptional;
  options_.client_ca = folder_ / "ca.crt";
  Start();
  EXPECT_THAT(Ask(""), IsEmpty());
  EXPECT_THAT(Ask("client"), Contains("cn:checkout"));
  TestIdentity expired;
  MakeIdentity({"checkout", "DNS:a.example", -7200, -3600}, &ca_, &expired);
  folder_.Write("expired", expired);
  EXPECT_THAT(Ask("expired"), testing::ElementsAre("refused"));
}

TEST_F(GrpcCredentialsTest, TakesNewCertificatesWhileItRuns) {
  Start();
  EXPECT_THAT(Ask(""), IsEmpty());
  TestIdentity other_ca;
  MakeIdentity({"other ca", ""}, nullptr, &other_ca);
  TestIdentity other;
  MakeIdentity({"server", "DNS:localhost"}, &other_ca, &other);
  folder_.Write("other", other_ca);
  folder_.Write("server", other);
  EXPECT_THAT(Ask("", "ca"), IsEmpty()) << "nobody has read it yet";
  ASSERT_TRUE(tls_->Reload().ok());
  EXPECT_THAT(Ask("", "other"), IsEmpty());
  EXPECT_THAT(Ask("", "ca"), testing::ElementsAre("refused"));
  std::ofstream(folder_ / "server.crt") << "broken";
  EXPECT_FALSE(tls_->Reload().ok());
  EXPECT_THAT(Ask("", "other"), IsEmpty()) << "the old pair stays";
}

TEST_F(GrpcCredentialsTest, CannotBeHeldToTls13) {
  options_.min_version = TlsVersion::k13;
  const auto tls = TlsContext::Load(options_, {"h2"}).value();
  EXPECT_EQ(MakeGrpcCredentials(tls).status().code(), StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace verdict
