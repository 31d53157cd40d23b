#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/load/load_flags.h"
#include "tools/load/recording.h"
#include "tools/load/run.h"

namespace verdict::load {

/// Everything that a run needs of one protocol: the server found, the model's inputs asked for, the
/// requests written. Immutable once made; outlives the run's workers. Threads: any.
class Transport {
 public:
  virtual ~Transport() = default;

  /// A worker that uses this transport, the pacer and the recorder.
  virtual std::unique_ptr<Worker> MakeWorker(const WorkerOptions& options, Pacer pacer,
                                             Recorder& recorder) const = 0;

  /// What is asked and with what, in words.
  const RunDescription& description() const { return description_; }
  /// When the requests of --replay are to be sent; empty without it.
  const std::vector<int64_t>& replay_ns() const { return replay_ns_; }

 protected:
  RunDescription description_;
  std::vector<int64_t> replay_ns_;
};

/// Makes the transport that the flags ask for. Errors: kInvalidArgument, kNotFound and the like
/// naming the flag; kUnavailable where the server cannot be reached, with what to do;
/// kFailedPrecondition with its answer where it does not know the model.
Result<std::unique_ptr<Transport>> MakeTransport(const LoadFlags& flags);

}  // namespace verdict::load
