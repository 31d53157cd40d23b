#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"

namespace verdict {

/// Looks after files that an operator may replace while the server runs (certificates, clients):
/// reads them again when one of them has changed, or when told to. What cannot be read leaves
/// everything as it was, is logged, and is tried again until it can be.
class Reloader {
 public:
  /// One thing that is made of files.
  struct Item {
    std::string name;                          // for the log: "certificate", "clients file"
    std::vector<std::filesystem::path> files;  // one or more
    std::string stamp;                         // StampOf(files) before they were read last
    std::function<Status()> reload;            // on the reloader's thread
  };

  /// Gets an item's name and whether its files could be read again; on the reloader's thread.
  using OnResult = std::function<void(const std::string& name, bool ok)>;

  /// every: between two looks at the files, > 0. Errors: kResourceExhausted (no thread).
  static Result<std::unique_ptr<Reloader>> Start(std::vector<Item> items,
                                                 std::chrono::milliseconds every,
                                                 OnResult on_result = {});
  ~Reloader();

  /// Reads everything again, soon, changed or not. Threads: any.
  void ReloadNow();

  /// Counted since the start. Threads: any.
  uint64_t succeeded() const { return succeeded_.load(std::memory_order_relaxed); }
  uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  struct Watched {
    Item item;
    std::string stamp;   // of the files as they were read last
    std::string failed;  // of the files as they failed last: logged once
  };

  Reloader(std::vector<Item> items, OnResult on_result);
  void Run(std::chrono::milliseconds every);
  void Look(Watched* watched, bool force);

  void Count(const Watched& watched, bool ok);

  std::vector<Watched> watched_;  // the thread's own
  const OnResult on_result_;
  std::atomic<uint64_t> succeeded_{0};
  std::atomic<uint64_t> failed_{0};
  std::mutex mutex_;  // guards the two below
  bool stop_ = false;
  bool reload_now_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

/// Tells whether files were replaced or rewritten: device, inode, size and times of each. Threads:
/// pure, but for the file system.
std::string StampOf(const std::vector<std::filesystem::path>& files);

}  // namespace verdict
