#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "observe/trace/tracer.h"
#include "serve/admission/principal.h"
#include "serve/endpoints/service.h"
#include "serve/routing/route.h"

namespace verdict {

/// When what happened to an inference request.
struct Phases {
  std::chrono::steady_clock::time_point begin;      // of reading its tensors
  std::chrono::steady_clock::time_point parsed;     // ready to run
  std::chrono::steady_clock::time_point started;    // its run
  std::chrono::steady_clock::time_point computed;   // its run's end
  std::chrono::steady_clock::time_point written;    // its response
  DeviceOutcome device = DeviceOutcome::kNotThere;  // of its run
};

struct Reply {
  std::string body;                  // JSON text, then raw tensors
  std::optional<size_t> json_bytes;  // length of the JSON text, where raw tensors follow
  /// The answer goes through the call's Deferral, later; the rest of this reply is not looked at.
  bool deferred = false;
  std::optional<Phases> phases;  // of an inference that succeeded
  std::string served_by;         // LoadedModel::ServedBy, of such
  RouteAnswer route;             // of an inference on a route that succeeded
  RequestTrace trace;            // of an inference, whatever became of it
  /// Of an error: when the client may do better; 0: no hint.
  std::chrono::milliseconds retry_after{0};
};

/// Where an answer that comes later goes. Keeps what the call's views point to.
class Deferral {
 public:
  virtual ~Deferral() = default;
  /// The answer. Threads: any. Once, unless the call was cancelled.
  virtual void Complete(const Status& status, Reply reply) = 0;
  /// Counts memory that the call keeps until then, besides what the transport itself holds.
  /// Returns: false if there is no room for it. Threads: the worker's own.
  virtual bool Hold(size_t) { return true; }
  /// `cancel` is called, on the worker's thread, if the client goes away before the answer.
  /// Threads: the worker's own, before the endpoint returns.
  virtual void OnCancel(std::function<void()> cancel) = 0;
};

/// A transport's side of a call.
class CallTransport {
 public:
  virtual ~CallTransport() = default;
  /// To be called at most once, together with setting Reply::deferred.
  virtual std::shared_ptr<Deferral> Defer() = 0;
};

/// A call as an endpoint sees it, whatever transport brought it. The views are valid during the
/// call, and as long as its Deferral lives.
struct Call {
  using Clock = std::chrono::steady_clock;
  int worker = 0;                     // the thread that runs it
  std::string_view model;             // of the path; empty where it has none
  std::string_view version;           // of the path; empty: the highest that is loaded
  std::string_view region;            // of shared memory, in the path; empty where it has none
  std::string_view json;              // the body's JSON text; kJsonPadding readable bytes follow it
  std::span<const std::byte> binary;  // raw tensors after the JSON text
  Clock::time_point arrival;          // of its first byte
  Clock::time_point deadline = Clock::time_point::max();  // the caller's; later nobody listens
  TraceContext trace;                                     // the caller's
  CallTransport* transport = nullptr;
};

enum class Verb { kGet, kPost };

/// One entry of the protocol. `path` is its resource: "{model}", "{version}" and "{region}" stand
/// for any segment.
struct Endpoint {
  Verb verb;
  std::string_view path;
  /// Fills an empty reply. On error only its trace and retry_after matter.
  Status (*handle)(Service& service, const Call& call, Reply* reply);
  /// What the caller needs. An entry that says nothing is for operators only.
  Role role = Role::kAdmin;
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
Status HandleModelLoad(Service& service, const Call& call, Reply* reply);
Status HandleModelUnload(Service& service, const Call& call, Reply* reply);
Status HandleRepositoryIndex(Service& service, const Call& call, Reply* reply);
Status HandleModelFault(Service& service, const Call& call, Reply* reply);
Status HandleDevices(Service& service, const Call& call, Reply* reply);
Status HandleDeviceFault(Service& service, const Call& call, Reply* reply);
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
