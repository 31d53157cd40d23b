#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "serve/http/server.h"
#include "serve/http_client_test.h"

namespace verdict {
namespace {

/// Keeps every request until the test answers it.
class KeepingHandler : public HttpHandler {
 public:
  void Handle(int, HttpRequest& request, HttpResponse* response) override {
    if (request.head.target == "/now") {
      response->body = "now";
      return;
    }
    auto deferral = request.Defer();
    deferral->OnCancel([this] { canceled.fetch_add(1); });
    response->deferred = true;
    const std::lock_guard lock(mutex_);
    kept_.emplace_back(std::string(request.body.text()), std::move(deferral));
    changed_.notify_all();
  }
  void Count(int, int) override {}
  void CountConnection(int, bool opened) override { open.fetch_add(opened ? 1 : -1); }
  void CountRefused() override {}

  /// Waits until so many are kept, and answers the first with its own body and `suffix`.
  void AnswerFirst(size_t wait_for, const std::string& suffix) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20),
                                  [&] { return kept_.size() >= wait_for; }));
    auto [body, deferral] = std::move(kept_.front());
    kept_.erase(kept_.begin());
    lock.unlock();
    HttpResponse response;
    response.body = body + suffix;
    deferral->Respond(std::move(response));
  }

  std::atomic<int> canceled{0};
  std::atomic<int> open{0};

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, std::shared_ptr<HttpDeferral>>> kept_;
};

class HttpDeferralTest : public testing::Test {
 protected:
  void SetUp() override {
    HttpLimits limits;
    limits.idle_timeout = std::chrono::milliseconds(200);
    auto server = HttpServer::Start("127.0.0.1", 0, 1, limits, handler_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
  }
  bool WaitFor(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  KeepingHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpDeferralTest, OthersAreServedMeanwhileAndTheAnswerComesInTheEnd) {
  Client slow(server_->port());
  ASSERT_TRUE(slow.Send(Post("/later", "a")));
  Client quick(server_->port());
  EXPECT_EQ(quick.Ask(Get("/now")).body, "now");
  // Longer than an idle connection may last: one that waits for its answer is not idle.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  handler_.AnswerFirst(1, "!");
  EXPECT_EQ(slow.Read().body, "a!");
  EXPECT_EQ(slow.Ask(Get("/now")).body, "now");
  EXPECT_EQ(handler_.canceled.load(), 0);
}

TEST_F(HttpDeferralTest, PipelinedRequestsAreAnsweredInOrder) {
  Client client(server_->port());
  ASSERT_TRUE(client.Send(Post("/later", "a") + Post("/later", "b") + Get("/now")));
  handler_.AnswerFirst(1, "1");
  handler_.AnswerFirst(1, "2");
  EXPECT_EQ(client.Read().body, "a1");
  EXPECT_EQ(client.Read().body, "b2");
  EXPECT_EQ(client.Read().body, "now");
}

TEST_F(HttpDeferralTest, ARequestThatComesWhileOneIsAnsweredWaits) {
  Client client(server_->port());
  ASSERT_TRUE(client.Send(Post("/later", "a")));
  ASSERT_TRUE(WaitFor([&] { return handler_.open.load() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(client.Send(Get("/now")));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  handler_.AnswerFirst(1, "");
  EXPECT_EQ(client.Read().body, "a");
  EXPECT_EQ(client.Read().body, "now");
}

TEST_F(HttpDeferralTest, AClientThatGoesAwayIsNoticedAndItsAnswerDropped) {
  {
    Client client(server_->port());
    ASSERT_TRUE(client.Send(Post("/later", "a")));
    ASSERT_TRUE(WaitFor([&] { return handler_.open.load() == 1; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(WaitFor([&] { return handler_.canceled.load() == 1 && handler_.open.load() == 0; }));
  handler_.AnswerFirst(1, "too late");
  EXPECT_TRUE(WaitFor([&] { return server_->connections() == 0; })) << "its memory is given back";
}

TEST_F(HttpDeferralTest, DrainWaitsForTheAnswer) {
  Client client(server_->port());
  ASSERT_TRUE(client.Send(Post("/later", "a")));
  ASSERT_TRUE(WaitFor([&] { return handler_.open.load() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server_->BeginDrain();
  server_->StopAccepting();
  EXPECT_FALSE(server_->WaitUntilIdle(std::chrono::milliseconds(50)));
  handler_.AnswerFirst(1, "");
  const Response response = client.Read();
  EXPECT_EQ(response.body, "a");
  EXPECT_THAT(response.head, testing::HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.Closed());
  EXPECT_TRUE(server_->WaitUntilIdle(std::chrono::seconds(5)));
}

TEST_F(HttpDeferralTest, AnswersThatComeAfterTheEndAreNobodys) {
  Client client(server_->port());
  ASSERT_TRUE(client.Send(Post("/later", "a")));
  ASSERT_TRUE(WaitFor([&] { return handler_.open.load() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server_->Stop();
  handler_.AnswerFirst(1, "");
  EXPECT_TRUE(client.Closed());
}

}  // namespace
}  // namespace verdict
