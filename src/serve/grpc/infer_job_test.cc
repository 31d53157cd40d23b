#include "serve/grpc/infer_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "serve/batching/scheduler.h"
#include "serve/grpc/message_bytes.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using Clock = Job::Clock;

constexpr size_t kMostBytes = 1 << 20;

class TestJob final : public InferJob {
 public:
  TestJob(Service& service, MemoryBudget& budget)
      : InferJob(service, 0, budget, kMostBytes), gate_(service.gate()) {}
  void Start(const grpc::ByteBuffer& bytes) { InferJob::Start(bytes, context_); }
  int answers = 0;
  int64_t in_flight_at_answer = 0;  // by the limiter
  Status status;
  inference::ModelInferResponse response;

 private:
  void Answer(const Status& the_status, const grpc::ByteBuffer& answer) override {
    ++answers;
    in_flight_at_answer = gate_.limiter().in_flight();
    status = the_status;
    EXPECT_TRUE(!status.ok() || ReadMessage(answer, &response).ok());
  }
  bool is_stream() const override { return false; }
  std::shared_ptr<Job> self() override { return nullptr; }  // it is never queued here

  Gate& gate_;
  grpc::ServerContext context_;
};

std::unique_ptr<Gate> GateForOneAtATime() {
  AdmissionOptions options;
  options.limits.total.max_in_flight = 1;
  return *Gate::Make(options);
}

class InferJobTest : public testing::Test {
 protected:
  InferJobTest() {
    const ModelHost host{1, &service_.metrics(), scheduler_.get(), {}, {}};
    auto model = LoadedModel::FromEngine("m", 1, SmallEngine(1), {}, host);
    VERDICT_CHECK(model.ok());
    model_ = *model;
    auto models = std::make_shared<ModelSet>();
    models->Put("m", {1, model_, ""});
    service_.models().Replace(std::move(models));
    inference::ModelInferRequest request;
    request.set_model_name("m");
    request.set_id("7");
    Add(&request, "x", "FP32", {1, 3})->add_fp32_contents(1);
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(2);
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(3);
    Add(&request, "text", "BYTES", {1})->add_bytes_contents("hello");
    VERDICT_CHECK(WriteMessage(request, &bytes_).ok());
  }
  static inference::InferTensorContents* Add(inference::ModelInferRequest* request,
                                             const char* name, const char* datatype,
                                             std::initializer_list<int64_t> shape) {
    auto* const tensor = request->add_inputs();
    tensor->set_name(name);
    tensor->set_datatype(datatype);
    for (const int64_t extent : shape) tensor->add_shape(extent);
    return tensor->mutable_contents();
  }

  Service service_{1, 1, {}, GateForOneAtATime()};
  MemoryBudget budget_{1 << 20};
  std::unique_ptr<Scheduler> scheduler_ = Scheduler::Start(1).value();
  std::shared_ptr<const LoadedModel> model_;
  grpc::ByteBuffer bytes_;
};

TEST_F(InferJobTest, AnswersWithRawContents) {
  TestJob job(service_, budget_);
  job.Start(bytes_);
  ASSERT_EQ(job.answers, 1);
  ASSERT_TRUE(job.status.ok()) << job.status.ToString();
  EXPECT_EQ(job.response.id(), "7");
  EXPECT_EQ(job.response.model_version(), "1");
  const float y[] = {2, 4, 6};
  ASSERT_EQ(job.response.raw_output_contents_size(), 2);
  EXPECT_EQ(job.response.raw_output_contents(0),
            std::string(reinterpret_cast<const char*>(y), sizeof(y)));
  EXPECT_EQ(job.response.raw_output_contents(1), std::string("\5\0\0\0hello", 9));
}

TEST_F(InferJobTest, IsNoLongerUnderWayWhenItIsAnswered) {
  // The client may send its next request before this one's memory is given back.
  TestJob answered(service_, budget_);
  answered.Start(bytes_);
  EXPECT_TRUE(answered.status.ok()) << answered.status.ToString();
  EXPECT_EQ(answered.in_flight_at_answer, 0);
  TestJob refused(service_, budget_);
  inference::ModelInferRequest unknown;
  unknown.set_model_name("unknown");
  grpc::ByteBuffer bytes;
  ASSERT_TRUE(WriteMessage(unknown, &bytes).ok());
  refused.Start(bytes);
  EXPECT_EQ(refused.status.code(), StatusCode::kNotFound) << refused.status.ToString();
  EXPECT_EQ(refused.in_flight_at_answer, 0);
}

TEST_F(InferJobTest, WhatTheGateRefusesKeptTheThreadToo) {
  service_.SetScheduler(scheduler_.get());
  ModelConfig config{.max_batch_size = 2};
  config.dynamic_batching.emplace();
  const ModelHost host{1, &service_.metrics(), scheduler_.get(), {}, {}};
  const auto batched = LoadedModel::FromEngine("b", 1, SmallEngine(1), config, host).value();
  while (!scheduler_->has_idle_thread()) std::this_thread::yield();
  for (int i = 0; i < kAloneInARow; ++i) EndOfInference(Clock::now() + kBusyWithin);
  std::this_thread::sleep_for(kBusyWithin);
  const auto before = Clock::now();
  ASSERT_TRUE(RunsHere(service_, *batched, 1, before));

  Admission under_way;
  Caller caller;
  ASSERT_TRUE(service_.gate().Enter(caller, Role::kInfer, before, &under_way).status.ok());
  TestJob refused(service_, budget_);
  refused.Start(bytes_);
  EXPECT_EQ(refused.answers, 1);
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted) << refused.status.ToString();
  EXPECT_FALSE(RunsHere(service_, *batched, 1, before)) << "it came while the thread refused one";
}

