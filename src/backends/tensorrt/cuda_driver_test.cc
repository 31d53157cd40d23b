#include "backends/tensorrt/cuda_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace verdict::tensorrt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CudaStatus, ErrorsHaveTheirCodes) {
  const struct {
    CUresult result;
    StatusCode code;
    bool sticky;
  } cases[] = {
      {CUDA_SUCCESS, StatusCode::kOk, false},
      {CUDA_ERROR_OUT_OF_MEMORY, StatusCode::kResourceExhausted, false},
      {CUDA_ERROR_ILLEGAL_ADDRESS, StatusCode::kUnavailable, true},
      {CUDA_ERROR_LAUNCH_FAILED, StatusCode::kUnavailable, true},
      {CUDA_ERROR_ILLEGAL_INSTRUCTION, StatusCode::kUnavailable, true},
      {CUDA_ERROR_MISALIGNED_ADDRESS, StatusCode::kUnavailable, true},
      {CUDA_ERROR_HARDWARE_STACK_ERROR, StatusCode::kUnavailable, true},
      {CUDA_ERROR_ECC_UNCORRECTABLE, StatusCode::kUnavailable, true},
      {CUDA_ERROR_NVLINK_UNCORRECTABLE, StatusCode::kUnavailable, true},
      {CUDA_ERROR_LAUNCH_TIMEOUT, StatusCode::kUnavailable, true},
      {CUDA_ERROR_ASSERT, StatusCode::kUnavailable, true},
      {CUDA_ERROR_NO_DEVICE, StatusCode::kUnavailable, false},
      {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, StatusCode::kUnavailable, false},
      {CUDA_ERROR_INVALID_DEVICE, StatusCode::kNotFound, false},
      {CUDA_ERROR_INVALID_VALUE, StatusCode::kInternal, false},
  };
  for (const auto& [result, code, sticky] : cases) {
    EXPECT_EQ(CudaStatus(result, "testing", nullptr).code(), code) << result;
    EXPECT_EQ(IsSticky(result), sticky) << result;
  }
}

TEST(CudaStatus, MessagesSayWhatToDo) {
  EXPECT_THAT(CudaStatus(CUDA_ERROR_OUT_OF_MEMORY, "loading 'm'", nullptr).message(),
              AllOf(HasSubstr("loading 'm': CUDA error 2"), HasSubstr("free device memory")));
  EXPECT_THAT(CudaStatus(CUDA_ERROR_NO_DEVICE, "cuInit", nullptr).message(),
              HasSubstr("install NVIDIA's driver"));
  EXPECT_THAT(CudaStatus(CUDA_ERROR_LAUNCH_FAILED, "running", nullptr).message(),
              HasSubstr("context is lost"));
}

TEST(OpenCudaLibrary, MissingDriverSaysWhatToInstall) {
  const auto driver = OpenCudaLibrary("libcuda_that_is_not_there.so.1");
  ASSERT_FALSE(driver.ok());
  EXPECT_EQ(driver.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(driver.status().message(),
              AllOf(HasSubstr("libcuda_that_is_not_there.so.1"),
                    HasSubstr("install NVIDIA's driver"), HasSubstr("nvidia-smi")));
}

TEST(OpenCudaLibrary, AnotherLibraryIsNamedWithWhatItLacks) {
  const auto driver = OpenCudaLibrary("libc.so.6");
  ASSERT_FALSE(driver.ok());
  EXPECT_EQ(driver.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(driver.status().message(),
              AllOf(HasSubstr("libc.so.6 lacks cuInit"), HasSubstr("cuCtxCreate_v2")));
}

}  // namespace
}  // namespace verdict::tensorrt
