#include "serve/shared_memory/region_registry.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

namespace verdict {
namespace {

using testing::HasSubstr;

/// A shared memory object of a client, with bytes 0, 1, 2, …
class RegionRegistryTest : public testing::Test {
 protected:
  RegionRegistryTest() : key_("/verdict_test_" + std::to_string(::getpid())) {
    ::shm_unlink(key_.c_str());
    descriptor_ = ::shm_open(key_.c_str(), O_CREAT | O_RDWR, 0600);
    Resize(kSize);
    for (size_t i = 0; i < kSize; ++i) {
      const auto byte = static_cast<char>(i);
      EXPECT_EQ(::pwrite(descriptor_, &byte, 1, static_cast<off_t>(i)), 1);
    }
  }
  ~RegionRegistryTest() override {
    ::close(descriptor_);
    ::shm_unlink(key_.c_str());
  }
  void Resize(size_t size) const {
    EXPECT_EQ(::ftruncate(descriptor_, static_cast<off_t>(size)), 0);
  }
  size_t Size() const {
    struct stat object {};
    EXPECT_EQ(::fstat(descriptor_, &object), 0);
    return static_cast<size_t>(object.st_size);
  }
  StatusCode Register(const char* name, uint64_t offset, uint64_t size) {
    return registry_.Register(name, key_, offset, size).code();
  }
  std::shared_ptr<const SharedMemoryRegion> Region(const char* name) {
    auto region = registry_.Find(name);
    EXPECT_TRUE(region.ok()) << region.status().ToString();
    return *region;
  }