TEST_F(InferJobTest, RefusesWhatThereIsNoMemoryToHold) {
  // Strings of nothing: 2 bytes each on the wire, many more when read.
  inference::ModelInferRequest request;
  request.set_model_name("m");
  auto* const text = Add(&request, "text", "BYTES", {20'000});
  for (int i = 0; i < 20'000; ++i) text->add_bytes_contents("");
  grpc::ByteBuffer bytes;
  ASSERT_TRUE(WriteMessage(request, &bytes).ok());
  ASSERT_LT(bytes.Length(), 50'000U);
  {
    MemoryBudget enough(8 << 20);
    TestJob held(service_, enough);
    held.Start(bytes);
    EXPECT_EQ(held.status.code(), StatusCode::kInvalidArgument) << "it is read: x is missing";
    EXPECT_GT(enough.used(), 20'000 * sizeof(std::string));
  }
  MemoryBudget little(300'000);
  TestJob refused(service_, little);
  refused.Start(bytes);
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted) << refused.status.ToString();
  EXPECT_EQ(little.used(), 0U);
  TestJob small(service_, little);
  small.Start(bytes_);
  EXPECT_TRUE(small.status.ok()) << small.status.ToString();
}

TEST_F(InferJobTest, RefusesTensorsOfNothingBeforeTheyTakeMemory) {
  // 2 bytes each on the wire, hundreds when read.
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += std::string("\x2a\x00", 2);
  const grpc::Slice few(text);
  MemoryBudget little(4 << 20);
  TestJob refused(service_, little);
  refused.Start(grpc::ByteBuffer(&few, 1));
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted) << refused.status.ToString();
  EXPECT_THAT(refused.status.message(), testing::HasSubstr("send fewer elements"));
  EXPECT_LT(refused.message_bytes(), 4096U);
  text += text;
  const grpc::Slice many(text);
  TestJob absurd(service_, budget_);
  absurd.Start(grpc::ByteBuffer(&many, 1));
  EXPECT_EQ(absurd.status.code(), StatusCode::kInvalidArgument) << absurd.status.ToString();
  EXPECT_LT(absurd.message_bytes(), 4096U);
}

TEST_F(InferJobTest, CountsAtLeastWhatAMessageTakes) {
  inference::ModelInferRequest request;
  request.set_model_name(std::string(100, 'm'));
  for (int i = 0; i < 300; ++i) {
    auto* const contents = Add(&request, "tensor", "FP32", {1, 2, 3});
    for (int j = 0; j < i; ++j) {
      contents->add_bytes_contents(std::string(static_cast<size_t>(j), 'x'));
      contents->add_int_contents(j);
      contents->add_int64_contents(-j);
      contents->add_fp64_contents(j);
      contents->add_bool_contents(true);
    }
    (*request.mutable_parameters())["p" + std::to_string(i)].set_int64_param(i);
    request.add_raw_input_contents("1234");
    request.add_outputs()->set_name("output");
  }
  grpc::ByteBuffer bytes;
  ASSERT_TRUE(WriteMessage(request, &bytes).ok());
  const auto counted = ParsedBytes(bytes, *request.GetDescriptor());
  ASSERT_TRUE(counted.ok()) << counted.status().ToString();
  google::protobuf::Arena arena;
  auto* const parsed = google::protobuf::Arena::CreateMessage<inference::ModelInferRequest>(&arena);
  ASSERT_TRUE(ParseMessage(bytes, parsed).ok());
  EXPECT_GE(*counted, arena.SpaceAllocated());
  EXPECT_LT(*counted, 5 * arena.SpaceAllocated());
}

TEST_F(InferJobTest, GivesTheMemoryBack) {
  inference::ModelInferRequest request;
  request.set_model_name(std::string(10'000, 'm'));
  grpc::ByteBuffer bytes;
  ASSERT_TRUE(WriteMessage(request, &bytes).ok());
  {
    TestJob job(service_, budget_);
    job.Start(bytes);
    EXPECT_GE(budget_.used(), 10'000U);
  }
  EXPECT_EQ(budget_.used(), 0U);
}

TEST_F(InferJobTest, ExecutesNothingAfterItsDeadline) {
  TestJob job(service_, budget_);
  service_.SetDeadlines({.default_us = 1});
  job.Start(bytes_);
  EXPECT_EQ(job.answers, 1);
  EXPECT_EQ(job.status.code(), StatusCode::kDeadlineExceeded);
  const ModelTotals totals = model_->metrics().Sum();
  EXPECT_EQ(totals.executions, 0u);
  EXPECT_EQ(totals.failures[static_cast<size_t>(FailureReason::kRejected)], 1u);
}

TEST(ToJobDeadline, IsUnlimitedWithoutOneOrInCenturies) {
  EXPECT_EQ(ToJobDeadline(gpr_inf_future(GPR_CLOCK_REALTIME)), Clock::time_point::max());
  const gpr_timespec now = gpr_now(GPR_CLOCK_REALTIME);
  const gpr_timespec centuries = gpr_time_from_hours(int64_t{99'999'999}, GPR_TIMESPAN);
  EXPECT_EQ(ToJobDeadline(gpr_time_add(now, centuries)), Clock::time_point::max());
  const auto soon = ToJobDeadline(gpr_time_add(now, gpr_time_from_seconds(5, GPR_TIMESPAN)));
  EXPECT_LE(soon, Clock::now() + std::chrono::seconds(5));
  EXPECT_GT(soon, Clock::now() + std::chrono::seconds(4));
  EXPECT_LT(ToJobDeadline(gpr_inf_past(GPR_CLOCK_REALTIME)), Clock::now());
}

}  // namespace
}  // namespace verdict
