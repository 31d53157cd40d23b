// Engine files that earlier versions wrote, kept in tests/data, must load and compute what they did
// then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "backends/device/fake_device.h"
#include "runtime/allocation_count_test.h"
#include "runtime/device_host.h"
#include "runtime/session.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kFolder = std::filesystem::path(VERDICT_SOURCE_DIR) / "tests/data";

std::vector<std::filesystem::path> StoredEngines() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".engine") paths.push_back(entry.path());
  }
  EXPECT_GE(paths.size(), 4u);
  return paths;
}

TEST(StoredEngines, LoadAndPassTheirGoldenVectors) {
  for (const auto& path : StoredEngines()) {
    SCOPED_TRACE(path.filename().string());
    const auto engine = Engine::Load(path);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_FALSE((*engine)->contents().golden.empty());
    const Status status = Engine::CheckGolden(*engine);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

TEST(StoredEngines, OfFormat1_1HaveTheirDevicePlans) {
  const auto engine = Engine::Load(kFolder / "skl_mlp_binary.v1_1.engine");
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  const auto& plans = (*engine)->contents().device_plans;
  ASSERT_EQ(plans.size(), 1u);
  EXPECT_EQ(plans[0].backend, "fake");
  EXPECT_FALSE(plans[0].parts.at(0).program.empty());
}

TEST(StoredEngines, WhoseProgramHasNoDigestGetOneThatIsBuiltHere) {
  const auto engine = Engine::Load(kFolder / "skl_mlp_binary.v1_1_no_digest.engine");
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  DeviceHostOptions options;
  const std::shared_ptr<Device> device = MakeFakeDevice({});
  ASSERT_EQ((*engine)->contents().device_plans.at(0).fingerprint, device->info().fingerprint);
  options.rebuild = false;
  auto host = DeviceHost::Create(device, options).value();
  const DeviceAttachment refused = host->Attach(*engine, "m", {});
  EXPECT_EQ(refused.state, DeviceAttachment::State::kRefused);
  EXPECT_THAT(refused.reason, HasSubstr("part 0: its program has no digest"));
  EXPECT_THAT(refused.reason, HasSubstr("build the engine again"));
  EXPECT_TRUE(Engine::CheckGolden(*engine).ok());
  host->Detach(**engine);
  options.rebuild = true;
  host = DeviceHost::Create(device, options).value();
  host->Attach(*engine, "m", {});
  host->WaitUntilIdle();
  const DeviceAttachment built = host->attachment(**engine);
  EXPECT_EQ(built.state, DeviceAttachment::State::kAttached) << built.reason;
  EXPECT_EQ(host->totals().rebuilds, 1U);
}

TEST(StoredEngines, ScoreTheSameWhenTheFileThatWasReadIsDestroyed) {
  const auto file = std::filesystem::path(testing::TempDir()) /
                    ("stored_engines_test." + std::to_string(::getpid()));
  for (const auto& path : StoredEngines()) {
    SCOPED_TRACE(path.filename().string());
    std::filesystem::copy_file(path, file, std::filesystem::copy_options::overwrite_existing);
    const auto engine = Engine::Load(file, FileAccess::kRead);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    std::ofstream(file) << std::string(std::filesystem::file_size(path) / 2, 'x');
    EXPECT_TRUE(Engine::CheckGolden(*engine).ok()) << "overwritten";
    std::filesystem::resize_file(file, 0);
    EXPECT_TRUE(Engine::CheckGolden(*engine).ok()) << "truncated";
    std::filesystem::remove(file);
  }
}

TEST(StoredEngines, AllocateNothingInARun) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer brings its own malloc";
  for (const auto& path : StoredEngines()) {
    SCOPED_TRACE(path.filename().string());
    const auto engine = Engine::Load(path).value();
    const auto session = Session::Create(engine).value();
    std::vector<std::vector<TensorView>> batches;
    for (const GoldenVector& golden : engine->contents().golden) {
      batches.emplace_back();
      for (const Constant& input : golden.inputs) batches.back().push_back(input.view());
    }
    ASSERT_GE(batches.size(), 2u);
    const auto allocations_of = [&](const std::vector<TensorView>& inputs) {
      const int64_t before = AllocationCount();
      const bool ok = session->Run(inputs).ok();
      const int64_t after = AllocationCount();
      EXPECT_TRUE(ok);
      return after - before;
    };
    allocations_of(batches[0]);  // warm
    EXPECT_EQ(allocations_of(batches[0]), 0) << "the same inputs again";
    EXPECT_EQ(allocations_of(batches[1]), 0) << "another batch";
    EXPECT_EQ(allocations_of(batches[0]), 0) << "after another batch";
  }
}

}  // namespace
}  // namespace verdict
