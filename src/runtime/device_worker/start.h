#pragma once

#include <filesystem>
#include <string>

#include "runtime/device_worker/channel.h"

namespace verdict {

inline constexpr char kWorkerProgram[] = "verdict-device-worker";
/// The worker's end of the socket is this descriptor; beside it there are the standard ones alone.
inline constexpr int kWorkerSocket = 3;

/// A started worker, seen from its parent.
struct StartedWorker {
  int pid = 0;
  Descriptor socket;
  Descriptor stderr_pipe;  // to read from
};

/// Where the worker's program is: `program` where it is not empty; else beside the plugins, see
/// PluginFolders. Errors: kUnavailable with the folders that were searched.
Result<std::filesystem::path> FindWorkerProgram(const std::filesystem::path& program,
                                                const std::string& plugin_folder);

/// Starts the program as a child that has no other descriptors of ours, no signals blocked or
/// ignored, and nothing on its standard input and output. It is killed when the calling thread
/// ends. Errors: kUnavailable: it cannot be run; kResourceExhausted.
Result<StartedWorker> StartWorker(const std::filesystem::path& program, const std::string& backend);

}  // namespace verdict
