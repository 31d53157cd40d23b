#include "serve/systemd_notify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace verdict {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

/// A service manager's end of the protocol: a real datagram socket.
class SystemdNotifyTest : public testing::Test {
 protected:
  ~SystemdNotifyTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
    if (manager_ >= 0) ::close(manager_);
    if (name_.starts_with('/')) ::unlink(name_.c_str());
  }

  void Listen(const std::string& name) {
    name_ = name;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(name.size(), sizeof(address.sun_path));
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const size_t length = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '/' ? 1 : 0);
    manager_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ASSERT_EQ(
        ::bind(manager_, reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(length)), 0)
        << std::strerror(errno);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  void ListenOnPath() { Listen(testing::TempDir() + "notify." + std::to_string(::getpid())); }
  /// The next message, or "" if there is none.
  std::string Received() const {
    char buffer[1024];
    const ssize_t size = ::recv(manager_, buffer, sizeof(buffer), 0);
    return size < 0 ? "" : std::string(buffer, static_cast<size_t>(size));
  }
  static std::unique_ptr<SystemdNotify> Notify() {
    auto notify = SystemdNotify::FromEnvironment();
    EXPECT_TRUE(notify.ok()) << notify.status().ToString();
    return *std::move(notify);
  }

  int manager_ = -1;
  std::string name_;
};

TEST_F(SystemdNotifyTest, EveryStateReachesTheManager) {
  ListenOnPath();
  const auto notify = Notify();
  notify->Ready("3 models");
  EXPECT_EQ(Received(), "READY=1\nSTATUS=3 models");
  notify->StatusText("loading fraud");
  EXPECT_EQ(Received(), "STATUS=loading fraud");
  notify->Reloading();
  EXPECT_THAT(Received(), MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+\nSTATUS=.*"));
  notify->Watchdog();
  EXPECT_EQ(Received(), "WATCHDOG=1");
  notify->Stopping("draining");
  EXPECT_EQ(Received(), "STOPPING=1\nSTATUS=draining");
}

TEST_F(SystemdNotifyTest, AStatusCannotForgeAField) {
  ListenOnPath();
  Notify()->StatusText("x\nREADY=1");
  EXPECT_EQ(Received(), "STATUS=x\\x0aREADY=1");
}

TEST_F(SystemdNotifyTest, AbstractSocketsWork) {
  Listen("@verdict.notify." + std::to_string(::getpid()));
  Notify()->Watchdog();
  EXPECT_EQ(Received(), "WATCHDOG=1");
}

TEST_F(SystemdNotifyTest, WithoutAManagerNothingHappens) {
  ::unsetenv("NOTIFY_SOCKET");
  ::setenv("WATCHDOG_USEC", "1000000", 1);
  const auto notify = Notify();
  notify->Ready("x");
  EXPECT_EQ(notify->watchdog_timeout(), std::nullopt);
}

TEST_F(SystemdNotifyTest, AManagerThatDoesNotReadBlocksNobody) {
  ListenOnPath();
  const auto notify = Notify();
  for (int i = 0; i < 100'000; ++i) notify->Watchdog();
  EXPECT_EQ(Received(), "WATCHDOG=1");
  ::close(manager_);
  manager_ = -1;
  notify->Watchdog();  // nor does one that has gone
}

TEST_F(SystemdNotifyTest, NamesThatAreNoSocketAreRefused) {
  for (const std::string& name :
       {std::string("relative"), std::string(200, '/'), std::string("/nowhere/to/be/found")}) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    const auto notify = SystemdNotify::FromEnvironment();
    ASSERT_FALSE(notify.ok()) << name;
    EXPECT_EQ(notify.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(notify.status().message(), HasSubstr("NOTIFY_SOCKET is '" + name));
  }
}

TEST_F(SystemdNotifyTest, TheWatchdogIsOnOnlyForThisProcess) {
  ListenOnPath();
  const auto timeout = [](const char* usec, const std::string& pid) {
    ::setenv("WATCHDOG_USEC", usec, 1);
    ::setenv("WATCHDOG_PID", pid.c_str(), 1);
    return Notify()->watchdog_timeout();
  };
  const std::string self = std::to_string(::getpid());
  EXPECT_EQ(timeout("2500000", self), std::chrono::microseconds(2'500'000));
  EXPECT_EQ(timeout("2500000", ""), std::chrono::microseconds(2'500'000));
  EXPECT_EQ(timeout("2500000", "1"), std::nullopt);
  for (const char* bad : {"", "0", "-1", "5s", "99999999999999999999999"}) {
    EXPECT_EQ(timeout(bad, self), std::nullopt) << bad;
  }
  EXPECT_GT(timeout("18446744073709551615", self)->count(), 0);
}

}  // namespace
}  // namespace verdict
