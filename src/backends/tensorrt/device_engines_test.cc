// Whole engines on the card as servers hold them: divided between card and host, more than fit,
// built for another TensorRT, taken along by a fault.
#include <thread>
#include <utility>

#include "backends/device/build_options.h"
#include "backends/tensorrt/cuda_context.h"
#include "backends/tensorrt/device_fixture_test.h"
#include "engine/device_parts.h"
#include "runtime/device_fixture_test.h"
#include "runtime/device_host.h"
#include "runtime/session.h"

namespace verdict::tensorrt {
namespace {

using ::testing::HasSubstr;
using State = DeviceAttachment::State;
using std::chrono::milliseconds;

constexpr auto kPatience = std::chrono::seconds(90);

// 16 MiB of weights: the card gives memory out in blocks of 2 MiB.
constexpr char kWide[] = R"(graph "wide" {
  input %x: f32[N,6]
  const %w0: f32[6,1024] = seed(1)
  const %w1: f32[1024,1024] = seed(2)
  const %w2: f32[1024,1024] = seed(3)
  const %w3: f32[1024,1024] = seed(4)
  const %w4: f32[1024,1024] = seed(5)
  const %w5: f32[1024,3] = seed(6)
  const %scale: f32[] = [0.000005]
  %h0 = MatMul(%x, %w0)
  %r0 = Relu(%h0)
  %h1 = MatMul(%r0, %w1)
  %r1 = Relu(%h1)
  %h2 = MatMul(%r1, %w2)
  %r2 = Relu(%h2)
  %h3 = MatMul(%r2, %w3)
  %r3 = Relu(%h3)
  %h4 = MatMul(%r3, %w4)
  %r4 = Relu(%h4)
  %h5 = MatMul(%r4, %w5)
  %s = Mul(%h5, %scale)
  %p = Softmax(%s)
  output %p
}
)";

/// Calls `step` until `done`; false if that takes too long.
template <typename Done, typename Step>
bool Until(Done done, Step step) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    step();
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

class DeviceEngines : public DeviceTest {
 protected:
  /// With a plan for the card, exact.
  EngineContents Built(const char* text) {
    EngineContents contents = CompileForDevice(text);
    DevicePlan plan;
    plan.backend = device_->info().backend;
    plan.options = BuildOptionsText(Exact());
    plan.parts = PlacesFor(contents.graph, *device_);
    auto built = RebuildDevicePlan(contents, plan, *device_);
    EXPECT_TRUE(built.ok()) << built.status().ToString();
    if (built.ok()) contents.device_plans.push_back(*std::move(built));
    return contents;
  }
  /// Another engine of the same build each time.
  std::shared_ptr<const Engine> WideEngine() {
    static const auto* const contents = new EngineContents(Built(kWide));
    return Engine::FromContents(*contents).value();
  }

  std::shared_ptr<DeviceHost> Host(DeviceHostOptions options = {}) {
    options.recovery_interval_ms = 50;
    // Not this object's to end: all tests share it.
    return DeviceHost::Create(std::shared_ptr<Device>(device_, [](Device*) {}), options).value();
  }
};

TEST_F(DeviceEngines, TreesRunOnTheHostBetweenLayersOnTheCard) {
  const auto engine = Engine::FromContents(Built(kDeviceTrees)).value();
  ASSERT_FALSE(engine->contents().device_plans.empty());
  const std::vector<DevicePart>& parts = engine->contents().device_plans[0].parts;
  ASSERT_GE(parts.size(), 3U);
  const auto host = Host();
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  ASSERT_EQ(attachment.state, State::kAttached) << attachment.reason;
  EXPECT_GT(attachment.device_bytes, 0U);
  const auto session = Session::Create(engine).value();
  for (const int64_t rows : {1, 3, 4, 17, 32}) EXPECT_EQ(RunBy(*session, rows), "tensorrt") << rows;
  host->Detach(*engine);
  EXPECT_EQ(RunBy(*session), "cpu");
}

