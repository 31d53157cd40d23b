#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <inference.grpc.pb.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tools/load/report.h"
#include "tools/load/transport.h"

namespace verdict::load {
namespace {

using ::testing::HasSubstr;

/// A server whose model's name says how it behaves.
class FakeServer final : public inference::GRPCInferenceService::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  int port() const { return port_; }
  int calls() const { return calls_; }
  int streams() const { return streams_; }
  /// What each request had left of its time when it came.
  std::vector<int64_t> budgets_us() const {
    const std::lock_guard lock(mutex_);
    return budgets_us_;
  }

  grpc::Status ModelMetadata(grpc::ServerContext* context,
                             const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override {
    if (request->name() == "absent") return {grpc::StatusCode::NOT_FOUND, "no such model"};
    if (request->name() == "secret" && !Authorised(*context)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "no token"};
    }
    auto& input = *response->add_inputs();
    input.set_name("x");
    input.set_datatype("FP32");
    input.add_shape(-1);
    input.add_shape(2);
    return grpc::Status::OK;
  }

  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    const int call = ++calls_;
    const std::string& model = request->model_name();
    Note(std::chrono::duration_cast<std::chrono::microseconds>(context->deadline() -
                                                               std::chrono::system_clock::now())
             .count());
    if (request->raw_input_contents_size() != 1 || request->raw_input_contents(0).size() != 8) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "not the input"};
    }
    if (model == "busy" && call % 2 == 0)
      return {grpc::StatusCode::UNAVAILABLE, "the queue is full"};
    if (model == "secret" && !Authorised(*context)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "no token"};
    }
    if (model == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(300));
    response->set_model_name(model);
    return grpc::Status::OK;
  }

  grpc::Status ModelStreamInfer(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>*
          stream) override {
    ++streams_;
    inference::ModelInferRequest request;
    for (int number = 1; stream->Read(&request); ++number) {
      ++calls_;
      const auto timeout = request.parameters().find("timeout");
      if (timeout != request.parameters().end()) Note(timeout->second.int64_param());
      inference::ModelStreamInferResponse response;
      if (request.model_name() == "error" && number % 2 == 0) {
        response.set_error_message("wrong input");
      } else {
        response.mutable_infer_response()->set_model_name("m");
      }
      if (request.model_name() == "slow") {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
      }
      stream->Write(response);
      if (request.model_name() == "hang-up" && number == 3) {
        return {grpc::StatusCode::INTERNAL, "enough"};
      }
    }
    return grpc::Status::OK;
  }

 private:
  static bool Authorised(const grpc::ServerContext& context) {
    const auto it = context.client_metadata().find("authorization");
    return it != context.client_metadata().end() && it->second == "Bearer t";
  }

  void Note(int64_t budget_us) {
    const std::lock_guard lock(mutex_);
    budgets_us_.push_back(budget_us);
  }

  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<int64_t> budgets_us_;
  std::atomic<int> calls_ = 0;
  std::atomic<int> streams_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

LoadFlags FlagsFor(const FakeServer& server, const std::string& model, Protocol protocol) {
  LoadFlags flags;
  flags.model = model;
  flags.url = "127.0.0.1:" + std::to_string(server.port());
  flags.protocol = protocol;
  return flags;
}

RunOptions Options(const LoadFlags& flags, uint64_t requests) {
  RunOptions options;
  options.protocol = flags.protocol;
  options.requests = requests;
  options.deadline_ns = flags.deadline_us * 1000;
  options.worker = {.connections = 2, .concurrency = 4, .timeout_ns = 5'000'000'000};
  options.allowed = [](int ending) { return ending == 0; };
  return options;
}

Result<RunResult> Measured(const LoadFlags& flags, const RunOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const auto transport, MakeTransport(flags));
  static const std::atomic<bool> kNever = false;
  return RunLoad(
      options,
      [&](const WorkerOptions& worker, Pacer pacer, Recorder& recorder) {
        return transport->MakeWorker(worker, std::move(pacer), recorder);
      },
      nullptr, kNever);
}

class GrpcTransport : public ::testing::TestWithParam<Protocol> {};
INSTANTIATE_TEST_SUITE_P(UnaryAndStream, GrpcTransport,
                         ::testing::Values(Protocol::kGrpc, Protocol::kGrpcStream));

TEST_P(GrpcTransport, SendsExactlyTheRequestsAskedFor) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "m", GetParam());
  RunOptions options = Options(flags, 200);
  options.threads = 2;
  const auto result = Measured(flags, options);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{0, 200}}));
  EXPECT_EQ(server.calls(), 200);
  EXPECT_EQ(result->total.latency.count(), 200u);
  EXPECT_GT(result->total.latency.min_ns(), 1000);
  if (GetParam() == Protocol::kGrpcStream) {
    EXPECT_EQ(server.streams(), 4);
  }
}

TEST_P(GrpcTransport, AnOpenLoopSendsAtItsTimes) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "m", GetParam());
  RunOptions options = Options(flags, UINT64_MAX);
  options.arrivals = ArrivalKind::kConstant;
  options.rate_per_s = 200;
  options.duration_ns = 500'000'000;
  const auto result = Measured(flags, options);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{0, 100}}));
}

