#include "runtime/device_worker/start.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "backends/device/device_plugin.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;

constexpr int kFirstFreeDescriptor = 10;  // beyond those that the child is given
constexpr int kSendTimeoutS = 10;

/// The descriptor again, where it is in nobody's way.
Descriptor MoveUp(int number) {
  const Descriptor low(number);
  return Descriptor(::fcntl(number, F_DUPFD_CLOEXEC, kFirstFreeDescriptor));
}

/// The two structures that posix_spawn takes, with their ends.
struct SpawnSettings {
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

Result<fs::path> FindWorkerProgram(const fs::path& program, const std::string& plugin_folder) {
  std::error_code error;
  if (!program.empty()) {
    if (fs::exists(program, error)) return program;
    return Unavailable("there is no device worker '" + program.string() + "'");
  }
  std::string searched;
  // Also where plugins are when they are somewhere else than the program.
  std::vector<fs::path> folders = PluginFolders(plugin_folder);
  if (!plugin_folder.empty()) {
    for (fs::path& folder : PluginFolders("")) folders.push_back(std::move(folder));
  }
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / kWorkerProgram, error)) return folder / kWorkerProgram;
    searched += (searched.empty() ? "" : ", ") + folder.string();
  }
  return Unavailable(std::string("no ") + kWorkerProgram + " in " + searched +
                     "; install it beside `verdict`, or into a folder that VERDICT_PLUGIN_PATH "
                     "names");
}

Result<StartedWorker> StartWorker(const fs::path& program, const std::string& backend) {
  const auto no_descriptors = [] {
    return ResourceExhausted(std::string("cannot make the device worker's socket: ") +
                             std::strerror(errno));
  };
  std::array<int, 2> sockets = {-1, -1};
  std::array<int, 2> pipe = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return no_descriptors();
  }
  StartedWorker worker;
  worker.socket = MoveUp(sockets[0]);
  const Descriptor child_socket = MoveUp(sockets[1]);
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return no_descriptors();
  worker.stderr_pipe = MoveUp(pipe[0]);
  const Descriptor child_stderr = MoveUp(pipe[1]);
  if (!worker.socket.open() || !child_socket.open() || !worker.stderr_pipe.open() ||
      !child_stderr.open()) {
    return no_descriptors();
  }
  ::fcntl(worker.stderr_pipe.number(), F_SETFL, O_NONBLOCK);
  // A worker that has stopped reading must not hold up whoever tells it something.
  const timeval timeout{kSendTimeoutS, 0};
  ::setsockopt(worker.socket.number(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));

  SpawnSettings spawn;
  posix_spawn_file_actions_addopen(&spawn.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&spawn.actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&spawn.actions, child_stderr.number(), STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&spawn.actions, child_socket.number(), kWorkerSocket);
  posix_spawn_file_actions_addclosefrom_np(&spawn.actions, kWorkerSocket + 1);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&spawn.attributes, &all);
  posix_spawnattr_setsigmask(&spawn.attributes, &none);
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  std::string path = program.string();
  std::string backend_argument = backend;
  std::string parent = std::to_string(::getpid());
  std::array<char*, 4> arguments = {path.data(), backend_argument.data(), parent.data(), nullptr};
  const int error = ::posix_spawn(&worker.pid, path.c_str(), &spawn.actions, &spawn.attributes,
                                  arguments.data(), environ);
  if (error != 0) {
    return Unavailable("cannot run the device worker '" + path + "': " + std::strerror(error));
  }
  return worker;
}

}  // namespace verdict