TEST_F(DeviceEngines, AnIdleOneMakesRoomAndComesBack) {
  uint64_t one = 0, shared = 0;
  {
    // Of the second: the first brings kernels along that stay.
    const auto first = WideEngine(), second = WideEngine();
    const auto host = Host();
    ASSERT_EQ(host->Attach(first, "first", {}).state, State::kAttached);
    one = host->Attach(second, "second", {}).device_bytes;
    shared = host->totals().shared_bytes;
  }
  ASSERT_GT(one, 16U << 20U);
  DeviceHostOptions options;
  options.memory_limit_bytes = 2 * one + one / 2 + shared;
  options.idle_ms = 40;
  const auto host = Host(options);
  const auto a = WideEngine(), b = WideEngine(), c = WideEngine();
  ASSERT_EQ(host->Attach(a, "a", {}).state, State::kAttached);
  ASSERT_EQ(host->Attach(b, "b", {}).state, State::kAttached);
  EXPECT_EQ(RunBy(b), "tensorrt");
  EXPECT_EQ(RunBy(a), "tensorrt");
  // A load takes longer than the others are in use, so that either may come of it.
  const DeviceAttachment third = host->Attach(c, "c", {});
  std::printf("one engine takes %.2f MiB, all share %.2f MiB; the third: %s %s\n",
              static_cast<double>(one) / 1048576, static_cast<double>(shared) / 1048576,
              third.state == State::kRefused ? "refused," : "", third.reason.c_str());
  EXPECT_EQ(RunBy(c), third.state == State::kAttached ? "tensorrt" : "cpu");
  EXPECT_TRUE(Until([&] { return host->attachment(*c).state == State::kAttached; },
                    [&] { EXPECT_EQ(RunBy(a), "tensorrt"); }))
      << host->attachment(*c).reason;
  EXPECT_EQ(RunBy(c), "tensorrt");
  EXPECT_EQ(host->attachment(*b).state, State::kEvicted);
  EXPECT_EQ(host->totals().evictions, 1U);
  EXPECT_LE(host->totals().used_bytes + host->totals().shared_bytes, options.memory_limit_bytes);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(RunBy(a), "tensorrt");
  EXPECT_EQ(RunBy(b), "cpu");
  EXPECT_TRUE(Until([&] { return host->attachment(*b).state == State::kAttached; },
                    [&] { EXPECT_EQ(RunBy(a), "tensorrt"); }))
      << host->attachment(*b).reason;
  EXPECT_EQ(RunBy(b), "tensorrt");
  EXPECT_EQ(host->attachment(*c).state, State::kEvicted);
}

/// Everything that is free on the card, until it is destroyed: a context of its own holds it.
class AllMemory {
 public:
  Status Take() {
    VERDICT_ASSIGN_OR_RETURN(const CudaDriver* driver, OpenCudaDriver());
    VERDICT_ASSIGN_OR_RETURN(context_, CudaContext::Open(*driver, 0));
    VERDICT_RETURN_IF_ERROR(context_->MakeCurrent());
    for (size_t bytes = size_t{1} << 34U; bytes >= size_t{1} << 20U; bytes /= 2) {
      for (;;) {
        auto buffer = DeviceBuffer::Allocate(*context_, bytes);
        if (!buffer.ok()) break;
        buffers_.push_back(*std::move(buffer));
      }
    }
    return OkStatus();
  }

 private:
  std::unique_ptr<CudaContext> context_;
  std::vector<DeviceBuffer> buffers_;
};

TEST_F(DeviceEngines, AFullCardRefusesTheNextAloneUntilThereIsRoom) {
  const auto before = WideEngine(), late = WideEngine();
  const auto host = Host();
  ASSERT_EQ(host->Attach(before, "before", {}).state, State::kAttached);
  EXPECT_EQ(RunBy(before), "tensorrt");
  {
    AllMemory all;
    const Status taken = all.Take();
    ASSERT_TRUE(taken.ok()) << taken.ToString();
    std::printf("%.2f MiB are free\n",
                static_cast<double>(device_->memory()->free_bytes) / 1048576);
    const DeviceAttachment refused = host->Attach(late, "late", {});
    std::printf("%s\n", refused.reason.c_str());
    EXPECT_EQ(refused.state, State::kRefused);
    EXPECT_EQ(RunBy(late), "cpu");
    EXPECT_EQ(RunBy(before), "tensorrt");
    EXPECT_EQ(host->totals().state, DeviceHost::State::kHealthy);
  }
  host->Detach(*late);
  const DeviceAttachment attachment = host->Attach(late, "late", {});
  EXPECT_EQ(attachment.state, State::kAttached) << attachment.reason;
  EXPECT_EQ(RunBy(late), "tensorrt");
}

