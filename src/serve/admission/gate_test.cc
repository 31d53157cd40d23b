#include "serve/admission/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

namespace verdict {
namespace {

using testing::HasSubstr;

const auto kStart = Gate::Clock::time_point(std::chrono::seconds(1000));

class GateTest : public testing::Test {
 protected:
  GateTest() : file_(testing::TempDir() + "/gate." + std::to_string(::getpid())) {
    std::ofstream out(file_);
    out << "tokens:\n";
    for (const char* role : {"infer", "admin", "metrics"}) {
      out << "  - {name: " << role << ", sha256: " << ToHex(HashToken(role)) << ", roles: [" << role
          << "]}\n";
    }
  }
  ~GateTest() override { std::filesystem::remove(file_); }

  std::unique_ptr<Gate> Make(const AdmissionOptions& options) {
    auto gate = Gate::Make(options);
    EXPECT_TRUE(gate.ok()) << gate.status().message();
    return *std::move(gate);
  }
  static StatusCode Enter(Gate& gate, const Caller& caller, Role needed) {
    Admission admission;
    return gate.Enter(caller, needed, kStart, &admission).status.code();
  }

  std::string file_;
};

TEST_F(GateTest, RolesDecide) {
  AdmissionOptions options;
  options.auth.clients_file = file_;
  const auto gate = Make(options);
  const std::vector<std::pair<std::string, Role>> tokens = {
      {"infer", Role::kInfer}, {"admin", Role::kAdmin}, {"metrics", Role::kMetrics}};
  for (const auto& [token, has] : tokens) {
    Caller caller;
    const std::string header = "Bearer " + token;
    caller.credentials.authorization = header;
    for (Role needed : {Role::kOpen, Role::kInfer, Role::kAdmin, Role::kMetrics}) {
      EXPECT_EQ(Enter(*gate, caller, needed), needed == has || needed == Role::kOpen
                                                  ? StatusCode::kOk
                                                  : StatusCode::kPermissionDenied)
          << token << " for " << RoleName(needed);
    }
  }
  Caller wrong;
  wrong.credentials.authorization = "Bearer no";
  EXPECT_EQ(Enter(*gate, wrong, Role::kOpen), StatusCode::kOk) << "health is open";
  EXPECT_EQ(Enter(*gate, wrong, Role::kInfer), StatusCode::kUnauthenticated);
  EXPECT_EQ(Enter(*gate, Caller(), Role::kInfer), StatusCode::kUnauthenticated);
  EXPECT_EQ(gate->denied(Denied::kPermission), 6U);
  EXPECT_EQ(gate->denied(Denied::kUnauthenticated), 2U);
}

TEST_F(GateTest, AWebPageIsNotTheOperatorWhoVisitsIt) {
  const auto open = Make({});
  Caller caller;
  caller.listener = ListenerKind::kAdmin;
  EXPECT_EQ(Enter(*open, caller, Role::kAdmin), StatusCode::kOk);
  caller.from_browser = true;
  EXPECT_EQ(Enter(*open, caller, Role::kAdmin), StatusCode::kPermissionDenied);
  EXPECT_EQ(Enter(*open, caller, Role::kInfer), StatusCode::kOk);
  caller.credentials.authorization = "Bearer admin";
  EXPECT_EQ(Enter(*open, caller, Role::kAdmin), StatusCode::kPermissionDenied)
      << "nobody has verified it";
  AdmissionOptions options;
  options.auth.clients_file = file_;
  EXPECT_EQ(Enter(*Make(options), caller, Role::kAdmin), StatusCode::kOk);
  caller.credentials.authorization = "Bearer no";
  EXPECT_EQ(Enter(*Make(options), caller, Role::kAdmin), StatusCode::kUnauthenticated);
}

TEST_F(GateTest, LimitsWithAHintWhenToComeAgain) {
  AdmissionOptions options;
  options.limits.client = {.requests_per_s = 0.1, .burst = 1};
  const auto gate = Make(options);
  Caller caller;
  caller.address = "10.0.0.1";
  Admission admission;
  EXPECT_TRUE(gate->Enter(caller, Role::kInfer, kStart, &admission).status.ok());
  const Refusal refusal = gate->Enter(caller, Role::kInfer, kStart, &admission);
  EXPECT_EQ(refusal.status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(refusal.client_limit);
  EXPECT_EQ(refusal.retry_after, std::chrono::seconds(10));
  EXPECT_EQ(gate->denied(Denied::kClientRate), 1U);
  EXPECT_EQ(Enter(*gate, caller, Role::kOpen), StatusCode::kOk);
}

TEST_F(GateTest, AdminWorksWhileClientsFillTheServer) {
  AdmissionOptions options;
  options.limits.total.max_in_flight = 1;
  const auto gate = Make(options);
  Caller caller;
  Admission running;
  EXPECT_TRUE(gate->Enter(caller, Role::kInfer, kStart, &running).status.ok());
  Admission other;
  const Refusal refusal = gate->Enter(caller, Role::kInfer, kStart, &other);
  EXPECT_EQ(refusal.status.code(), StatusCode::kResourceExhausted);
  EXPECT_FALSE(refusal.client_limit);
  EXPECT_GT(refusal.retry_after.count(), 0);
  caller.listener = ListenerKind::kAdmin;
  EXPECT_EQ(Enter(*gate, caller, Role::kAdmin), StatusCode::kOk);
  running = {};
  EXPECT_EQ(Enter(*gate, caller, Role::kInfer), StatusCode::kOk);
}

TEST_F(GateTest, ShedsByPriority) {
  AdmissionOptions options;
  options.limits.total.max_in_flight = 10;
  const auto gate = Make(options);
  std::vector<Admission> running(9);
  for (Admission& admission : running) {
    ASSERT_TRUE(gate->Enter(Caller(), Role::kInfer, kStart, &admission).status.ok());
  }
  EXPECT_TRUE(gate->AdmitPriority(1, kStart).status.ok());
  const Refusal refusal = gate->AdmitPriority(3, kStart);
  EXPECT_EQ(refusal.status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(gate->denied(Denied::kShed), 1U);
  running.clear();
  EXPECT_TRUE(gate->AdmitPriority(3, kStart).status.ok());
}

TEST_F(GateTest, AdmitsAsManyAsAreAllowed) {
  for (const int allowed : {1, 2, 3}) {
    AdmissionOptions options;
    options.limits.total.max_in_flight = allowed;
    const auto gate = Make(options);
    std::vector<Admission> running(static_cast<size_t>(allowed));
    for (Admission& admission : running) {
      ASSERT_TRUE(gate->Enter(Caller(), Role::kInfer, kStart, &admission).status.ok());
      EXPECT_TRUE(gate->AdmitPriority(1, kStart).status.ok()) << allowed;
    }
  }
}

TEST_F(GateTest, ShedsByTheQueuesDelay) {
  AdmissionOptions options;
  options.shed.queue_delay_watermark = std::chrono::milliseconds(1);
  const auto gate = Make(options);
  EXPECT_TRUE(gate->AdmitPriority(3, kStart).status.ok());
  for (int i = 0; i < 200; ++i) gate->ObserveQueueDelay(std::chrono::milliseconds(5), kStart);
  EXPECT_FALSE(gate->AdmitPriority(1, kStart).status.ok());
  EXPECT_TRUE(gate->AdmitPriority(1, kStart + std::chrono::seconds(1)).status.ok());
}

TEST_F(GateTest, NamesEveryReason) {
  for (size_t i = 0; i < kNumDenied; ++i) {
    EXPECT_NE(DeniedName(static_cast<Denied>(i)), "unknown");
  }
}

}  // namespace
}  // namespace verdict
