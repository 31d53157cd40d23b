#include "observe/gpu/gpu_sampler.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "observe/gpu/gpu_families.h"
#include "observe/gpu/nvml.h"

namespace verdict {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string Scrape(const std::vector<GpuSample>& gpus) {
  std::vector<prometheus::MetricFamily> families;
  AddGpuFamilies(gpus, &families);
  return prometheus::TextSerializer().Serialize(families);
}

/// The fake library of fake_nvml_test.cc, and the file that tells it what to do.
class GpuSamplerTest : public testing::Test {
 protected:
  // Once for all tests: a thread that a test has left hanging may be asking for it.
  static void SetUpTestSuite() { setenv("FAKE_NVML", Path().c_str(), 1); }
  void SetUp() override { Tell(""); }
  void TearDown() override { Tell(""); }

  void Tell(const std::string& words) {
    std::ofstream(Path() + ".new") << words;
    std::filesystem::rename(Path() + ".new", Path());
  }

  static GpuSamplerOptions Fast() {
    GpuSamplerOptions options;
    options.library = VERDICT_FAKE_NVML;
    options.interval = 5ms;
    options.patience = 50ms;
    return options;
  }

  /// Samples, once they are as wanted; the last ones if that takes too long.
  template <typename Wanted>
  static std::vector<GpuSample> WaitFor(const GpuSampler& sampler, Wanted wanted) {
    for (int i = 0; i < 2000 && !wanted(sampler.Last()); ++i) std::this_thread::sleep_for(5ms);
    return sampler.Last();
  }