TEST_F(DeviceEngines, APlanOfAnotherTensorRtIsBuiltAgainWhileTheCpuAnswers) {
  EngineContents contents = Built(kDeviceMlp);
  ASSERT_FALSE(contents.device_plans.empty());
  contents.device_plans[0].fingerprint = "tensorrt 7.1.3 sm_70 driver 450.51.06";
  const auto engine = Engine::FromContents(contents).value();
  const auto host = Host();
  const DeviceAttachment attachment = host->Attach(engine, "m", {});
  EXPECT_EQ(attachment.state, State::kBuilding);
  EXPECT_THAT(attachment.reason, HasSubstr("tensorrt 7.1.3"));
  const auto session = Session::Create(engine).value();
  int on_cpu = 0;
  EXPECT_TRUE(Until([&] { return host->attachment(*engine).state != State::kBuilding; },
                    [&] {
                      const std::string by = RunBy(*session);
                      EXPECT_TRUE(by == "cpu" || by == "tensorrt") << by;
                      on_cpu += by == "cpu" ? 1 : 0;
                    }));
  EXPECT_GT(on_cpu, 0);
  EXPECT_EQ(host->attachment(*engine).state, State::kAttached) << host->attachment(*engine).reason;
  EXPECT_EQ(RunBy(*session), "tensorrt");
  EXPECT_EQ(host->totals().rebuilds, 1U);
}

TEST_F(DeviceEngines, ADamagedProgramIsRefusedAndTheCpuAnswers) {
  const EngineContents good = Built(kDeviceMlp);
  ASSERT_FALSE(good.device_plans.empty());
  const auto sources = ExtractPlan(good.graph, good.profiles, good.device_plans[0]).value();
  // By its digest; and, where that is of the damaged bytes, by the checksum within them.
  for (const auto& [new_digest, reason] :
       {std::pair(false, "its program was not built from this engine's graph and weights"),
        std::pair(true, "device program: its checksum does not fit")}) {
    EngineContents contents = good;
    for (size_t i = 0; i < sources.size(); ++i) {
      DevicePart& part = contents.device_plans[0].parts[i];
      if (part.program.empty()) continue;
      std::vector<std::byte> damaged(part.program.begin(), part.program.end());
      damaged[damaged.size() / 2] ^= std::byte{1};
      const Sha256Digest digest = part.digest;
      SetProgram(std::move(damaged), sources[i], part);
      if (!new_digest) part.digest = digest;
    }
    const auto engine = Engine::FromContents(contents).value();
    DeviceHostOptions options;
    options.rebuild = false;
    const auto host = Host(options);
    const DeviceAttachment attachment = host->Attach(engine, "m", {});
    EXPECT_EQ(attachment.state, State::kRefused);
    EXPECT_THAT(attachment.reason, HasSubstr(reason));
    EXPECT_EQ(RunBy(engine), "cpu");
  }
}

/// With the device in a worker, as servers have it.
TEST_F(DeviceEngines, ATrapCostsNoAnswerAndTheEnginesComeBack) {
  const auto a = WideEngine(), b = Engine::FromContents(Built(kDeviceTrees)).value();
  DeviceHostOptions options;
  options.backend = device_->info().backend;
  options.recovery_interval_ms = 50;
  const auto opened = DeviceHost::Open(options);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  const std::shared_ptr<DeviceHost>& host = *opened;
  ASSERT_EQ(host->Attach(a, "a", {}).state, State::kAttached) << host->attachment(*a).reason;
  ASSERT_EQ(host->Attach(b, "b", {}).state, State::kAttached) << host->attachment(*b).reason;
  const auto session_a = Session::Create(a).value(), session_b = Session::Create(b).value();
  for (uint64_t round = 1; round <= 2; ++round) {
    ASSERT_EQ(RunBy(*session_a), "tensorrt");
    ASSERT_EQ(RunBy(*session_b), "tensorrt");
    ASSERT_TRUE(host->InjectFault("trap").ok());
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(RunBy(*session_a), "cpu");
    EXPECT_EQ(RunBy(*session_b), "cpu");
    const double answered = SecondsSince(start);
    EXPECT_TRUE(Until([&] { return host->totals().attached == 2; },
                      [&] {
                        const std::string by = RunBy(*session_a);
                        EXPECT_TRUE(by == "cpu" || by == "tensorrt") << by;
                      }))
        << host->totals().last_fault;
    std::printf("trap: both answered by the CPU after %.2f ms, back on the card after %.0f ms\n",
                1e3 * answered, 1e3 * SecondsSince(start));
    EXPECT_EQ(host->totals().faults, round);
    EXPECT_EQ(host->totals().recoveries, round);
  }
  EXPECT_EQ(RunBy(*session_b), "tensorrt");
}

}  // namespace
}  // namespace verdict::tensorrt
