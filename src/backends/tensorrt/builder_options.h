#pragma once

#include <NvInfer.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace verdict::tensorrt {

/// Applies "-CUDNN", "+CUBLAS_LT", … in order to a set of tactic sources, as trtexec does. Errors:
/// kInvalidArgument: not of this form, or no such source; kUnimplemented: of another version.
Result<nvinfer1::TacticSources> ParseTacticSources(const std::vector<std::string>& changes,
                                                   nvinfer1::TacticSources sources);

/// The sources without those whose library cannot be opened here: TensorRT 8 would fail a build
/// that may use cuDNN where there is none.
nvinfer1::TacticSources WithoutMissingLibraries(nvinfer1::TacticSources sources);

/// "workspace" and the other pools by trtexec's names. Errors: as ParseTacticSources.
Result<std::map<nvinfer1::MemoryPoolType, size_t>> ParseMemoryPools(
    const std::map<std::string, uint64_t>& pools);

/// OK where this TensorRT has builder levels and `level` is one, or is -1. Errors: kUnimplemented,
/// kInvalidArgument.
Status CheckOptimizationLevel(int level);

}  // namespace verdict::tensorrt
