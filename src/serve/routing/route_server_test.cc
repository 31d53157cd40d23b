#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/http_client_test.h"
#include "serve/server.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using namespace std::chrono_literals;

constexpr char kDeep[] = R"("data":[5,6,7])", kLight[] = R"("data":[14,24,34])",
               kLastResort[] = R"("data":[0.5,0.5,0.5])";

/// A server whose route goes down from "deep" to "light" to a constant.
class RouteServer : public testing::TestWithParam<bool> {
 protected:
  RouteServer() {
    options_.repository =
        std::filesystem::path(testing::TempDir()) / ("routes." + std::to_string(::getpid()));
    std::filesystem::create_directories(options_.repository);
    options_.http_host = options_.grpc_host = "127.0.0.1";
    options_.http_port = options_.metrics_port = options_.admin_port = options_.grpc_port = 0;
    options_.io_threads = 2;
    options_.compute_threads = 2;
    options_.drain = 0ms;
    RouteOptions route;
    route.rungs = {{"deep", ""}, {"light", ""}};
    route.constants = {{"y", 0.5F}};
    route.patience = 5ms;
    route.breaker.open_ms = 1;
    route.breaker.max_open_ms = 4;
    options_.routes["risk"] = route;
    auto server = Server::Start(options_);
    VERDICT_CHECK(server.ok());
    server_ = *std::move(server);
    server_->WaitUntilLoaded();
    LoadModels();
    server_->service().SetModelsReady(true);
  }
  ~RouteServer() override {
    server_.reset();
    std::filesystem::remove_all(options_.repository);
  }

  /// New ones in the place of those that are there.
  void LoadModels() {
    Service& service = server_->service();
    ModelConfig config;
    if (GetParam()) {  // on compute threads; else where the request is read
      config.instance_kind = InstanceKind::kCpu;
      config.instance_count = 1;
    }
    auto models = std::make_shared<ModelSet>();
    const ModelHost host{service.workers(), &service.metrics(), &service.scheduler(), {}};
    for (const auto& [name, step] : {std::pair("deep", 1.0F), std::pair("light", 10.0F)}) {
      auto model = LoadedModel::FromEngine(name, 1, SmallEngine(step), config, host);
      VERDICT_CHECK(model.ok());
      models->Put(name, {1, *model, ""});
    }
    service.models().Replace(std::move(models));
  }
  void Order(FaultPoint::Kind kind, double share = 1, std::chrono::microseconds delay = 0us) {
    const auto models = server_->service().models().Current();
    const auto deep = models->Find("deep", "");
    if (deep.ok()) (*deep)->queue()->faults().Set(kind, share, delay);
  }
  uint16_t port() const {
    const std::string& url = server_->http_url();
    return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }
  static std::string Request() {
    return Post("/v2/models/risk/infer",
                R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[4,4,4]},)"
                R"({"name":"text","datatype":"BYTES","shape":[1],"data":["t"]}],)"
                R"("outputs":[{"name":"y"}]})",
                "Verdict-Deadline-Us: 200000\r\n");
  }

  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

/// Whatever goes wrong with the first model, and while models come, go and are replaced, every
/// request gets an answer that some rung gives.
TEST_P(RouteServer, AnswersWhateverGoesWrong) {
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::map<std::string, int> seen;
  std::vector<std::string> others;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      Client client(port());
      while (!stop.load()) {
        const Response response = client.Ask(Request());
        const std::lock_guard lock(mutex);
        bool known = false;
        for (const char* answer : {kDeep, kLight, kLastResort}) {
          if (response.code != 200 || response.body.find(answer) == std::string::npos) continue;
          ++seen[answer];
          known = true;
        }
        if (!known) others.push_back(std::to_string(response.code) + " " + response.body);
        if (response.code == 0) return;
      }
    });
  }
  using Kind = FaultPoint::Kind;
  for (int round = 0; round < 4; ++round) {
    for (const auto& [kind, share] :
         {std::pair(Kind::kError, 1.0), std::pair(Kind::kNotANumber, 0.5),
          std::pair(Kind::kDelay, 0.3), std::pair(Kind::kNone, 1.0)}) {
      Order(kind, share, 30ms);
      std::this_thread::sleep_for(60ms);
    }
    server_->service().models().Replace(std::make_shared<ModelSet>());  // none is there
    std::this_thread::sleep_for(20ms);
    LoadModels();
  }
  stop.store(true);
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(others, testing::IsEmpty());
  EXPECT_GT(seen[kDeep], 0);
  EXPECT_GT(seen[kLight], 0);
  EXPECT_GT(seen[kLastResort], 0);
}

TEST_P(RouteServer, ClientsThatGoAwayLeaveNoProbeBehind) {
  Order(FaultPoint::Kind::kError);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(Client(port()).Ask(Request()).code, 200);
  Order(FaultPoint::Kind::kDelay, 1, 20ms);
  const Route* const route = server_->service().routes().Find("risk");
  for (int i = 0; i < 30; ++i) {
    Client client(port());
    client.Send(Request());
    std::this_thread::sleep_for(1ms);
  }
  Order(FaultPoint::Kind::kNone);
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (route->rung(0).breaker.state() != Breaker::State::kClosed) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "it never closes again";
    EXPECT_EQ(Client(port()).Ask(Request()).code, 200);
    std::this_thread::sleep_for(2ms);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, RouteServer, testing::Bool());

}  // namespace
}  // namespace verdict