 private:
  static std::string Path() {
    return testing::TempDir() + "/fake_nvml." + std::to_string(getpid());
  }
};

TEST_F(GpuSamplerTest, TellsWhatNvmlTellsInTritonsUnits) {
  auto nvml = Nvml::Open(VERDICT_FAKE_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status().ToString();
  ASSERT_EQ((*nvml)->gpus(), 2U);
  (*nvml)->Sample();
  const std::string text = Scrape((*nvml)->Sample());
  EXPECT_THAT(text, HasSubstr("nv_gpu_utilization{gpu_uuid=\"GPU-0000\"} 0.42\n"));
  EXPECT_THAT(text, HasSubstr("nv_gpu_memory_total_bytes{gpu_uuid=\"GPU-1111\"} 80000000000\n"));
  EXPECT_THAT(text, HasSubstr("nv_gpu_memory_used_bytes{gpu_uuid=\"GPU-0000\"} 1000000000\n"));
  EXPECT_THAT(text, HasSubstr("nv_gpu_power_usage{gpu_uuid=\"GPU-0000\"} 123.5\n"));
  EXPECT_THAT(text, HasSubstr("nv_gpu_power_limit{gpu_uuid=\"GPU-0000\"} 700\n"));
  // The fake's two GPUs share one meter, which both samples have read.
  EXPECT_THAT(text, HasSubstr("nv_energy_consumption{gpu_uuid=\"GPU-0000\"} 0.5\n"));
  EXPECT_THAT(text, HasSubstr("verdict_gpu_temperature_celsius{gpu_uuid=\"GPU-0000\"} 61\n"));
  EXPECT_THAT(
      text, HasSubstr("verdict_gpu_clock_hertz{gpu_uuid=\"GPU-0000\",clock=\"sm\"} 1980000000\n"));
  EXPECT_THAT(
      text,
      HasSubstr("verdict_gpu_clock_hertz{gpu_uuid=\"GPU-0000\",clock=\"memory\"} 2619000000\n"));
  EXPECT_THAT(
      text,
      HasSubstr("verdict_gpu_ecc_errors_total{gpu_uuid=\"GPU-1111\",kind=\"corrected\"} 3\n"));
  EXPECT_THAT(
      text,
      HasSubstr("verdict_gpu_ecc_errors_total{gpu_uuid=\"GPU-1111\",kind=\"uncorrected\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("verdict_gpu_throttled{gpu_uuid=\"GPU-0000\",reason=\"hw_thermal_slowdown\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("verdict_gpu_throttled{gpu_uuid=\"GPU-0000\",reason=\"gpu_idle\"} 0\n"));
}

TEST_F(GpuSamplerTest, WhatOneGpuCannotTellIsMissingAlone) {
  Tell("no_power");
  auto nvml = Nvml::Open(VERDICT_FAKE_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status().ToString();
  const std::string text = Scrape((*nvml)->Sample());
  EXPECT_THAT(text, HasSubstr("nv_gpu_power_usage{gpu_uuid=\"GPU-0000\"}"));
  EXPECT_THAT(text, Not(HasSubstr("nv_gpu_power_usage{gpu_uuid=\"GPU-1111\"}")));
  EXPECT_THAT(text, HasSubstr("nv_gpu_power_limit{gpu_uuid=\"GPU-1111\"}"));
}

TEST_F(GpuSamplerTest, AnOlderDriversMemoryIsTakenWithWhatItReserves) {
  Tell("no_memory_v2");
  auto nvml = Nvml::Open(VERDICT_FAKE_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status().ToString();
  const std::string text = Scrape((*nvml)->Sample());
  EXPECT_THAT(text, HasSubstr("nv_gpu_memory_total_bytes{gpu_uuid=\"GPU-0000\"} 80000000000\n"));
  EXPECT_THAT(text, HasSubstr("nv_gpu_memory_used_bytes{gpu_uuid=\"GPU-0000\"} 1500000000\n"));
}

TEST_F(GpuSamplerTest, WithoutNvmlOrGpusThereIsNothing) {
  EXPECT_EQ(Nvml::Open("libno-such-nvml.so.1").status().code(), StatusCode::kNotFound);
  Tell("no_gpus");
  EXPECT_EQ(Nvml::Open(VERDICT_FAKE_NVML).status().code(), StatusCode::kNotFound);
  Tell("no_init");
  EXPECT_EQ(Nvml::Open(VERDICT_FAKE_NVML).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Scrape({}), "");
  GpuSamplerOptions options = Fast();
  options.library = "libno-such-nvml.so.1";
  auto sampler = GpuSampler::Start(options);
  ASSERT_TRUE(sampler.ok());
  std::this_thread::sleep_for(20ms);
  EXPECT_THAT((*sampler)->Last(), IsEmpty());
}

TEST_F(GpuSamplerTest, AnotherLibraryOfThatNameIsRefused) {
  auto nvml = Nvml::Open("libc.so.6");
  EXPECT_EQ(nvml.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(nvml.status().message(), HasSubstr("nvmlInit_v2"));
}

TEST_F(GpuSamplerTest, GpusThatAreLostTellNothingUntilTheyAreBack) {
  auto sampler = GpuSampler::Start(Fast());
  ASSERT_TRUE(sampler.ok());
  const auto tells = [](const auto& gpus) { return !gpus.empty() && gpus[0].utilization; };
  EXPECT_TRUE(tells(WaitFor(**sampler, tells)));
  Tell("lost");
  const auto silent = [&](const auto& gpus) { return !tells(gpus); };
  EXPECT_EQ(Scrape(WaitFor(**sampler, silent)), "");
  Tell("");
  EXPECT_TRUE(tells(WaitFor(**sampler, tells)));
}

TEST_F(GpuSamplerTest, NvmlThatHangsHoldsNobodyAndItsOldSamplesGo) {
  GpuSamplerOptions options = Fast();
  options.stale_after = 100ms;
  auto sampler = GpuSampler::Start(options);
  ASSERT_TRUE(sampler.ok());
  const auto some = [](const auto& gpus) { return !gpus.empty(); };
  ASSERT_TRUE(some(WaitFor(**sampler, some)));
  Tell("hang");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(WaitFor(**sampler, [&](const auto& gpus) { return !some(gpus); }), IsEmpty());
  Tell("");
  EXPECT_TRUE(some(WaitFor(**sampler, some))) << "it is asked again once it answers";
  Tell("hang");
  std::this_thread::sleep_for(20ms);
  sampler->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST_F(GpuSamplerTest, NvmlThatHangsAtItsStartHoldsNobody) {
  Tell("hang_init");
  auto sampler = GpuSampler::Start(Fast());
  ASSERT_TRUE(sampler.ok());
  EXPECT_THAT((*sampler)->Last(), IsEmpty());
  const auto begin = std::chrono::steady_clock::now();
  sampler->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

/// The driver's own library. Without it, or without a card, this is skipped.
TEST(NvmlOnTheCard, TellsWhatItIsAndHowItStands) {
  if (dlopen(VERDICT_FAKE_NVML, RTLD_LAZY | RTLD_NOLOAD) != nullptr) {
    GTEST_SKIP() << "the fake library has the name already in this process: run this test alone";
  }
  auto nvml = Nvml::Open(GpuSamplerOptions().library);
  if (!nvml.ok()) GTEST_SKIP() << nvml.status().ToString();
  ASSERT_GT((*nvml)->gpus(), 0U);
  (*nvml)->Sample();
  std::this_thread::sleep_for(200ms);
  const std::vector<GpuSample> gpus = (*nvml)->Sample();
  std::printf("%s", Scrape(gpus).c_str());
  for (const GpuSample& gpu : gpus) {
    EXPECT_THAT(gpu.uuid, testing::StartsWith("GPU-"));
    EXPECT_GT(gpu.memory_total_bytes.value_or(0), uint64_t{1} << 30U);
    EXPECT_LE(gpu.memory_used_bytes.value_or(UINT64_MAX), gpu.memory_total_bytes.value_or(0));
    EXPECT_TRUE(gpu.utilization.value_or(-1) >= 0 && gpu.utilization.value_or(2) <= 1);
    EXPECT_GT(gpu.power_watts.value_or(0), 1);
    EXPECT_LT(gpu.power_watts.value_or(0), 2 * gpu.power_limit_watts.value_or(0));
    EXPECT_GT(gpu.energy_joules.value_or(0), 0);
    EXPECT_TRUE(gpu.temperature_celsius.value_or(0) > 5 &&
                gpu.temperature_celsius.value_or(0) < 120);
    EXPECT_GT(gpu.sm_clock_hertz.value_or(0), 1e8);
    EXPECT_GT(gpu.memory_clock_hertz.value_or(0), 1e8);
    EXPECT_TRUE(gpu.throttle_reasons.has_value());
  }
}

}  // namespace
}  // namespace verdict
