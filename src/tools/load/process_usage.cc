#include "tools/load/process_usage.h"

#include <unistd.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

namespace verdict::load {

Result<ProcessUsage> ParseProcessStat(std::string_view text, int64_t ticks_per_s,
                                      int64_t page_bytes) {
  // The second field is the command's name in brackets, and may hold anything, brackets too.
  const size_t name_end = text.rfind(") ");
  constexpr int kFirst = 3;  // number of the field behind it, as proc(5) counts
  constexpr int kUserTicks = 14;
  constexpr int kKernelTicks = 15;
  constexpr int kResidentPages = 24;
  int64_t fields[kResidentPages + 1] = {};
  if (name_end == std::string_view::npos) return InvalidArgument("not a /proc/PID/stat");
  text.remove_prefix(name_end + 2);
  for (int i = kFirst; i <= kResidentPages; ++i) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const auto [last, error] = std::from_chars(text.data(), text.data() + end, fields[i]);
    // The third is a letter. The unsigned limits beyond int64 are none of those wanted.
    const bool wanted = i == kUserTicks || i == kKernelTicks || i == kResidentPages;
    if (wanted && (error != std::errc() || last != text.data() + end)) {
      return InvalidArgument("not a /proc/PID/stat");
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  const auto ticks = static_cast<double>(ticks_per_s);
  return ProcessUsage{static_cast<double>(fields[kUserTicks]) / ticks,
                      static_cast<double>(fields[kKernelTicks]) / ticks,
                      fields[kResidentPages] * page_bytes};
}

Result<ProcessUsage> ReadProcessUsage(int pid) {
  const std::string process = pid == 0 ? "self" : std::to_string(pid);
  std::ifstream file("/proc/" + process + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.empty()) return NotFound("there is no process " + process);
  return ParseProcessStat(text, ::sysconf(_SC_CLK_TCK), ::sysconf(_SC_PAGESIZE));
}

}  // namespace verdict::load
