#include "runtime/device_worker/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace verdict {
namespace {

std::array<Descriptor, 2> Sockets() {
  std::array<int, 2> pair{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  return {Descriptor(pair[0]), Descriptor(pair[1])};
}

std::span<const std::byte> BytesOf(std::string_view text) { return std::as_bytes(std::span(text)); }

void Write(int file, std::string_view bytes) {
  ASSERT_EQ(::write(file, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

TEST(Channel, MessagesComeWholeAndInOrder) {
  auto sockets = Sockets();
  Channel left(std::move(sockets[0])), right(std::move(sockets[1]));
  const std::string large(3 << 20, 'x');
  std::thread sender([&] {
    std::vector<Descriptor> payloads;
    payloads.push_back(MakePayload(BytesOf("one")).value());
    payloads.push_back(MakePayload({}).value());
    EXPECT_TRUE(left.Send("first", payloads).ok());
    EXPECT_TRUE(left.Send(large, {}).ok());
    EXPECT_TRUE(left.Send("", {}).ok());
  });
  const ChannelMessage first = right.Receive().value();
  EXPECT_EQ(first.body, "first");
  ASSERT_EQ(first.payloads.size(), 2u);
  const Payload one = MapPayload(first.payloads[0]).value();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(one.bytes.data()), one.bytes.size()), "one");
  EXPECT_TRUE(MapPayload(first.payloads[1]).value().bytes.empty());
  EXPECT_EQ(right.Receive().value().body, large);
  EXPECT_EQ(right.Receive().value().body, "");
  sender.join();
}

TEST(Channel, RefusesWhatIsTooLongWithoutSendingIt) {
  auto sockets = Sockets();
  Channel left(std::move(sockets[0])), right(std::move(sockets[1]));
  EXPECT_EQ(left.Send(std::string(kMaxChannelMessageBytes + 1, 'x'), {}).code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(left.Send("next", {}).ok());
  EXPECT_EQ(right.Receive().value().body, "next");
}

TEST(Channel, AnnouncedLengthsAreCheckedBeforeTheyAreBelieved) {
  auto sockets = Sockets();
  Channel right(std::move(sockets[1]));
  Write(sockets[0].number(), std::string_view("\xff\xff\xff\xff\0\0\0\0", 8));
  EXPECT_EQ(right.Receive().status().code(), StatusCode::kDataLoss);
}

TEST(Channel, AnnouncedPayloadsMustCome) {
  auto sockets = Sockets();
  Channel right(std::move(sockets[1]));
  Write(sockets[0].number(), std::string_view("\1\0\0\0\1\0\0\0x", 9));
  EXPECT_EQ(right.Receive().status().code(), StatusCode::kDataLoss);
}

TEST(Channel, EndInTheMiddleOfAMessageIsTheEnd) {
  for (const size_t bytes : {0, 3, 8, 10}) {
    auto sockets = Sockets();
    Channel right(std::move(sockets[1]));
    Write(sockets[0].number(), std::string_view("\4\0\0\0\0\0\0\0abcd", bytes));
    sockets[0].Close();
    EXPECT_EQ(right.Receive().status().code(), StatusCode::kUnavailable) << bytes;
  }
}

TEST(Payload, MustBeSealed) {
  const Descriptor open(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  Write(open.number(), "could be cut under us");
  EXPECT_EQ(MapPayload(open).status().code(), StatusCode::kDataLoss);
  ASSERT_EQ(::fcntl(open.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_EQ(MapPayload(open).status().code(), StatusCode::kDataLoss) << "could be changed";
  const Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(MapPayload(file).status().code(), StatusCode::kDataLoss) << "no memory file";
}

}  // namespace
}  // namespace verdict
