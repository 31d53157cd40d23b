#include "base/cpu_count.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace verdict {
namespace {

namespace fs = std::filesystem;

class CpuCount : public testing::Test {
 protected:
  void SetUp() override {
    mount_ = fs::path(testing::TempDir()) / ("cgroup." + std::to_string(::getpid()));
    fs::remove_all(mount_);
  }
  void TearDown() override { fs::remove_all(mount_); }
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((mount_ / path).parent_path());
    std::ofstream(mount_ / path) << text;
  }
  fs::path mount_;
};

TEST_F(CpuCount, NoQuotaIsNoLimit) {
  EXPECT_EQ(CgroupCpuLimit("0::/a\n", mount_), 0);
  Write("a/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a\n", mount_), 0);
  EXPECT_EQ(CgroupCpuLimit("nonsense", mount_), 0);
}

TEST_F(CpuCount, QuotaOfVersionTwoRoundsUp) {
  Write("a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a/b\n", mount_), 2);
}

TEST_F(CpuCount, GroupsAboveLimitToo) {
  Write("a/b/cpu.max", "800000 100000\n");
  Write("a/cpu.max", "300000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/a/b\n", mount_), 3);
}

TEST_F(CpuCount, ContainerSeesItsGroupAtTheMount) {
  Write("cpu.max", "50000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/kubepods/pod1\n", mount_), 1);
}

TEST_F(CpuCount, QuotaOfVersionOne) {
  Write("cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
  Write("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuLimit("3:memory:/x\n4:cpu,cpuacct:/x\n", mount_), 3);
  Write("cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(CgroupCpuLimit("4:cpu,cpuacct:/x\n", mount_), 0);
}

TEST_F(CpuCount, AtLeastOneHere) { EXPECT_GE(AvailableCpus(), 1); }

}  // namespace
}  // namespace verdict