  static constexpr size_t kSize = 200;
  std::string key_;
  int descriptor_ = -1;
  RegionRegistry registry_{{.allowed = true, .max_regions = 3, .max_region_bytes = 1000}};
};

TEST_F(RegionRegistryTest, ReadsAndWritesWithinTheRegion) {
  ASSERT_EQ(Register("r", 100, 50), StatusCode::kOk);
  const auto region = Region("r");
  std::array<std::byte, 4> bytes;
  ASSERT_TRUE(region->Read(46, bytes).ok());
  EXPECT_EQ(bytes[0], std::byte{146});
  EXPECT_EQ(region->Read(47, bytes).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(region->Read(UINT64_MAX, bytes).code(), StatusCode::kOutOfRange);
  bytes.fill(std::byte{7});
  ASSERT_TRUE(region->Write(0, bytes).ok());
  EXPECT_EQ(region->Write(47, bytes).code(), StatusCode::kOutOfRange);
  std::array<std::byte, 6> seen;
  ASSERT_EQ(::pread(descriptor_, seen.data(), seen.size(), 99), 6);
  EXPECT_EQ(seen[0], std::byte{99});
  EXPECT_EQ(seen[1], std::byte{7});
  EXPECT_EQ(seen[4], std::byte{7});
  EXPECT_EQ(seen[5], std::byte{104});
}

TEST_F(RegionRegistryTest, IsOffUnlessAllowed) {
  RegionRegistry off{SharedMemoryOptions{}};
  for (const Status& status : {off.Register("r", key_, 0, 8), off.Find("r").status()}) {
    EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
    EXPECT_THAT(status.message(), HasSubstr("shared_memory.allow"));
  }
  EXPECT_TRUE(off.All().empty());
}

TEST_F(RegionRegistryTest, RangesThatTheObjectDoesNotHaveAreRefused) {
  EXPECT_EQ(Register("r", 0, kSize), StatusCode::kOk);
  registry_.UnregisterAll();
  for (const auto& [offset, size] : {std::pair<uint64_t, uint64_t>{0, kSize + 1},
                                     {1, kSize},
                                     {kSize, 1},
                                     {0, 0},
                                     {0, UINT64_MAX},
                                     {UINT64_MAX, 1},
                                     {INT64_MAX, 1},
                                     {UINT64_MAX - 1, 3}}) {
    EXPECT_EQ(Register("r", offset, size), StatusCode::kInvalidArgument) << offset << ' ' << size;
  }
  Resize(5000);
  EXPECT_EQ(Register("r", 0, 1001), StatusCode::kInvalidArgument);  // max_region_bytes
  EXPECT_TRUE(registry_.All().empty());
}

TEST_F(RegionRegistryTest, NamesAndKeysAreChecked) {
  const auto refusal = [&](const std::string& name, const std::string& key) {
    return registry_.Register(name, key, 0, 1).code();
  };
  EXPECT_EQ(refusal("", key_), StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal(std::string(257, 'n'), key_), StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal("a\nb", key_), StatusCode::kInvalidArgument);
  for (const std::string& key :
       {std::string(), std::string("/"), std::string("/."), std::string(".."),
        std::string("/../etc/passwd"), std::string("a/b"), std::string("a\0b", 3),
        std::string("/sem.lock"), std::string(300, 'k')}) {
    EXPECT_EQ(refusal("r", key), StatusCode::kInvalidArgument) << key;
  }
  EXPECT_EQ(refusal("r", "/verdict_there_is_no_such"), StatusCode::kNotFound);
  EXPECT_EQ(refusal("r", key_.substr(1)), StatusCode::kOk);  // with and without the slash
  EXPECT_EQ(refusal("r", key_), StatusCode::kAlreadyExists);
}

TEST_F(RegionRegistryTest, WhatIsNoSharedMemoryIsRefused) {
  const std::string pipe = "/dev/shm" + key_ + ".pipe";
  const std::string link = "/dev/shm" + key_ + ".link";
  const std::string folder = "/dev/shm" + key_ + ".folder";
  if (::mkfifo(pipe.c_str(), 0600) != 0) GTEST_SKIP() << "shared memory is not in /dev/shm";
  ASSERT_EQ(::symlink("/etc/passwd", link.c_str()), 0);
  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  for (const char* suffix : {".pipe", ".link", ".folder"}) {
    EXPECT_EQ(registry_.Register("r", key_ + suffix, 0, 1).code(), StatusCode::kInvalidArgument)
        << suffix;
  }
  ::unlink(pipe.c_str());
  ::unlink(link.c_str());
  ::rmdir(folder.c_str());
}

TEST_F(RegionRegistryTest, AnObjectThatShrinksIsAnErrorAndNoFault) {
  ASSERT_EQ(Register("r", 0, kSize), StatusCode::kOk);
  const auto region = Region("r");
  Resize(10);
  std::array<std::byte, 20> bytes{};
  const Status read = region->Read(0, bytes);
  EXPECT_EQ(read.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(read.message(), HasSubstr("has 10 bytes; region 'r' needs 200"));
  EXPECT_EQ(region->Write(0, bytes).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Size(), 10u);  // not made longer again
}

TEST_F(RegionRegistryTest, AnObjectThatGoesOnShrinkingAndGrowingNeverFaults) {
  ASSERT_EQ(Register("r", 0, kSize), StatusCode::kOk);
  const auto region = Region("r");
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    while (!stop) {
      Resize(0);
      Resize(kSize);
    }
  });
  std::array<std::byte, kSize> bytes{};
  for (int i = 0; i < 20'000; ++i) {
    (void)region->Read(0, bytes).ok();
    (void)region->Write(0, bytes).ok();
  }
  stop = true;
  owner.join();
}

TEST_F(RegionRegistryTest, ARegionInUseOutlivesItsRegistrationAndItsName) {
  ASSERT_EQ(Register("r", 0, kSize), StatusCode::kOk);
  auto region = Region("r");
  ::shm_unlink(key_.c_str());
  registry_.Unregister("r");
  EXPECT_EQ(registry_.Find("r").status().code(), StatusCode::kNotFound);
  std::array<std::byte, 2> bytes;
  ASSERT_TRUE(region->Read(5, bytes).ok());
  EXPECT_EQ(bytes[1], std::byte{6});
  registry_.Unregister("r");  // no error
}

TEST_F(RegionRegistryTest, HoldsOnlySoMany) {
  EXPECT_EQ(Register("a", 0, 1), StatusCode::kOk);
  EXPECT_EQ(Register("b", 0, 1), StatusCode::kOk);
  EXPECT_EQ(Register("c", 0, 1), StatusCode::kOk);
  EXPECT_EQ(Register("d", 0, 1), StatusCode::kResourceExhausted);
  ASSERT_EQ(registry_.All().size(), 3u);
  EXPECT_EQ(registry_.All()[1]->name(), "b");
  registry_.Unregister("a");
  EXPECT_EQ(Register("d", 0, 1), StatusCode::kOk);
  registry_.UnregisterAll();
  EXPECT_TRUE(registry_.All().empty());
}

TEST_F(RegionRegistryTest, ObjectsOfOthersAreNotOpened) {
  if (::getuid() == 0) GTEST_SKIP() << "root may open everything";
  EXPECT_EQ(::fchmod(descriptor_, 0), 0);
  EXPECT_EQ(Register("r", 0, 1), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace verdict
