// With a driver that is a few maps: who maps what, and who waits for whom, needs no card.
#include "backends/tensorrt/scratch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace verdict::tensorrt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20U;
constexpr uint64_t kPiece = 4 * kMiB;
constexpr CUdeviceptr kFirstAddress = 0x100000000;

/// What the card has and was told.
struct Card {
  uint64_t total = 64 * kMiB, used = 0;
  int maps_memory = 1;
  CUdeviceptr next_address = kFirstAddress;
  std::map<CUdeviceptr, uint64_t> ranges, mapped;
  std::map<CUdeviceptr, bool> accessible;
  CUresult set_access = CUDA_SUCCESS, mark = CUDA_SUCCESS, end = CUDA_SUCCESS;
  std::vector<std::string> log;  // of events
  int events = 0;
};
Card* card = nullptr;

std::string Name(CUstream stream) {
  return std::string(1, static_cast<char>(reinterpret_cast<uintptr_t>(stream)));
}
CUstream Stream(char name) { return reinterpret_cast<CUstream>(static_cast<uintptr_t>(name)); }

CudaDriver Driver() {
  CudaDriver driver;
  driver.cuDeviceGetCount = [](int* count) { return *count = 1, CUDA_SUCCESS; };
  driver.cuDeviceGet = [](CUdevice* device, int) { return *device = 0, CUDA_SUCCESS; };
  driver.cuDeviceGetAttribute = [](int* value, CUdevice_attribute attribute, CUdevice) {
    *value = attribute == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
                 ? card->maps_memory
                 : 9;
    return CUDA_SUCCESS;
  };
  driver.cuCtxCreate_v2 = [](CUcontext* context, unsigned, CUdevice) {
    return *context = reinterpret_cast<CUcontext>(1), CUDA_SUCCESS;
  };
  driver.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
  driver.cuCtxDestroy_v2 = [](CUcontext) { return CUDA_SUCCESS; };
  driver.cuMemGetInfo_v2 = [](size_t* free, size_t* total) {
    *free = card->total - card->used;
    *total = card->total;
    return CUDA_SUCCESS;
  };
  driver.cuMemAlloc_v2 = [](CUdeviceptr* address, size_t bytes) {
    card->used += bytes;
    *address = card->next_address += kMiB;
    return CUDA_SUCCESS;
  };
  driver.cuMemFree_v2 = [](CUdeviceptr) { return CUDA_SUCCESS; };
  driver.cuMemGetAllocationGranularity = [](size_t* bytes, const CUmemAllocationProp*,
                                            CUmemAllocationGranularity_flags) {
    return *bytes = 2 * kMiB, CUDA_SUCCESS;
  };
  driver.cuMemAddressReserve = [](CUdeviceptr* address, size_t bytes, size_t, CUdeviceptr,
                                  unsigned long long) {
    *address = card->next_address;
    card->next_address += bytes;
    card->ranges[*address] = bytes;
    return CUDA_SUCCESS;
  };
  driver.cuMemAddressFree = [](CUdeviceptr address, size_t) {
    return card->ranges.erase(address) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  driver.cuMemCreate = [](CUmemGenericAllocationHandle* handle, size_t bytes,
                          const CUmemAllocationProp*, unsigned long long) {
    if (card->used + bytes > card->total) return CUDA_ERROR_OUT_OF_MEMORY;
    card->used += bytes;
    return *handle = 1, CUDA_SUCCESS;
  };
  driver.cuMemRelease = [](CUmemGenericAllocationHandle) { return CUDA_SUCCESS; };
  driver.cuMemMap = [](CUdeviceptr address, size_t bytes, size_t, CUmemGenericAllocationHandle,
                       unsigned long long) {
    return card->mapped.emplace(address, bytes).second ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  driver.cuMemSetAccess = [](CUdeviceptr address, size_t, const CUmemAccessDesc*, size_t) {
    card->accessible[address] = true;
    return card->set_access;
  };
  driver.cuMemUnmap = [](CUdeviceptr address, size_t bytes) {
    EXPECT_EQ(card->mapped[address], bytes);
    card->used -= bytes;
    card->mapped.erase(address);
    return CUDA_SUCCESS;
  };
  driver.cuEventCreate = [](CUevent* event, unsigned) {
    ++card->events;
    return *event = reinterpret_cast<CUevent>(1), CUDA_SUCCESS;
  };
  driver.cuEventDestroy_v2 = [](CUevent) { return --card->events, CUDA_SUCCESS; };
  driver.cuEventRecord = [](CUevent, CUstream stream) {
    return card->log.push_back("mark " + Name(stream)), card->mark;
  };
  driver.cuStreamSynchronize = [](CUstream stream) {
    return card->log.push_back("end " + Name(stream)), card->end;
  };
  driver.cuStreamWaitEvent = [](CUstream stream, CUevent, unsigned) {
    return card->log.push_back("wait " + Name(stream)), CUDA_SUCCESS;
  };
  return driver;
}

class ScratchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    card = &card_;
    auto context = CudaContext::Open(driver_, 0);
    ASSERT_TRUE(context.ok()) << context.status().ToString();
    context_ = *std::move(context);
    lanes_ = std::make_unique<ScratchLanes>(*context_);
  }
  Scratch Allocate(size_t lane, uint64_t bytes) {
    auto scratch = Scratch::Allocate(*context_, *lanes_, lane, bytes, kMiB);
    EXPECT_TRUE(scratch.ok()) << scratch.status().ToString();
    return scratch.ok() ? *std::move(scratch) : Scratch();
  }
  Status Run(Scratch& scratch, char stream) {
    return scratch.InTurn(Stream(stream), [&] {
      card->log.push_back(std::string("run ") + stream);
      return OkStatus();
    });
  }

  Card card_;
  const CudaDriver driver_ = Driver();
  std::unique_ptr<CudaContext> context_;
  std::unique_ptr<ScratchLanes> lanes_;
};

