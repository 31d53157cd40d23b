#include <array>

#include "serve/endpoints/endpoint.h"

namespace verdict {
namespace {

constexpr std::array kEndpoints = {
    Endpoint{Verb::kPost, "/v2/models/{model}/infer", HandleInfer, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/models/{model}/versions/{version}/infer", HandleInfer, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/health/live", HandleLive, Role::kOpen},
    Endpoint{Verb::kGet, "/v2/health/ready", HandleReady, Role::kOpen},
    Endpoint{Verb::kGet, "/v2", HandleServerMetadata, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/stats", HandleModelStatistics,
             Role::kInfer},  // before a model of that name
    Endpoint{Verb::kGet, "/v2/models/{model}", HandleModelMetadata, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}", HandleModelMetadata,
             Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/ready", HandleModelReady, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/ready", HandleModelReady,
             Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/config", HandleModelConfig, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/config", HandleModelConfig,
             Role::kInfer},

    Endpoint{Verb::kGet, "/v2/models/{model}/stats", HandleModelStatistics, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/stats", HandleModelStatistics,
             Role::kInfer},
    // There is one repository, whatever a client calls it.
    Endpoint{Verb::kPost, "/v2/repository/index", HandleRepositoryIndex, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/index", HandleRepositoryIndex, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/load", HandleModelLoad},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/models/{model}/load", HandleModelLoad},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/unload", HandleModelUnload},
    Endpoint{Verb::kPost, "/v2/repository/{repository}/models/{model}/unload", HandleModelUnload},

    Endpoint{Verb::kPost, "/v2/models/{model}/fault", HandleModelFault},
    Endpoint{Verb::kGet, "/v2/devices", HandleDevices},
    Endpoint{Verb::kPost, "/v2/devices/fault", HandleDeviceFault},

    Endpoint{Verb::kGet, "/v2/logging", HandleLogSettings},
    Endpoint{Verb::kPost, "/v2/logging", HandleLogSettingsChange},
    Endpoint{Verb::kGet, "/v2/trace/setting", HandleTraceSettings},
    Endpoint{Verb::kPost, "/v2/trace/setting", HandleTraceSettingsChange},
    Endpoint{Verb::kGet, "/v2/models/{model}/trace/setting", HandleTraceSettings},
    Endpoint{Verb::kPost, "/v2/models/{model}/trace/setting", HandleTraceSettingsChange},
    Endpoint{Verb::kGet, "/v2/models/{model}/versions/{version}/trace/setting",
             HandleTraceSettings},
    Endpoint{Verb::kPost, "/v2/models/{model}/versions/{version}/trace/setting",
             HandleTraceSettingsChange},

    // Clients register what they pass tensors in; none of it works unless the server allows it.
    Endpoint{Verb::kGet, "/v2/systemsharedmemory/status", HandleSystemSharedMemoryStatus,
             Role::kInfer},
    Endpoint{Verb::kGet, "/v2/systemsharedmemory/region/{region}/status",
             HandleSystemSharedMemoryStatus, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/region/{region}/register",
             HandleSystemSharedMemoryRegister, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/unregister", HandleSystemSharedMemoryUnregister,
             Role::kInfer},
    Endpoint{Verb::kPost, "/v2/systemsharedmemory/region/{region}/unregister",
             HandleSystemSharedMemoryUnregister, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/cudasharedmemory/status", HandleCudaSharedMemoryStatus, Role::kInfer},
    Endpoint{Verb::kGet, "/v2/cudasharedmemory/region/{region}/status",
             HandleCudaSharedMemoryStatus, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/region/{region}/register",
             HandleCudaSharedMemoryRegister, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/unregister", HandleCudaSharedMemoryUnregister,
             Role::kInfer},
    Endpoint{Verb::kPost, "/v2/cudasharedmemory/region/{region}/unregister",
             HandleCudaSharedMemoryUnregister, Role::kInfer},
};

}  // namespace

std::span<const Endpoint> Endpoints() { return kEndpoints; }

}  // namespace verdict
