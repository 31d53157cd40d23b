#include "observe/gpu/nvml.h"

#include <dlfcn.h>

#include <array>
#include <utility>

namespace verdict {
namespace {

// The few declarations of NVML's C interface that are needed, by its reference manual. They have
// not changed since the suffixes _v2 came (driver 340), and newer drivers keep them.
using NvmlReturn = int;
constexpr NvmlReturn kSuccess = 0;
using NvmlDevice = void*;

struct NvmlUtilization {
  unsigned gpu;     // percent of time with a kernel running
  unsigned memory;  // percent of time with memory read or written
};
static_assert(sizeof(NvmlUtilization) == 8);

struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
static_assert(sizeof(NvmlMemory) == 24);

/// What the driver keeps for itself is not in `used` here, as in what nvidia-smi tells.
struct NvmlMemoryV2 {
  unsigned version;  // kMemoryV2, to be set before the call
  unsigned long long total;
  unsigned long long reserved;
  unsigned long long free;
  unsigned long long used;
};
static_assert(sizeof(NvmlMemoryV2) == 40);
constexpr unsigned kMemoryV2 = sizeof(NvmlMemoryV2) | 2U << 24U;

enum NvmlTemperatureSensor : int { kGpuSensor = 0 };
enum NvmlClock : int { kSmClock = 1, kMemoryClock = 2 };
enum NvmlEccError : int { kCorrected = 0, kUncorrected = 1 };
enum NvmlEccCounter : int { kVolatile = 0 };
static_assert(sizeof(NvmlClock) == sizeof(int), "C's enums");

constexpr unsigned kUuidBytes = 96;  // NVML_DEVICE_UUID_V2_BUFFER_SIZE
constexpr double kHertzPerMegahertz = 1e6;

template <typename F>
bool Find(void* library, const char* name, F** function) {
  *function = reinterpret_cast<F*>(dlsym(library, name));
  return *function != nullptr;
}

/// The value that `function` stores, or nothing where there is no such function or it fails.
template <typename T, typename F, typename... Args>
std::optional<T> Ask(F* function, Args... args) {
  T value{};
  if (function == nullptr || function(args..., &value) != kSuccess) return std::nullopt;
  return value;
}

std::optional<double> Scaled(std::optional<unsigned> value, double factor) {
  if (!value) return std::nullopt;
  return *value * factor;
}

}  // namespace

struct Nvml::Functions {
  // Always there.
  NvmlReturn (*init)();
  NvmlReturn (*shutdown)();
  NvmlReturn (*count)(unsigned*);
  NvmlReturn (*handle)(unsigned, NvmlDevice*);
  NvmlReturn (*uuid)(NvmlDevice, char*, unsigned);
  // Null where this driver has none.
  NvmlReturn (*utilization)(NvmlDevice, NvmlUtilization*);
  NvmlReturn (*memory)(NvmlDevice, NvmlMemory*);
  NvmlReturn (*memory_v2)(NvmlDevice, NvmlMemoryV2*);  // since R510
  NvmlReturn (*power)(NvmlDevice, unsigned* milliwatts);
  NvmlReturn (*power_limit)(NvmlDevice, unsigned* milliwatts);
  NvmlReturn (*energy)(NvmlDevice, unsigned long long* millijoules);
  NvmlReturn (*temperature)(NvmlDevice, NvmlTemperatureSensor, unsigned* celsius);
  NvmlReturn (*clock)(NvmlDevice, NvmlClock, unsigned* megahertz);
  NvmlReturn (*ecc_errors)(NvmlDevice, NvmlEccError, NvmlEccCounter, unsigned long long*);
  NvmlReturn (*throttle_reasons)(NvmlDevice, unsigned long long*);
  bool started = false;
};

struct Nvml::Gpu {
  NvmlDevice device;
  unsigned index;
  std::string uuid;
  std::optional<unsigned long long> first_energy;
};

Nvml::Nvml() : functions_(std::make_unique<Functions>()) {}

Nvml::~Nvml() {
  if (functions_->started) functions_->shutdown();
}

Result<std::unique_ptr<Nvml>> Nvml::Open(const std::string& library) {
  // Never closed again: the driver's libraries start threads and hooks of their own.
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return NotFound("no " + library + ", which comes with NVIDIA's driver: no metrics of GPUs");
  }
  std::unique_ptr<Nvml> nvml(new Nvml());
  Functions& f = *nvml->functions_;
  if (!verdict::Find(handle, "nvmlInit_v2", &f.init) ||
      !verdict::Find(handle, "nvmlShutdown", &f.shutdown) ||
      !verdict::Find(handle, "nvmlDeviceGetCount_v2", &f.count) ||
      !verdict::Find(handle, "nvmlDeviceGetHandleByIndex_v2", &f.handle) ||
      !verdict::Find(handle, "nvmlDeviceGetUUID", &f.uuid)) {
    return FailedPrecondition(library +
                              " lacks functions of NVML (nvmlInit_v2, …): no metrics of GPUs; "
                              "install the driver's own library");
  }
  verdict::Find(handle, "nvmlDeviceGetUtilizationRates", &f.utilization);
  verdict::Find(handle, "nvmlDeviceGetMemoryInfo", &f.memory);
  verdict::Find(handle, "nvmlDeviceGetMemoryInfo_v2", &f.memory_v2);
  verdict::Find(handle, "nvmlDeviceGetPowerUsage", &f.power);
  verdict::Find(handle, "nvmlDeviceGetPowerManagementLimit", &f.power_limit);
  verdict::Find(handle, "nvmlDeviceGetTotalEnergyConsumption", &f.energy);
  verdict::Find(handle, "nvmlDeviceGetTemperature", &f.temperature);
  verdict::Find(handle, "nvmlDeviceGetClockInfo", &f.clock);
  verdict::Find(handle, "nvmlDeviceGetTotalEccErrors", &f.ecc_errors);
  verdict::Find(handle, "nvmlDeviceGetCurrentClocksThrottleReasons", &f.throttle_reasons);
  if (const NvmlReturn code = f.init(); code != kSuccess) {
    return FailedPrecondition("NVML does not start (nvmlInit_v2 returned " + std::to_string(code) +
                              "): no metrics of GPUs; see what nvidia-smi says");
  }
  f.started = true;
  VERDICT_RETURN_IF_ERROR(nvml->Find());
  return nvml;
}

