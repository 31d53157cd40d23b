#include "serve/grpc/infer_stream.h"

#include <string>
#include <utility>
#include <vector>

#include "serve/grpc/infer_job.h"

namespace verdict {

/// One request of a stream. Keeps the call.
class StreamJob final : public InferJob, public std::enable_shared_from_this<StreamJob> {
 public:
  StreamJob(GenericCall& call, InferStream& stream)
      : InferJob(call.worker().shared.service, call.worker().index,
                 call.worker().shared.request_budget),
        call_(call.shared_from_this()),
        stream_(stream) {}

  using InferJob::Start;

 private:
  bool is_stream() const override { return true; }
  std::shared_ptr<Job> self() override { return shared_from_this(); }
  void Answer(const Status& status, const grpc::ByteBuffer& answer) override {
    if (status.ok()) return stream_.Deliver(*this, answer);
    grpc::ByteBuffer error;
    WriteInferError(status, id(), &error);
    stream_.Deliver(*this, error);
  }

  std::shared_ptr<GenericCall> call_;
  InferStream& stream_;  // lives as long as call_
};

void InferStream::OnRead(bool ok, const grpc::ByteBuffer& bytes) {
  std::shared_ptr<StreamJob> job;
  {
    std::lock_guard lock(mutex_);
    reading_ = false;
    if (!ok) {
      half_closed_ = true;
      return FinishIfOver();
    }
    job = std::make_shared<StreamJob>(call_, *this);
    under_way_.emplace(job.get(), job);
  }
  job->Start(bytes, call_.context());
  std::lock_guard lock(mutex_);
  if (ReadAgain()) call_.Read();
}

bool InferStream::ReadAgain() {
  const size_t held = under_way_.size() + answers_.size();
  if (reading_ || half_closed_ || broken_ || stopping_ || finished_ ||
      held >= call_.worker().shared.limits.max_requests_per_stream) {
    return false;
  }
  reading_ = true;
  return true;
}

void InferStream::Deliver(StreamJob& job, const grpc::ByteBuffer& answer) {
  std::lock_guard lock(mutex_);
  under_way_.erase(&job);
  if (!broken_) {
    answers_.push_back(answer);
    if (!writing_) WriteNext();
  }
  FinishIfOver();
}

void InferStream::WriteNext() {
  writing_ = true;
  call_.Write(answers_.front());
}

void InferStream::OnWritten(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (ok && !broken_) {
    answers_.pop_front();
    if (!answers_.empty()) WriteNext();
  } else {
    broken_ = true;
    answers_.clear();
  }
  if (ReadAgain()) call_.Read();
  FinishIfOver();
}

void InferStream::OnTick() {
  if (!call_.worker().shared.stopping.load()) return;
  std::lock_guard lock(mutex_);
  stopping_ = true;
  FinishIfOver();
}

void InferStream::OnDone() {
  std::vector<std::shared_ptr<StreamJob>> queued;
  {
    std::lock_guard lock(mutex_);
    broken_ = true;
    if (!writing_) answers_.clear();
    FinishIfOver();
    for (const auto& [raw, job] : under_way_) {
      if (auto held = job.lock()) queued.push_back(std::move(held));
    }
  }
  for (const auto& job : queued) job->Cancel();
}

void InferStream::FinishIfOver() {
  const bool over = half_closed_ || broken_ || stopping_;
  if (finished_ || !over || !under_way_.empty() || writing_ || !answers_.empty()) return;
  finished_ = true;
  call_.Finish(half_closed_ || broken_
                   ? OkStatus()
                   : Unavailable("the server is shutting down; open a stream to another one"));
}

}  // namespace verdict
