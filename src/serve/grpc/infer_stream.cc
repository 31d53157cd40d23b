#include "serve/grpc/infer_stream.h"

#include <string>
#include <utility>
#include <vector>

#include "serve/grpc/infer_job.h"

namespace verdict {
namespace {

/// No more requests of a stream are read while its client leaves so many bytes of answers unread.
constexpr size_t kMostUnreadBytes = size_t{1} << 20;

}  // namespace

/// Keeps the call, and with it the server. A base, so that it goes after the others.
struct HeldCall {
  std::shared_ptr<GenericCall> call;
};

/// One request of a stream.
class StreamJob final : private HeldCall,
                        public InferJob,
                        public std::enable_shared_from_this<StreamJob> {
 public:
  StreamJob(GenericCall& the_call, InferStream& stream)
      : HeldCall{the_call.shared_from_this()},
        InferJob(the_call.worker().shared.service, the_call.worker().index,
                 the_call.worker().shared.request_budget,
                 static_cast<size_t>(the_call.worker().shared.limits.max_message_bytes)),
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

  InferStream& stream_;  // lives as long as the call
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
    job = std::shared_ptr<StreamJob>(new StreamJob(call_, *this));  // as InferCall
    under_way_.emplace(job.get(), job);
  }
  job->Start(bytes, call_.context());
  std::lock_guard lock(mutex_);
  if (ReadAgain()) call_.Read();
}

bool InferStream::ReadAgain() {
  const size_t held = under_way_.size() + answers_.size();
  if (reading_ || half_closed_ || broken_ || stopping_ || finished_ ||
      held >= call_.worker().shared.limits.max_requests_per_stream ||
      unread_bytes_ >= kMostUnreadBytes) {
    return false;
  }
  reading_ = true;
  return true;
}

void InferStream::Deliver(StreamJob& job, const grpc::ByteBuffer& answer) {
  std::lock_guard lock(mutex_);
  under_way_.erase(&job);
  if (!broken_) {
    Keep(job, answer);
    if (!writing_) WriteNext();
  }
  FinishIfOver();
}

void InferStream::Keep(StreamJob& job, const grpc::ByteBuffer& answer) {
  Unread& unread = answers_.emplace_back(call_.worker().shared.request_budget);
  unread.bytes = answer;
  unread.size = answer.Length();
  if (writing_ && !unread.share.Take(unread.size)) {
    // Its run was for nothing, but memory that only the client's reading frees has an end.
    WriteInferError(ResourceExhausted("too many answers wait to be read; read them sooner"),
                    job.id(), &unread.bytes);
    unread.size = unread.bytes.Length();
  }
  unread_bytes_ += unread.size;
}

void InferStream::DropAnswers() {
  answers_.clear();
  unread_bytes_ = 0;
}

void InferStream::WriteNext() {
  writing_ = true;
  call_.Write(answers_.front().bytes);
}

void InferStream::OnWritten(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (ok && !broken_) {
    unread_bytes_ -= answers_.front().size;
    answers_.pop_front();
    if (!answers_.empty()) WriteNext();
  } else {
    broken_ = true;
    DropAnswers();
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
    if (!writing_) DropAnswers();
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
