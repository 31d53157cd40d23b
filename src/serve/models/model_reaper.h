#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "serve/models/loaded_model.h"

namespace verdict {

/// Sees to it that a model's memory is never freed on the thread that happens to let go of it last,
/// which may be a request's: there it is only put on a list. Threads: any.
class ModelReaper : public std::enable_shared_from_this<ModelReaper> {
 public:
  using Model = std::shared_ptr<const LoadedModel>;

  /// wake: called on the thread that let go of a model; must not throw.
  static std::shared_ptr<ModelReaper> Create(std::function<void()> wake);

  /// A handle to the model. When the last copy of it goes, the model is put on the list.
  Model Watch(Model model);

  /// What nobody uses any more, for the caller to free.
  std::vector<Model> Take();

  /// From now on models are freed where they are let go of, and `wake` is not called.
  void Close();

 private:
  ModelReaper() = default;
  void Add(Model model) noexcept;

  std::mutex mutex_;  // guards all below
  std::function<void()> wake_;
  std::vector<Model> dead_;
  bool closed_ = false;
};

}  // namespace verdict