Status Nvml::Find() {
  unsigned count = 0;
  if (const NvmlReturn code = functions_->count(&count); code != kSuccess) {
    return FailedPrecondition("NVML does not count GPUs (nvmlDeviceGetCount_v2 returned " +
                              std::to_string(code) +
                              "): no metrics of GPUs; see what nvidia-smi says");
  }
  for (unsigned index = 0; index < count; ++index) {
    NvmlDevice device = nullptr;
    std::array<char, kUuidBytes + 1> uuid{};
    // One that this user may not see, or that is broken, is not there.
    if (functions_->handle(index, &device) != kSuccess) continue;
    if (functions_->uuid(device, uuid.data(), kUuidBytes) != kSuccess) continue;
    gpus_.push_back({device, index, uuid.data(), std::nullopt});
  }
  if (gpus_.empty()) return NotFound("NVML finds no GPU: no metrics of GPUs");
  return OkStatus();
}

size_t Nvml::gpus() const { return gpus_.size(); }

std::vector<GpuSample> Nvml::Sample() {
  const Functions& f = *functions_;
  std::vector<GpuSample> samples;
  for (Gpu& gpu : gpus_) {
    GpuSample sample;
    sample.uuid = gpu.uuid;
    sample.index = gpu.index;
    if (const auto busy = Ask<NvmlUtilization>(f.utilization, gpu.device)) {
      sample.utilization = busy->gpu / 100.0;
    }
    NvmlMemoryV2 memory_v2{.version = kMemoryV2};
    if (f.memory_v2 != nullptr && f.memory_v2(gpu.device, &memory_v2) == kSuccess) {
      sample.memory_total_bytes = memory_v2.total;
      sample.memory_used_bytes = memory_v2.used;
    } else if (const auto memory = Ask<NvmlMemory>(f.memory, gpu.device)) {
      sample.memory_total_bytes = memory->total;
      sample.memory_used_bytes = memory->used;
    }
    sample.power_watts = Scaled(Ask<unsigned>(f.power, gpu.device), 1e-3);
    sample.power_limit_watts = Scaled(Ask<unsigned>(f.power_limit, gpu.device), 1e-3);
    if (const auto energy = Ask<unsigned long long>(f.energy, gpu.device)) {
      // NVML counts from the driver's load on; what falls (the driver was loaded again) begins
      // anew.
      if (!gpu.first_energy || *energy < *gpu.first_energy) gpu.first_energy = *energy;
      sample.energy_joules = static_cast<double>(*energy - *gpu.first_energy) * 1e-3;
    }
    sample.temperature_celsius = Scaled(Ask<unsigned>(f.temperature, gpu.device, kGpuSensor), 1);
    sample.sm_clock_hertz =
        Scaled(Ask<unsigned>(f.clock, gpu.device, kSmClock), kHertzPerMegahertz);
    sample.memory_clock_hertz =
        Scaled(Ask<unsigned>(f.clock, gpu.device, kMemoryClock), kHertzPerMegahertz);
    sample.corrected_ecc_errors =
        Ask<unsigned long long>(f.ecc_errors, gpu.device, kCorrected, kVolatile);
    sample.uncorrected_ecc_errors =
        Ask<unsigned long long>(f.ecc_errors, gpu.device, kUncorrected, kVolatile);
    sample.throttle_reasons = Ask<unsigned long long>(f.throttle_reasons, gpu.device);
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace verdict
