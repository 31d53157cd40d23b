#include <array>

#include "serve/endpoints/endpoint.h"

namespace verdict {
namespace {

constexpr std::array kEndpoints = {
    Endpoint{Verb::kPost, "/v2/models/{model}/infer", HandleInfer},
    Endpoint{Verb::kPost, "/v2/models/{model}/versions/{version}/infer", HandleInfer},
    Endpoint{Verb::kGet, "/v2/health/live", HandleLive},
    Endpoint{Verb::kGet, "/v2/health/ready", HandleReady},
    Endpoint{Verb::kGet, "/v2", HandleServerMetadata},
    Endpoint{Verb::kGet, "/v2/models/stats", HandleModelStatistics},  // before a model of that name
    Endpoint{Verb::kGet, "/v2/models/{model}", HandleModelMetadata},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}", HandleModelMetadata},
    Endpoint{Verb::kGet, "/v2/models/{model}/ready", HandleModelReady},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/ready", HandleModelReady},
    Endpoint{Verb::kGet, "/v2/models/{model}/config", HandleModelConfig},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/config", HandleModelConfig},

    Endpoint{Verb::kGet, "/v2/models/{model}/stats", HandleModelStatistics},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/stats", HandleModelStatistics},
    // There is one repository, whatever a client calls it.
    Endpoint{Verb::kPost, "/v2/repository/index", HandleRepositoryIndex},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/index", HandleRepositoryIndex},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/load", HandleModelLoad},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/models/{model}/load", HandleModelLoad},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/unload", HandleModelUnload},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/models/{model}/unload", HandleModelUnload},

    Endpoint{Verb::kGet, "/v2/logging", HandleLogSettings},
    Endpoint{Verb::kPost, "/v2/logging", HandleLogSettingsChange},
    Endpoint{Verb::kGet, "/v2/trace/setting", HandleTraceSettings},
    Endpoint{Verb::kPost, "/v2/trace/setting", HandleTraceSettingsChange},
    Endpoint{Verb::kGet, "/v2/models/{model}/trace/setting", HandleTraceSettings},
    Endpoint{Verb::kPost, "/v2/models/{model}/trace/setting", HandleTraceSettingsChange},

    Endpoint{Verb::kGet, "/v2/systemsharedmemory/status", HandleSystemSharedMemoryStatus},
    Endpoint{Verb::kGet, "/v2/systemsharedmemory/region/{region}/status",
             HandleSystemSharedMemoryStatus},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/region/{region}/register",
             HandleSystemSharedMemoryRegister},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/unregister", HandleSystemSharedMemoryUnregister},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/region/{region}/unregister",
             HandleSystemSharedMemoryUnregister},
    Endpoint{Verb::kGet, "/v2/cudasharedmemory/status", HandleCudaSharedMemoryStatus},
    Endpoint{Verb::kGet, "/v2/cudasharedmemory/region/{region}/status",
             HandleCudaSharedMemoryStatus},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/region/{region}/register",
             HandleCudaSharedMemoryRegister},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/unregister", HandleCudaSharedMemoryUnregister},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/region/{region}/unregister",
             HandleCudaSharedMemoryUnregister},
};

}  // namespace

std::span<const Endpoint> Endpoints() { return kEndpoints; }

}  // namespace verdict
