#include "runtime/device_worker/worker_service.h"

#include <gtest/gtest.h>

#include "engine/engine_file.h"
#include "runtime/device_worker/remote_device_test.h"

namespace verdict {
namespace {

// A runner may have pinned its mailbox: one that is still there at the end goes first.
TEST(WorkerService, EndsWithRunnersBeforeTheirMailboxes) {
  const WorkerModel model;
  const auto builder = OpenDevice("fake", VERDICT_TEST_PLUGINS_FOLDER, {}).value();
  const DeviceBlob blob = builder->Build(model.graph, model.profiles, {}).value();
  int answers = 0;
  {
    WorkerService service(OpenDevice,
                          [&](const proto::WorkerReply& reply, std::span<const Descriptor>) {
                            ++answers;
                            EXPECT_EQ(reply.status().code(), 0) << reply.status().message();
                          });
    std::vector<Descriptor> payloads;
    proto::WorkerRequest open;
    open.mutable_open()->set_protocol(kWorkerProtocolVersion);
    open.mutable_open()->set_build_id(DeviceBuildId());
    open.mutable_open()->set_backend("fake");
    open.mutable_open()->set_plugin_folder(VERDICT_TEST_PLUGINS_FOLDER);
    payloads.push_back(std::move(SharedPages::Create(sizeof(SharedState)).value().second));
    service.Handle(open, payloads);

    proto::WorkerRequest load;
    load.mutable_load()->set_program(1);
    payloads.clear();
    payloads.push_back(MakePayload(SerializeGraph(model.graph, model.profiles).value()).value());
    payloads.push_back(MakePayload(blob.bytes).value());
    service.Handle(load, payloads);

    proto::WorkerRequest add;
    proto::NewRunnerCall& call = *add.mutable_new_runner();
    call.set_program(1);
    for (auto* places : {call.mutable_inputs(), call.mutable_outputs()}) {
      places->Add()->set_dtype("f32");
      places->Mutable(0)->set_capacity(1024);
    }
    payloads.clear();
    const std::vector<MailboxPlace> places = {{DataType::kFloat32, 1024}};
    payloads.push_back(std::move(Mailbox::Create(places, places).value().second));
    service.Handle(add, payloads);
  }
  EXPECT_EQ(answers, 3);
}

}  // namespace
}  // namespace verdict
