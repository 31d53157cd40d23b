#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/endpoints/service.h"

namespace verdict {

/// A call as an endpoint sees it, whatever transport brought it. The views are valid during the
/// call.
struct Call {
  int worker = 0;                     // the thread that runs it
  std::string_view model;             // of the path; empty where it has none
  std::string_view version;           // of the path; empty: the highest that is loaded
  std::string_view region;            // of shared memory, in the path; empty where it has none
  std::string_view json;              // the body's JSON text; kJsonPadding readable bytes follow it
  std::span<const std::byte> binary;  // raw tensors after the JSON text
  TraceContext trace;                 // the caller's
};

struct Reply {
  std::string body;                  // JSON text, then raw tensors
  std::optional<size_t> json_bytes;  // length of the JSON text, where raw tensors follow
  std::string traceparent;           // of the recorded span; empty: none. Valid on error, too
};

enum class Verb { kGet, kPost };

/// One entry of the protocol. `path` is its resource: "{model}", "{version}" and "{region}" stand
/// for any segment.
struct Endpoint {
  Verb verb;
  std::string_view path;
  /// Fills an empty reply. On error the reply's contents do not matter.
  Status (*handle)(Service& service, const Call& call, Reply* reply);
};

/// All endpoints; most used first.
std::span<const Endpoint> Endpoints();

// One a file; each is listed in list.cc.
Status HandleLive(Service& service, const Call& call, Reply* reply);
Status HandleReady(Service& service, const Call& call, Reply* reply);
Status HandleServerMetadata(Service& service, const Call& call, Reply* reply);
Status HandleModelMetadata(Service& service, const Call& call, Reply* reply);
Status HandleModelReady(Service& service, const Call& call, Reply* reply);
Status HandleModelConfig(Service& service, const Call& call, Reply* reply);
Status HandleModelStatistics(Service& service, const Call& call, Reply* reply);
Status HandleInfer(Service& service, const Call& call, Reply* reply);
Status HandleRepositoryChange(Service& service, const Call& call, Reply* reply);
Status HandleRepositoryIndex(Service& service, const Call& call, Reply* reply);
Status HandleLogSettings(Service& service, const Call& call, Reply* reply);
Status HandleLogSettingsChange(Service& service, const Call& call, Reply* reply);
Status HandleTraceSettings(Service& service, const Call& call, Reply* reply);
Status HandleTraceSettingsChange(Service& service, const Call& call, Reply* reply);
Status HandleSystemSharedMemoryStatus(Service& service, const Call& call, Reply* reply);
Status HandleSystemSharedMemoryRegister(Service& service, const Call& call, Reply* reply);
Status HandleSystemSharedMemoryUnregister(Service& service, const Call& call, Reply* reply);
Status HandleCudaSharedMemoryStatus(Service& service, const Call& call, Reply* reply);
Status HandleCudaSharedMemoryRegister(Service& service, const Call& call, Reply* reply);
Status HandleCudaSharedMemoryUnregister(Service& service, const Call& call, Reply* reply);

}  // namespace verdict
