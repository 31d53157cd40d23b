#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "serve/batching/job.h"

namespace verdict {

/// A job of float inputs (and strings, if any) that remembers its answer.
class RecordedJob : public Job {
 public:
  /// One f32 input of that shape.
  explicit RecordedJob(std::vector<float> values, Shape shape) : values_(std::move(values)) {
    views_.push_back({DataType::kFloat32, shape, values_.data()});
    Bind(shape.rank() > 0 ? shape[0] : 1);
  }

  /// Another input.
  void AddInput(TensorView view) {
    views_.push_back(view);
    Bind(rows);
  }

  void Finish(const Status& result, std::span<const TensorView> outputs,
              const Times& when) override {
    if (before_finish) before_finish();
    const std::lock_guard lock(mutex_);
    status_ = result;
    times_ = when;
    finished_at_ = Clock::now();
    for (const TensorView& output : outputs) {
      shapes_.push_back(output.shape);
      std::vector<float>& copy = outputs_.emplace_back();
      if (output.dtype == DataType::kFloat32) {
        const auto floats = output.as<const float>();
        copy.assign(floats.begin(), floats.end());
      }
      addresses_.push_back(output.data);
    }
    ++finishes_;
    finished_.notify_all();
  }

  /// Waits for the answer.
  const Status& Wait() {
    std::unique_lock lock(mutex_);
    VERDICT_CHECK(
        finished_.wait_for(lock, std::chrono::seconds(60), [&] { return finishes_ > 0; }));
    return status_;
  }
  int finishes() {
    const std::lock_guard lock(mutex_);
    return finishes_;
  }
  // After Wait.
  const std::vector<float>& output(size_t i) const { return outputs_[i]; }
  const Shape& shape(size_t i) const { return shapes_[i]; }
  const void* address(size_t i) const { return addresses_[i]; }
  size_t num_outputs() const { return outputs_.size(); }
  const Times& times() const { return times_; }
  Clock::time_point finished_at() const { return finished_at_; }

  std::function<void()> before_finish;  // on the scheduler's thread

 private:
  void Bind(int64_t new_rows) {
    inputs = views_;
    rows = new_rows;
  }

  std::vector<float> values_;
  std::vector<TensorView> views_;
  std::mutex mutex_;
  std::condition_variable finished_;
  int finishes_ = 0;
  Status status_;
  Times times_;
  Clock::time_point finished_at_;
  std::vector<std::vector<float>> outputs_;
  std::vector<Shape> shapes_;
  std::vector<const void*> addresses_;
};

/// Keeps compute threads in a job's Finish until it opens. (Gate is the name of admission's.)
class Turnstile {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// What a job's before_finish is to do.
  void Enter() {
    std::unique_lock lock(mutex_);
    ++entered_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  /// Waits until a thread is in there.
  void AwaitEntered(int threads = 1) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_ >= threads; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int entered_ = 0;
};

}  // namespace verdict
