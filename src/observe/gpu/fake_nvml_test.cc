// A libnvidia-ml.so.1 for tests, with two GPUs. What it does is read at each call from the file
// that FAKE_NVML names, words in any order: "no_init" (does not start), "no_gpus", "lost" (every
// query of a GPU fails), "no_power" (this one is not supported), "memory_full" (of GPU 0, nine
// tenths), "memory_error" (of GPU 0, one more that could not be corrected), "hang" (queries do not
// return while the word is there), "hang_init"; without the file it does well.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kDriverNotLoaded = 9;
constexpr int kGpuIsLost = 15;

bool Told(const char* word) {
  const char* const path = std::getenv("FAKE_NVML");
  if (path == nullptr) return false;
  std::ifstream file(path);
  for (std::string found; file >> found;) {
    if (found == word) return true;
  }
  return false;
}

void HangWhile(const char* word) {
  while (Told(word)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

char gpus[2];  // their addresses are the handles

int Query() {
  HangWhile("hang");
  return Told("lost") ? kGpuIsLost : kSuccess;
}

unsigned Index(void* gpu) { return static_cast<unsigned>(static_cast<char*>(gpu) - gpus); }

template <typename T>
int Answer(T* value, T answer) {
  if (const int code = Query(); code != kSuccess) return code;
  *value = answer;
  return kSuccess;
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  HangWhile("hang_init");
  return Told("no_init") ? kDriverNotLoaded : kSuccess;
}
int nvmlShutdown() { return kSuccess; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = Told("no_gpus") ? 0 : 2;
  return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** gpu) {
  *gpu = &gpus[index];
  return kSuccess;
}
int nvmlDeviceGetUUID(void* gpu, char* text, unsigned length) {
  std::strncpy(text, Index(gpu) == 0 ? "GPU-0000" : "GPU-1111", length);
  return kSuccess;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* rates) {
  if (const int code = Query(); code != kSuccess) return code;
  rates[0] = 42;
  rates[1] = 7;
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* total_free_used) {
  if (const int code = Query(); code != kSuccess) return code;
  total_free_used[0] = 80'000'000'000;
  total_free_used[1] = 78'500'000'000;
  total_free_used[2] = 1'500'000'000;
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo_v2(void* gpu, void* memory) {
  struct Memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
  };
  auto* const told = static_cast<Memory*>(memory);
  if (Told("no_memory_v2") || told->version != (sizeof(Memory) | 2U << 24U)) return kNotSupported;
  if (const int code = Query(); code != kSuccess) return code;
  const unsigned long long used =
      Index(gpu) == 0 && Told("memory_full") ? 72'000'000'000 : 1'000'000'000;
  *told = {told->version, 80'000'000'000, 500'000'000, 79'500'000'000 - used, used};
  return kSuccess;
}
int nvmlDeviceGetPowerUsage(void* gpu, unsigned* milliwatts) {
  if (Index(gpu) == 1 && Told("no_power")) return kNotSupported;
  return Answer(milliwatts, 123'500U);
}
int nvmlDeviceGetPowerManagementLimit(void*, unsigned* milliwatts) {
  return Answer(milliwatts, 700'000U);
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  static std::atomic<unsigned long long> energy{5'000'000};
  return Answer(millijoules, energy += 250);
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* celsius) {
  return sensor == 0 ? Answer(celsius, 61U) : kNotSupported;
}
int nvmlDeviceGetClockInfo(void*, int clock, unsigned* megahertz) {
  return Answer(megahertz, clock == 1 ? 1980U : 2619U);
}
int nvmlDeviceGetTotalEccErrors(void* gpu, int kind, int counter, unsigned long long* count) {
  if (counter != 0) return kNotSupported;
  const unsigned long long uncorrected = Index(gpu) == 0 && Told("memory_error") ? 2 : 1;
  return Answer(count, kind == 0 ? 3ULL : uncorrected);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* reasons) {
  return Answer(reasons, 0x44ULL);  // sw_power_cap, hw_thermal_slowdown
}

}  // extern "C"