TEST_P(GrpcTransport, APlaceThatComesFreeWaitsForTheTimeOfTheNextRequestOnly) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "m", GetParam());
  RunOptions options = Options(flags, 100);
  options.worker.connections = options.worker.concurrency = 1;  // each request finds it in use
  options.arrivals = ArrivalKind::kConstant;
  options.rate_per_s = 500;
  const auto result = Measured(flags, options);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{0, 100}}));
  EXPECT_LT(result->total.latency.Percentile(50), 5'000'000);
}

/// Four requests in a millisecond, for which there is one place. gRPC rounds what is left of a
/// deadline up to whole milliseconds: closer bounds than that hold for requests as close as these.
RunOptions FourBehindEachOther(const LoadFlags& flags) {
  RunOptions options = Options(flags, 4);
  options.worker.connections = options.worker.concurrency = 1;
  options.arrivals = ArrivalKind::kConstant;
  options.rate_per_s = 4000;
  return options;
}

TEST_P(GrpcTransport, ASlowServerIsSeenFromTheIntendedTimes) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "slow", GetParam());
  const auto result = Measured(flags, FourBehindEachOther(flags));
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings.at(0), 4u);
  EXPECT_GE(result->total.latency.max_ns(), 1'190'000'000) << "the fourth waits for the others";
  EXPECT_GE(result->total.queued, 3u);
}

TEST_P(GrpcTransport, WhatIsLeftOfTheDeadlineGoesAlongAndWhatIsTooLateIsNotSent) {
  const FakeServer server;
  LoadFlags flags = FlagsFor(server, "slow", GetParam());
  flags.deadline_us = 450'000;
  const auto result = Measured(flags, FourBehindEachOther(flags));
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.requests(), 4u);
  EXPECT_EQ(result->total.endings.at(kDropped), 2u) << "the two in the middle";
  EXPECT_EQ(result->total.in_time, 1u);
  const std::vector<int64_t> budgets_us = server.budgets_us();
  ASSERT_EQ(budgets_us.size(), 2u);
  EXPECT_GT(budgets_us[0], 300'000);
  EXPECT_LT(budgets_us[1], 450'000 - 300'000 + 3'000) << "its time passed while it waited";
}

TEST_P(GrpcTransport, WhatIsNotAnsweredInTimeIsATimeout) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "slow", GetParam());
  RunOptions options = Options(flags, 4);
  options.worker.timeout_ns = 60'000'000;
  const auto result = Measured(flags, options);
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{kTimedOut, 4}}));
}

TEST_P(GrpcTransport, AnUnknownModelIsSaidSo) {
  const FakeServer server;
  const Status status = MakeTransport(FlagsFor(server, "absent", GetParam())).status();
  EXPECT_THAT(status.message(), HasSubstr("NOT_FOUND to ModelMetadata: no such model"));
}

TEST(GrpcUnary, StatusesAreCountedAndTheFirstOneIsKept) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "busy", Protocol::kGrpc);
  const auto result = Measured(flags, Options(flags, 100));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{0, 50}, {14, 50}}));
  EXPECT_EQ(result->total.rejected.count(), 50u);
  EXPECT_EQ(result->total.unexpected_text, "the queue is full");
}

TEST(GrpcUnary, TheDeadlineIsTheCalls) {
  const FakeServer server;
  LoadFlags flags = FlagsFor(server, "slow", Protocol::kGrpc);
  flags.deadline_us = 50'000;
  const auto result = Measured(flags, Options(flags, 4));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{4, 4}}));
}

TEST(GrpcUnary, HeadersGoAlong) {
  const FakeServer server;
  LoadFlags flags = FlagsFor(server, "secret", Protocol::kGrpc);
  EXPECT_THAT(Measured(flags, Options(flags, 2)).status().message(), HasSubstr("no token"));
  flags.headers = {"Authorization: Bearer t"};
  const auto result = Measured(flags, Options(flags, 2));
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_EQ(result->total.endings.at(0), 2u);
}

TEST(GrpcStream, ErrorsWithinAStreamLeaveItOpen) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "error", Protocol::kGrpcStream);
  RunOptions options = Options(flags, 40);
  options.worker.connections = options.worker.concurrency = 1;
  const auto result = Measured(flags, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->total.endings, (std::map<int, uint64_t>{{0, 20}, {2, 20}}));
  EXPECT_EQ(result->total.unexpected_text, "wrong input");
  EXPECT_EQ(server.streams(), 1);
}

TEST(GrpcStream, AStreamThatEndsIsOpenedAgain) {
  const FakeServer server;
  const LoadFlags flags = FlagsFor(server, "hang-up", Protocol::kGrpcStream);
  const auto result = Measured(flags, Options(flags, 40));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->total.requests(), 40u);
  EXPECT_GE(result->total.endings.at(0), 28u);
  EXPECT_GT(result->total.endings.at(13), 0u);
  EXPECT_GT(result->total.reconnects, 0u);
}

TEST(GrpcUnary, AServerThatIsNotThereIsNamed) {
  LoadFlags flags;
  flags.model = "m";
  flags.url = "127.0.0.1:1";
  flags.protocol = Protocol::kGrpc;
  const Status status = MakeTransport(flags).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("the server at 127.0.0.1:1 cannot be reached"));
  EXPECT_THAT(status.message(), HasSubstr("is `verdict serve` running there"));
}

}  // namespace
}  // namespace verdict::load
