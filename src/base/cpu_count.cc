#include "base/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace verdict {
namespace {

namespace fs = std::filesystem;

int CpusFromQuota(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, 65536.0));
}

/// The lower of two limits, where 0 means none.
int Tighter(int a, int b) {
  if (a == 0) return b;
  if (b == 0) return a;
  return std::min(a, b);
}

/// The quota of one v2 group: "max 100000" or "150000 100000".
int QuotaV2(const fs::path& group) {
  std::ifstream file(group / "cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max") return 0;
  return CpusFromQuota(std::strtod(quota.c_str(), nullptr), period);
}

int QuotaV1(const fs::path& group) {
  std::ifstream quota_file(group / "cpu.cfs_quota_us");
  std::ifstream period_file(group / "cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  return CpusFromQuota(quota, period);  // -1 stands for no quota
}

/// The tightest quota of a group and the groups above it, up to the mount. A container sees the
/// host's path in /proc/self/cgroup, yet its own group at the mount itself, which is looked at too.
int TightestQuota(const fs::path& mount, std::string_view path, int (*quota)(const fs::path&)) {
  int limit = quota(mount);
  fs::path group = mount;
  for (const auto& part : fs::path(path).relative_path()) {
    if (part == "..") break;
    group /= part;
    limit = Tighter(limit, quota(group));
  }
  return limit;
}

}  // namespace

int CgroupCpuLimit(std::string_view memberships, const fs::path& mount) {
  int limit = 0;
  std::istringstream lines{std::string(memberships)};
  for (std::string line; std::getline(lines, line);) {
    // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1).
    const size_t first = line.find(':');
    if (first == std::string::npos) continue;
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      limit = Tighter(limit, TightestQuota(mount, path, QuotaV2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      limit = Tighter(limit, TightestQuota(mount / controllers, path, QuotaV1));
      limit = Tighter(limit, TightestQuota(mount / "cpu", path, QuotaV1));
    }
  }
  return limit;
}

int AvailableCpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) cpus = CPU_COUNT(&allowed);
  std::ifstream file("/proc/self/cgroup");
  std::ostringstream memberships;
  memberships << file.rdbuf();
  return std::max(1, Tighter(cpus, CgroupCpuLimit(memberships.str(), "/sys/fs/cgroup")));
}

}  // namespace verdict
