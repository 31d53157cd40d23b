// What goes between a server and its device worker, each way, as a hostile other end would write
// it. The first byte says which: calls to the worker, answers of it, a mailbox, or the socket's own
// bytes.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/device/device_plugin.h"
#include "backends/device/fake_device.h"
#include "engine/engine_file.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"
#include "runtime/device_worker/worker_service.h"

namespace verdict {
namespace {

constexpr char kGraph[] = R"(graph "one" {
  input %x: f32[N,4]
  %y = Relu(%x)
  output %y
}
)";

/// What a well-meaning server would send along.
struct GoodPayloads {
  GoodPayloads() {
    Graph model = ParseGraph(kGraph).value();
    VERDICT_CHECK(InferShapes(model).ok());
    const std::vector<Profile> profiles = {MakeProfile(model, ParseShapes("x:1x4").value(),
                                                       ParseShapes("x:2x4").value(),
                                                       ParseShapes("x:8x4").value())
                                               .value()};
    graph = SerializeGraph(model, profiles).value();
    program = MakeFakeDevice({})->Build(model, profiles, {}).value().bytes;
  }

  std::vector<std::byte> graph, program;
  std::vector<std::byte> tensors = std::vector<std::byte>(256);
};

std::vector<MailboxPlace> Places(
    const google::protobuf::RepeatedPtrField<proto::MailboxPlace>& messages) {
  std::vector<MailboxPlace> places;
  for (const auto& message : messages) {
    places.push_back({DataTypeFromName(message.dtype()), message.capacity()});
  }
  return places;
}

std::vector<Descriptor> PayloadsFor(const proto::WorkerRequest& request) {
  static const GoodPayloads good;
  std::vector<Descriptor> payloads;
  const auto add = [&](std::span<const std::byte> bytes) {
    payloads.push_back(MakePayload(bytes).value());
  };
  switch (request.call_case()) {
    case proto::WorkerRequest::kOpen:
      payloads.push_back(std::move(SharedPages::Create(sizeof(SharedState)).value().second));
      break;
    case proto::WorkerRequest::kSupports:
      add(good.graph);
      break;
    case proto::WorkerRequest::kBuild:
      add(good.graph);
      add(good.tensors);
      add({});
      break;
    case proto::WorkerRequest::kLoad:
    case proto::WorkerRequest::kRefit:
      add(good.graph);
      add(good.program);
      break;
    case proto::WorkerRequest::kNewRunner: {
      const auto& call = request.new_runner();
      uint64_t total = 0;
      for (const auto& place : call.inputs())
        total += std::min<uint64_t>(place.capacity(), 1 << 30);
      for (const auto& place : call.outputs()) {
        total += std::min<uint64_t>(place.capacity(), 1 << 30);
      }
      if (total > 1 << 20) break;
      auto mailbox = Mailbox::Create(Places(call.inputs()), Places(call.outputs()));
      if (mailbox.ok()) payloads.push_back(std::move(mailbox->second));
      break;
    }
    case proto::WorkerRequest::kProfile:
      add(good.tensors);
      break;
    default:
      break;
  }
  return payloads;
}

/// A device is opened and a program loaded, then come the calls, each with a length before it.
void FuzzCalls(std::span<const uint8_t> bytes) {
  WorkerService service(
      [](const std::string&, const std::string&, const DeviceOptions&) {
        FakeDeviceOptions options;
        options.run_timeout_ms = 1;
        return Result<std::unique_ptr<Device>>(MakeFakeDevice(options));
      },
      [](const proto::WorkerReply&, std::span<const Descriptor>) {});
  proto::WorkerRequest open;
  open.mutable_open()->set_protocol(kWorkerProtocolVersion);
  open.mutable_open()->set_build_id(DeviceBuildId());
  service.Handle(open, PayloadsFor(open));
  proto::WorkerRequest load;
  load.mutable_load()->set_program(1);
  service.Handle(load, PayloadsFor(load));
  for (int calls = 0; calls < 8 && bytes.size() > 1; ++calls) {
    const size_t size = std::min<size_t>(bytes[0], bytes.size() - 1);
    proto::WorkerRequest request;
    if (request.ParseFromArray(bytes.data() + 1, static_cast<int>(size))) {
      service.Handle(request, PayloadsFor(request));
    }
    bytes = bytes.subspan(1 + size);
  }
}

void FuzzAnswer(std::span<const uint8_t> bytes) {
  proto::WorkerReply reply;
  if (!reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  static_cast<void>(ReadStatus(reply.status()));
  static_cast<void>(ReadInfo(reply.info()));
  for (const auto& status : reply.supports()) static_cast<void>(ReadStatus(status));
}

void FuzzMailbox(std::span<const uint8_t> bytes) {
  static auto created = Mailbox::Create({{DataType::kFloat32, 256}},
                                        {{DataType::kBool, 64}, {DataType::kFloat64, 4096}})
                            .value();
  static const SharedPages pages = SharedPages::Map(created.second, created.first.bytes()).value();
  Mailbox& mailbox = created.first;
  const size_t size = std::min(bytes.size(), size_t{4096});
  std::memcpy(pages.data() + 128, bytes.data(), std::min(size, size_t{4096} - 128));
  static_cast<void>(mailbox.ReadAnswer());
  for (size_t i = 0; i < mailbox.outputs().size(); ++i) {
    const auto output = mailbox.Output(i);
    if (!output.ok()) continue;
    const auto held = ByteSize(output->dtype, output->shape);
    VERDICT_CHECK(held.ok() && *held <= mailbox.outputs()[i].capacity);
  }
}

void FuzzSocket(std::span<const uint8_t> bytes) {
  std::array<int, 2> pair{};
  VERDICT_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  Descriptor sender(pair[0]);
  Channel channel{Descriptor(pair[1])};
  const size_t size = std::min(bytes.size(), size_t{1} << 16);
  VERDICT_CHECK(::send(sender.number(), bytes.data(), size, 0) == static_cast<ssize_t>(size));
  sender.Close();
  while (channel.Receive().ok()) {
  }
}

}  // namespace
}  // namespace verdict

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      verdict::FuzzCalls(rest);
      break;
    case 1:
      verdict::FuzzAnswer(rest);
      break;
    case 2:
      verdict::FuzzMailbox(rest);
      break;
    default:
      verdict::FuzzSocket(rest);
  }
  return 0;
}
