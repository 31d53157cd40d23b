#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace verdict {

/// An open file descriptor and its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }

  int number() const { return number_; }
  bool open() const { return number_ >= 0; }
  void Close();

 private:
  int number_ = -1;
};

/// Bytes that the other process cannot change any more.
struct Payload {
  std::span<const std::byte> bytes;  // begins at a page
  std::shared_ptr<const void> owner;
};

/// A memory file with a copy of the bytes, sealed against every change. Errors: kResourceExhausted.
Result<Descriptor> MakePayload(std::span<const std::byte> bytes);

/// Maps what MakePayload made in the other process. Errors: kDataLoss: not a memory file, or one
/// that could still be changed or cut under us; kResourceExhausted.
Result<Payload> MapPayload(const Descriptor& descriptor);

struct ChannelMessage {
  std::string body;
  std::vector<Descriptor> payloads;
};

inline constexpr size_t kMaxChannelMessageBytes = size_t{64} << 20;
inline constexpr size_t kMaxChannelPayloads = 4;

/// One end of a stream socket on which messages go, each with a few descriptors: a header of two
/// 32-bit numbers (bytes of the body, descriptors), then the body.
class Channel {
 public:
  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}

  /// Errors: kUnavailable: the other end is gone; kDeadlineExceeded: it takes nothing within the
  /// socket's send time-out; kResourceExhausted: too long. Threads: any.
  Status Send(const std::string& body, std::span<const Descriptor> payloads);

  /// Waits for a message. Errors: kUnavailable: the other end is gone; kDataLoss: what came is
  /// none. Threads: one.
  Result<ChannelMessage> Receive();

  int socket() const { return socket_.number(); }

 private:
  Status ReadAll(std::span<char> bytes);

  Descriptor socket_;
  std::mutex send_mutex_;
};

}  // namespace verdict
