#include "serve/models/model_reaper.h"

#include <exception>
#include <utility>

namespace verdict {

std::vector<ModelReaper::Model> ModelReaper::Take() {
  std::lock_guard lock(mutex_);
  return std::exchange(dead_, {});
}

void ModelReaper::Close() {
  std::vector<Model> dead;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dead = std::exchange(dead_, {});
}

void ModelReaper::Add(Model model) noexcept {
  std::lock_guard lock(mutex_);
  if (closed_) return;
  try {
    dead_.push_back(std::move(model));
    wake_();
  } catch (const std::exception&) {
    // No memory for the list: freed here after all.
  }
}

}  // namespace verdict
