#include "serve/http/worker.h"

#include <boost/asio/post.hpp>
#include <ctime>
#include <utility>

#include "serve/http/connection.h"

namespace verdict {
namespace {

/// How exactly timeouts are kept.
constexpr std::chrono::milliseconds kTick{100};
/// After which there is time for handshakes again.
constexpr std::chrono::milliseconds kHandshakePause{2};

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[40];
  const size_t length = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, length};
}

}  // namespace

Worker::Worker(int the_index, HttpShared& the_shared)
    : index(the_index),
      shared(the_shared),
      date(HttpDate()),
      timer_(context),
      handshake_timer_(context) {}

Worker::~Worker() = default;

void Worker::Run() {
  Tick();
  context.run();
}

void Worker::Tick() {
  date = HttpDate();
  const Clock::time_point now = Clock::now();
  for (Connections& list : connections) {
    // A connection that times out moves to another list, or closes.
    while (!list.empty() && list.front()->deadline() <= now) {
      const std::shared_ptr<Connection> late = list.front();
      late->OnTimeout();
    }
  }
  timer_.expires_after(kTick);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Tick();
  });
}

void Worker::ScheduleHandshakes() {
  handshake_timer_.expires_after(kHandshakePause);
  handshake_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) ResumeHandshakes();
  });
}

void Worker::ResumeHandshakes() {
  // What is postponed again comes behind the rest, in order.
  for (const auto& connection : std::exchange(postponed, {})) connection->ContinueHandshake();
}

std::vector<std::shared_ptr<Connection>> Worker::AllConnections() const {
  std::vector<std::shared_ptr<Connection>> all;
  for (const Connections& list : connections) all.insert(all.end(), list.begin(), list.end());
  return all;
}

void Worker::CloseIdle() {
  boost::asio::post(context, [this] {
    for (const auto& connection : AllConnections()) connection->CloseIfIdle();
  });
}

void Worker::Stop() {
  boost::asio::post(context, [this] {
    for (const auto& connection : AllConnections()) connection->Close();
    context.stop();
  });
}

}  // namespace verdict
