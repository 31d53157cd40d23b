#include "runtime/device_worker/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace verdict {
namespace {

constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

struct Header {
  uint32_t body_bytes = 0;
  uint32_t payloads = 0;
};

std::string ErrorText() { return std::strerror(errno); }

Status PeerGone(const std::string& why) {
  return Unavailable("the other end of the device worker's socket is gone (" + why + ")");
}

/// Room for the descriptors of one message.
union ControlBuffer {
  cmsghdr aligned;
  std::array<char, CMSG_SPACE(sizeof(int) * kMaxChannelPayloads)> bytes;
};

/// Takes over every descriptor that came; false if some were cut off.
bool TakeDescriptors(msghdr& message, std::vector<Descriptor>& payloads) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      payloads.emplace_back(number);
    }
  }
  return (message.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace

void Descriptor::Close() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Result<Descriptor> MakePayload(std::span<const std::byte> bytes) {
  Descriptor file(::memfd_create("verdict-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.open()) return ResourceExhausted("cannot make a memory file: " + ErrorText());
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = ::write(file.number(), bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return ResourceExhausted("cannot get " + std::to_string(bytes.size()) +
                               " bytes for a memory file: " + ErrorText());
    }
    written += static_cast<size_t>(count);
  }
  if (::fcntl(file.number(), F_ADD_SEALS, kAllSeals) != 0) {
    return ResourceExhausted("cannot seal a memory file: " + ErrorText());
  }
  return file;
}

Result<Payload> MapPayload(const Descriptor& descriptor) {
  const int seals = ::fcntl(descriptor.number(), F_GET_SEALS);
  struct stat status {};
  if (seals < 0 || (seals & kAllSeals) != kAllSeals || ::fstat(descriptor.number(), &status) != 0) {
    return DataLoss("a payload of the device worker's is no sealed memory file");
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return Payload{};
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.number(), 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("cannot map " + std::to_string(size) + " bytes: " + ErrorText());
  }
  std::shared_ptr<const void> owner(
      data, [size](const void* mapped) { ::munmap(const_cast<void*>(mapped), size); });
  return Payload{{static_cast<const std::byte*>(data), size}, std::move(owner)};
}

Status Channel::Send(const std::string& body, std::span<const Descriptor> payloads) {
  if (body.size() > kMaxChannelMessageBytes || payloads.size() > kMaxChannelPayloads) {
    return ResourceExhausted("a message of " + std::to_string(body.size()) +
                             " bytes is too long for the device worker; at most " +
                             std::to_string(kMaxChannelMessageBytes) + " are taken");
  }
  Header header{static_cast<uint32_t>(body.size()), static_cast<uint32_t>(payloads.size())};
  ControlBuffer control{};
  std::array<iovec, 2> parts = {iovec{&header, sizeof(header)},
                                iovec{const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!payloads.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * payloads.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * payloads.size());
    for (size_t i = 0; i < payloads.size(); ++i) {
      const int number = payloads[i].number();
      std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &number, sizeof(int));
    }
  }
  const std::scoped_lock lock(send_mutex_);
  size_t left = sizeof(header) + body.size();
  while (left > 0) {
    const ssize_t count = ::sendmsg(socket_.number(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      return DeadlineExceeded("the other end of the device worker's socket takes nothing");
    }
    if (count <= 0) return PeerGone(ErrorText());
    left -= static_cast<size_t>(count);
    message.msg_control = nullptr;  // the descriptors went with the first byte
    message.msg_controllen = 0;
    auto sent = static_cast<size_t>(count);
    for (iovec& part : parts) {
      const size_t step = std::min(sent, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + step;
      part.iov_len -= step;
      sent -= step;
    }
  }
  return OkStatus();
}

Status Channel::ReadAll(std::span<char> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::recv(socket_.number(), bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) return PeerGone("end of file");
    if (count < 0) return PeerGone(ErrorText());
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return OkStatus();
}

Result<ChannelMessage> Channel::Receive() {
  Header header;
  ControlBuffer control{};
  iovec part{&header, sizeof(header)};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket_.number(), &message, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count == 0) return PeerGone("end of file");
  if (count < 0) return PeerGone(ErrorText());
  ChannelMessage received;
  const bool complete = TakeDescriptors(message, received.payloads);
  VERDICT_RETURN_IF_ERROR(ReadAll(std::span(reinterpret_cast<char*>(&header), sizeof(header))
                                      .subspan(static_cast<size_t>(count))));
  if (!complete || header.payloads != received.payloads.size() ||
      header.body_bytes > kMaxChannelMessageBytes) {
    return DataLoss("a message on the device worker's socket announces " +
                    std::to_string(header.body_bytes) + " bytes and " +
                    std::to_string(header.payloads) + " payloads, which is not what came");
  }
  received.body.resize(header.body_bytes);
  VERDICT_RETURN_IF_ERROR(ReadAll(received.body));
  return received;
}

}  // namespace verdict
