#include "backends/tensorrt/builder_options.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace verdict::tensorrt {
namespace {

constexpr int kNotInThisVersion = -1;

struct Named {
  std::string_view name;
  int number;
};

template <typename Enum>
constexpr int Number(Enum value) {
  return static_cast<int>(value);
}

constexpr std::array kSources = {
#if NV_TENSORRT_MAJOR < 11
    Named{"CUBLAS", Number(nvinfer1::TacticSource::kCUBLAS)},
    Named{"CUBLAS_LT", Number(nvinfer1::TacticSource::kCUBLAS_LT)},
    Named{"CUDNN", Number(nvinfer1::TacticSource::kCUDNN)},
#else
    Named{"CUBLAS", kNotInThisVersion},
    Named{"CUBLAS_LT", kNotInThisVersion},
    Named{"CUDNN", kNotInThisVersion},
#endif
    Named{"EDGE_MASK_CONVOLUTIONS", Number(nvinfer1::TacticSource::kEDGE_MASK_CONVOLUTIONS)},
    Named{"JIT_CONVOLUTIONS", Number(nvinfer1::TacticSource::kJIT_CONVOLUTIONS)},
};

constexpr std::array kPools = {
    Named{"workspace", Number(nvinfer1::MemoryPoolType::kWORKSPACE)},
#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 806
    Named{"tacticDram", Number(nvinfer1::MemoryPoolType::kTACTIC_DRAM)},
#else
    Named{"tacticDram", kNotInThisVersion},
#endif
#if NV_TENSORRT_MAJOR >= 10
    Named{"tacticSharedMem", Number(nvinfer1::MemoryPoolType::kTACTIC_SHARED_MEMORY)},
#else
    Named{"tacticSharedMem", kNotInThisVersion},
#endif
};

Result<int> Find(std::span<const Named> names, const std::string& name, const std::string& kind) {
  const auto found = std::ranges::find(names, name, &Named::name);
  if (found == names.end()) {
    std::string known;
    for (const Named& named : names) {
      known += (known.empty() ? "" : ", ") + std::string(named.name);
    }
    return InvalidArgument("'" + name + "' is no " + kind + " of TensorRT: there are " + known);
  }
  if (found->number == kNotInThisVersion) {
    return Unimplemented("TensorRT " + std::to_string(NV_TENSORRT_MAJOR) + "." +
                         std::to_string(NV_TENSORRT_MINOR) + " has no " + kind + " '" + name + "'");
  }
  return found->number;
}

}  // namespace

Result<nvinfer1::TacticSources> ParseTacticSources(const std::vector<std::string>& changes,
                                                   nvinfer1::TacticSources sources) {
  for (const std::string& change : changes) {
    if (change.size() < 2 || (change[0] != '+' && change[0] != '-')) {
      return InvalidArgument("tactic source '" + change +
                             "': write '+' or '-' before its name, for example '-CUDNN'");
    }
    VERDICT_ASSIGN_OR_RETURN(const int number, Find(kSources, change.substr(1), "tactic source"));
    const nvinfer1::TacticSources bit = 1U << static_cast<unsigned>(number);
    sources = change[0] == '+' ? sources | bit : sources & ~bit;
  }
  return sources;
}

nvinfer1::TacticSources WithoutMissingLibraries(nvinfer1::TacticSources sources) {
#if NV_TENSORRT_MAJOR < 10
  void* cudnn = dlopen("libcudnn.so.8", RTLD_LAZY | RTLD_LOCAL);
  // A library of that name may stand in for it, to satisfy those that only name it.
  if (cudnn == nullptr || dlsym(cudnn, "cudnnCreate") == nullptr) {
    sources &= ~(1U << static_cast<unsigned>(nvinfer1::TacticSource::kCUDNN));
  }
  if (cudnn != nullptr) dlclose(cudnn);
#endif
  return sources;
}

Result<std::map<nvinfer1::MemoryPoolType, size_t>> ParseMemoryPools(
    const std::map<std::string, uint64_t>& pools) {
  std::map<nvinfer1::MemoryPoolType, size_t> parsed;
  for (const auto& [name, bytes] : pools) {
    VERDICT_ASSIGN_OR_RETURN(const int number, Find(kPools, name, "memory pool"));
    parsed[static_cast<nvinfer1::MemoryPoolType>(number)] = bytes;
  }
  return parsed;
}

Status CheckOptimizationLevel(int level) {
  if (level == -1) return OkStatus();
  if (level < 0 || level > 5) {
    return InvalidArgument("optimization level " + std::to_string(level) + ": 0 to 5, or -1");
  }
#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 806
  return OkStatus();
#else
  return Unimplemented("optimization levels: TensorRT has them from 8.6 on; leave it out");
#endif
}

}  // namespace verdict::tensorrt
