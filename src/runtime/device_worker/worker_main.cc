// verdict-device-worker: holds a device for a server, in a process of its own that may end when the
// device's libraries or the device itself do. A server starts it; docs/adr/0014 says why it exists.
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <thread>

#include "backends/device/device_plugin.h"
#include "runtime/device_worker/start.h"
#include "runtime/device_worker/worker_service.h"

namespace verdict {
namespace {

/// When the server is told to stop, whoever tells it often tells its children too (a terminal, a
/// service manager). It drains first and needs the device for that: this process ends with it.
void IgnoreSignals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
}

int Main(int argc, char** argv) {
  IgnoreSignals();
  int type = 0;
  socklen_t size = sizeof(type);
  if (argc != 3 || ::getsockopt(kWorkerSocket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      type != SOCK_STREAM) {
    std::fputs("verdict-device-worker is started by `verdict serve`, not by hand\n", stderr);
    return 2;
  }
  // Its end reaches us by the socket; where nobody reads that in time, by this.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != std::atoi(argv[2])) return 0;  // it has ended already

  Channel channel{Descriptor(kWorkerSocket)};
  WorkerService service(OpenDevice,
                        [&](const proto::WorkerReply& reply, std::span<const Descriptor> payloads) {
                          Status status = channel.Send(reply.SerializeAsString(), payloads);
                          if (status.code() == StatusCode::kResourceExhausted) {
                            proto::WorkerReply refusal;
                            refusal.set_id(reply.id());
                            WriteStatus(status, *refusal.mutable_status());
                            status = channel.Send(refusal.SerializeAsString(), {});
                          }
                          if (!status.ok()) ::_exit(0);
                        });
  while (true) {
    auto message = channel.Receive();
    // At once: threads may be in a driver that does not answer.
    if (!message.ok()) ::_exit(message.status().code() == StatusCode::kUnavailable ? 0 : 3);
    proto::WorkerRequest request;
    if (!request.ParseFromString(message->body)) ::_exit(3);
    if (request.has_open()) {
      service.Handle(request, message->payloads);
      service.HoldLifeline();
      continue;
    }
    // A thread a call: there are few, each waits for the device, and none is to wait for another.
    std::thread([&service, request = std::move(request), payloads = std::move(message->payloads)] {
      service.Handle(request, payloads);
    }).detach();
  }
}

}  // namespace
}  // namespace verdict

int main(int argc, char** argv) {
  try {
    return verdict::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "verdict-device-worker: %s\n", error.what());
    ::_exit(4);
  }
}