TEST_F(ScratchTest, OfOneLaneIsAsLargeAsTheLargestAndStaysWhereItIs) {
  Scratch small = Allocate(0, kPiece);
  const CUdeviceptr address = small.address();
  EXPECT_EQ(lanes_->bytes(), kPiece);
  {
    const Scratch large = Allocate(0, 2 * kPiece + 1);
    EXPECT_EQ(large.address(), address);
    EXPECT_EQ(small.address(), address);
    EXPECT_EQ(large.bytes(), 2 * kPiece + 1);
    EXPECT_EQ(large.own_bytes(), 0U);
    EXPECT_EQ(lanes_->bytes(), 3 * kPiece);
    EXPECT_THAT(card_.mapped,
                ElementsAre(std::pair(address, kPiece), std::pair(address + kPiece, kPiece),
                            std::pair(address + 2 * kPiece, kPiece)));
    for (const auto& [piece, bytes] : card_.mapped) EXPECT_TRUE(card_.accessible[piece]);
  }
  EXPECT_EQ(lanes_->bytes(), kPiece);
  EXPECT_EQ(card_.used, kPiece);
  const Scratch same = Allocate(0, kPiece);
  small = Scratch();
  EXPECT_EQ(lanes_->bytes(), kPiece);  // the other of that size is still there
}

TEST_F(ScratchTest, LanesAreApart) {
  const Scratch first = Allocate(0, kPiece);
  const Scratch second = Allocate(1, 2 * kPiece);
  EXPECT_NE(first.address(), second.address());
  EXPECT_EQ(lanes_->bytes(), 3 * kPiece);
}

