#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "serve/models/loaded_model.h"

namespace verdict {

/// Sees to it that a model's memory is never freed on the thread that happens to let go of it last,
/// which may be a request's: there it is only put on a list. Threads: any.
class ModelReaper {
 public:
  using Model = std::unique_ptr<const LoadedModel>;

  /// wake: called on the thread that let go of a model; must not throw.
  explicit ModelReaper(std::function<void()> wake) : wake_(std::move(wake)) {}

  /// Puts a model on the list (ModelHost::free).
  void Add(Model model) noexcept;

  /// What nobody uses any more, for the caller to free.
  std::vector<Model> Take();

  /// From now on models are freed where they are let go of, and `wake` is not called.
  void Close();

 private:
  std::mutex mutex_;  // guards all below
  std::function<void()> wake_;
  std::vector<Model> dead_;
  bool closed_ = false;
};

}  // namespace verdict
