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
    Endpoint{Verb::kPost, "/v2/repository/index", HandleRepositoryIndex, Role::kInfer},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/load", HandleRepositoryChange},
    Endpoint{Verb::kPost, "/v2/repository/models/{model}/unload", HandleRepositoryChange},
};

}  // namespace

std::span<const Endpoint> Endpoints() { return kEndpoints; }

}  // namespace verdict