TEST_F(ScratchTest, WithoutRoomNothingStays) {
  const Scratch first = Allocate(0, kPiece);
  const auto refused = Scratch::Allocate(*context_, *lanes_, 0, 15 * kPiece, kMiB);
  EXPECT_TRUE(refused.ok()) << "all but one piece";
  const auto too_much = Scratch::Allocate(*context_, *lanes_, 1, 2 * kPiece, kMiB);
  EXPECT_EQ(too_much.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(too_much.status().message(), HasSubstr("scratch of 8388608 bytes"));
  EXPECT_EQ(lanes_->bytes(), 15 * kPiece);
  EXPECT_EQ(Scratch::Allocate(*context_, *lanes_, 0, 17 * kPiece, kMiB).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(lanes_->bytes(), 15 * kPiece);
  card_.set_access = CUDA_ERROR_INVALID_DEVICE;
  EXPECT_FALSE(Scratch::Allocate(*context_, *lanes_, 1, kPiece, kMiB).ok());
  EXPECT_EQ(card_.used, 15 * kPiece);
}

TEST_F(ScratchTest, RunsOfALaneWaitForEachOther) {
  Scratch a = Allocate(0, kPiece), b = Allocate(0, kPiece);
  for (const char stream : {'a', 'a', 'b', 'a'}) {
    EXPECT_TRUE(Run(stream == 'a' ? a : b, stream).ok());
  }
  EXPECT_THAT(card_.log, ElementsAre("run a", "mark a", "run a", "mark a", "wait b", "run b",
                                     "mark b", "wait a", "run a", "mark a"));
}

TEST_F(ScratchTest, WhatHasFailedHalfwayIsWaitedForToo) {
  Scratch a = Allocate(0, kPiece), b = Allocate(0, kPiece);
  EXPECT_EQ(a.InTurn(Stream('a'), [] { return Internal("halfway"); }).code(),
            StatusCode::kInternal);
  EXPECT_TRUE(Run(b, 'b').ok());
  EXPECT_THAT(card_.log, ElementsAre("mark a", "wait b", "run b", "mark b"));
}

TEST_F(ScratchTest, ARunWhoseEndCannotBeMarkedEndsBeforeAnotherBegins) {
  Scratch a = Allocate(0, kPiece), b = Allocate(0, kPiece);
  card_.mark = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  EXPECT_TRUE(Run(a, 'a').ok());
  card_.mark = CUDA_SUCCESS;
  EXPECT_TRUE(Run(b, 'b').ok());
  EXPECT_THAT(card_.log, ElementsAre("run a", "mark a", "end a", "run b", "mark b"));
}

TEST_F(ScratchTest, WhereNotEvenItsEndIsKnownTheContextIsLost) {
  Scratch a = Allocate(0, kPiece);
  card_.mark = card_.end = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  const Status status = Run(a, 'a');
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("waiting for the end of a turn"));
  EXPECT_TRUE(context_->lost());
}

TEST_F(ScratchTest, OfALostContextNothingIsWaitedFor) {
  Scratch a = Allocate(0, kPiece);
  card_.mark = CUDA_ERROR_ILLEGAL_ADDRESS;
  EXPECT_FALSE(Run(a, 'a').ok());
  EXPECT_TRUE(context_->lost());
  EXPECT_THAT(card_.log, ElementsAre("run a", "mark a"));
}

TEST_F(ScratchTest, ALittleIsARunnersOwn) {
  Scratch a = Allocate(0, kMiB - 1);
  EXPECT_EQ(a.own_bytes(), kMiB - 1);
  EXPECT_EQ(lanes_->bytes(), 0U);
  EXPECT_TRUE(Run(a, 'a').ok());
  EXPECT_THAT(card_.log, ElementsAre("run a"));
}

TEST_F(ScratchTest, WhereTheCardMapsNothingItIsARunnersOwn) {
  card_.maps_memory = 0;
  const Scratch a = Allocate(0, 2 * kPiece), b = Allocate(0, 2 * kPiece);
  EXPECT_NE(a.address(), b.address());
  EXPECT_EQ(a.own_bytes(), 2 * kPiece);
}

TEST_F(ScratchTest, NothingIsLeft) {
  { const Scratch a = Allocate(0, kPiece), b = Allocate(1, kPiece); }
  EXPECT_THAT(card_.mapped, IsEmpty());
  EXPECT_EQ(card_.events, 2);
  lanes_.reset();
  EXPECT_EQ(card_.events, 0);
  EXPECT_THAT(card_.ranges, IsEmpty());
}

TEST_F(ScratchTest, OfALostContextNothingIsTouched) {
  Scratch a = Allocate(0, kPiece);
  context_->MarkLost(Unavailable("a test"));
  a = Scratch();
  lanes_.reset();
  EXPECT_EQ(card_.mapped.size(), 1U);
  EXPECT_EQ(card_.ranges.size(), 1U);
}

}  // namespace
}  // namespace verdict::tensorrt
