#include "backends/tensorrt/builder_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/tensorrt/tensorrt_library.h"

namespace verdict::tensorrt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr nvinfer1::TacticSources Bit(nvinfer1::TacticSource source) {
  return 1U << static_cast<unsigned>(source);
}
constexpr nvinfer1::TacticSources kJit = Bit(nvinfer1::TacticSource::kJIT_CONVOLUTIONS);
constexpr nvinfer1::TacticSources kMask = Bit(nvinfer1::TacticSource::kEDGE_MASK_CONVOLUTIONS);

TEST(TacticSources, ChangesApplyInOrder) {
  EXPECT_EQ(ParseTacticSources({}, kJit).value(), kJit);
  EXPECT_EQ(ParseTacticSources({"-JIT_CONVOLUTIONS", "+EDGE_MASK_CONVOLUTIONS"}, kJit).value(),
            kMask);
  EXPECT_EQ(ParseTacticSources({"-JIT_CONVOLUTIONS", "+JIT_CONVOLUTIONS"}, kJit).value(), kJit);
}

TEST(TacticSources, WrongNamesSayWhatThereIs) {
  for (const char* change : {"", "+", "CUDNN", "*CUDNN", "-CUDDN", "-cudnn"}) {
    const auto sources = ParseTacticSources({change}, kJit);
    ASSERT_FALSE(sources.ok()) << change;
    EXPECT_EQ(sources.status().code(), StatusCode::kInvalidArgument) << change;
  }
  EXPECT_THAT(ParseTacticSources({"-CUDDN"}, kJit).status().message(),
              AllOf(HasSubstr("'CUDDN'"), HasSubstr("CUBLAS, CUBLAS_LT, CUDNN")));
}

TEST(TacticSources, OfAnotherVersionAreUnimplemented) {
  const auto sources = ParseTacticSources({"-CUDNN"}, kJit);
  if (kTensorRtMajor < 11) {
    EXPECT_EQ(sources.value(), kJit);
  } else {
    EXPECT_EQ(sources.status().code(), StatusCode::kUnimplemented);
  }
}

TEST(MemoryPools, NamesAreThoseOfTrtexec) {
  const auto pools = ParseMemoryPools({{"workspace", 1U << 20U}});
  ASSERT_TRUE(pools.ok());
  EXPECT_EQ(pools->at(nvinfer1::MemoryPoolType::kWORKSPACE), 1U << 20U);
  EXPECT_EQ(ParseMemoryPools({{"workspase", 1}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseMemoryPools({{"tacticSharedMem", 1}}).ok(), kTensorRtMajor >= 10);
}

TEST(OptimizationLevel, IsCheckedAgainstTheVersion) {
  EXPECT_TRUE(CheckOptimizationLevel(-1).ok());
  EXPECT_EQ(CheckOptimizationLevel(6).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckOptimizationLevel(-2).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckOptimizationLevel(3).code(),
            kHeaderVersion >= 806 ? StatusCode::kOk : StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace verdict::tensorrt
