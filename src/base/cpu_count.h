#pragma once

#include <filesystem>
#include <string_view>

namespace verdict {

/// How many threads can compute at once: the CPUs this process may run on, lowered to the CPU quota
/// of its control groups (v1 or v2), rounded up. At least 1. Thread counts everywhere come from
/// here, so that a container gets as many threads as it has CPUs.
int AvailableCpus();

/// The quota of a process's control groups, in CPUs, rounded up; 0 if there is none.
///
/// memberships: the text of /proc/self/cgroup.
/// mount: where the control group file systems are mounted, usually /sys/fs/cgroup.
int CgroupCpuLimit(std::string_view memberships, const std::filesystem::path& mount);

}  // namespace verdict
