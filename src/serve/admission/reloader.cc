#include "serve/admission/reloader.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <system_error>
#include <utility>

#include "base/terminal_text.h"

namespace verdict {

std::string StampOf(const std::vector<std::filesystem::path>& files) {
  std::string stamp;
  for (const auto& file : files) {
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0) {
      stamp += "-;";
      continue;
    }
    for (const auto value : {static_cast<int64_t>(info.st_dev), static_cast<int64_t>(info.st_ino),
                             static_cast<int64_t>(info.st_size), static_cast<int64_t>(info.st_mode),
                             int64_t{info.st_mtim.tv_sec}, int64_t{info.st_mtim.tv_nsec},
                             int64_t{info.st_ctim.tv_sec}, int64_t{info.st_ctim.tv_nsec}}) {
      stamp += std::to_string(value) + ",";
    }
    stamp += ";";
  }
  return stamp;
}

Reloader::Reloader(std::vector<Item> items, OnResult on_result) : on_result_(std::move(on_result)) {
  for (Item& item : items) {
    std::string stamp = item.stamp;
    watched_.push_back({std::move(item), std::move(stamp), {}});
  }
}

Result<std::unique_ptr<Reloader>> Reloader::Start(std::vector<Item> items,
                                                  std::chrono::milliseconds every,
                                                  OnResult on_result) {
  std::unique_ptr<Reloader> reloader(new Reloader(std::move(items), std::move(on_result)));
  try {
    reloader->thread_ = std::thread([&reloader = *reloader, every] { reloader.Run(every); });
  } catch (const std::system_error&) {
    return ResourceExhausted(
        "cannot start the thread that looks after certificates; raise the process limit");
  }
  return reloader;
}

Reloader::~Reloader() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Reloader::ReloadNow() {
  {
    std::lock_guard lock(mutex_);
    reload_now_ = true;
  }
  wake_.notify_one();
}

void Reloader::Run(std::chrono::milliseconds every) {
  while (true) {
    bool force;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, every, [this] { return stop_ || reload_now_; });
      if (stop_) return;
      force = std::exchange(reload_now_, false);
    }
    for (Watched& watched : watched_) Look(&watched, force);
  }
}

void Reloader::Count(const Watched& watched, bool ok) {
  (ok ? succeeded_ : failed_).fetch_add(1, std::memory_order_relaxed);
  if (on_result_) on_result_(watched.item.name, ok);
}

void Reloader::Look(Watched* watched, bool force) {
  // Before the files are read: what changes in between is seen with the next look.
  std::string stamp = StampOf(watched->item.files);
  if (!force && stamp == watched->stamp) return;
  const Status status = watched->item.reload();
  if (status.ok()) {
    watched->failed.clear();
    watched->stamp = std::move(stamp);
    spdlog::info("{}: read again", watched->item.name);
    Count(*watched, true);
    return;
  }
  // Files that are replaced one after another fit again once the last one is there: that one is
  // tried with every look, and complained about once.
  Count(*watched, false);
  if (!force && stamp == watched->failed) return;
  spdlog::error("{}: what was read before stays in use: {}", watched->item.name,
                TerminalText(status.message()));
  watched->failed = std::move(stamp);
}

}  // namespace verdict
