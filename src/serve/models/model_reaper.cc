#include "serve/models/model_reaper.h"

#include <exception>
#include <utility>

namespace verdict {

std::shared_ptr<ModelReaper> ModelReaper::Create(std::function<void()> wake) {
  std::shared_ptr<ModelReaper> reaper(new ModelReaper());
  reaper->wake_ = std::move(wake);
  return reaper;
}

ModelReaper::Model ModelReaper::Watch(Model model) {
  const LoadedModel* const bare = model.get();
  const auto let_go = [reaper = shared_from_this(), model = std::move(model)](
                          const LoadedModel*) mutable { reaper->Add(std::move(model)); };
  return {bare, let_go};
}

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
