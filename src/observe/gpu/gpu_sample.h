#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace verdict {

/// What one GPU said of itself when it was last asked; what it does not know is empty.
struct GpuSample {
  std::string uuid;  // "GPU-…", as nvidia-smi -L writes it
  unsigned index = 0;
  std::optional<double> utilization;  // of its time in the last interval, 0 to 1
  std::optional<uint64_t> memory_total_bytes;
  std::optional<uint64_t> memory_used_bytes;
  std::optional<double> power_watts;
  std::optional<double> power_limit_watts;
  std::optional<double> energy_joules;  // since the first sample of this process
  std::optional<double> temperature_celsius;
  std::optional<double> sm_clock_hertz;
  std::optional<double> memory_clock_hertz;
  std::optional<uint64_t> corrected_ecc_errors;  // since the driver was loaded
  std::optional<uint64_t> uncorrected_ecc_errors;
  std::optional<uint64_t> throttle_reasons;  // bits, see kThrottleReasons
};

struct ThrottleReason {
  uint64_t bit;
  const char* name;
};

/// Why clocks are lower than they could be: bits of NVML's nvmlClocksThrottleReason…
inline constexpr ThrottleReason kThrottleReasons[] = {
    {0x001, "gpu_idle"},
    {0x002, "applications_clocks_setting"},
    {0x004, "sw_power_cap"},
    {0x008, "hw_slowdown"},
    {0x010, "sync_boost"},
    {0x020, "sw_thermal_slowdown"},
    {0x040, "hw_thermal_slowdown"},
    {0x080, "hw_power_brake_slowdown"},
    {0x100, "display_clock_setting"},
};

}  // namespace verdict
