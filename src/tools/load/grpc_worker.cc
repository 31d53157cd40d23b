#include "tools/load/grpc_worker.h"

#include <sys/prctl.h>

#include <algorithm>
#include <thread>

#include "tools/load/grpc_message.h"

namespace verdict::load {
namespace {

constexpr int64_t kSweepNs = 20'000'000;
constexpr int64_t kRetryNs = 100'000'000;
constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr auto kConnectTimeout = std::chrono::seconds(10);

/// The message with this timeout beside it.
grpc::ByteBuffer WithTimeout(const grpc::ByteBuffer& message, int64_t timeout_us) {
  std::vector<grpc::Slice> slices;
  // A copy of references; it fails for compressed messages only.
  VERDICT_CHECK(message.Dump(&slices).ok());
  slices.emplace_back(GrpcTimeoutParameter(timeout_us));
  return {slices.data(), slices.size()};
}

}  // namespace

GrpcWorker::GrpcWorker(const GrpcTarget& target, const std::vector<grpc::ByteBuffer>& requests,
                       bool stream, const WorkerOptions& options, Pacer pacer, Recorder& recorder)
    : target_(target),
      requests_(requests),
      is_stream_(stream),
      options_(options),
      pacer_(std::move(pacer)),
      recorder_(recorder) {
  VERDICT_CHECK(!requests.empty());
}

GrpcWorker::~GrpcWorker() {
  // Only a run that never began has anything left here: Run() empties the queue.
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

int64_t GrpcWorker::Now() const {
  return std::chrono::nanoseconds(SteadyClock::now() - start_).count();
}

Status GrpcWorker::Connect() {
  const auto deadline = std::chrono::system_clock::now() + kConnectTimeout;
  for (int i = 0; i < options_.connections; ++i) {
    channels_.push_back(target_.NewChannel());
    channels_.back()->GetState(true);
  }
  for (const auto& channel : channels_) {
    grpc_connectivity_state state = channel->GetState(true);
    while (state != GRPC_CHANNEL_READY) {
      const bool failed = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
      if (failed || !channel->WaitForStateChange(state, deadline)) {
        return Unavailable("the server at " + target_.authority() + ": " +
                           (failed ? "a connection is refused" : "no connection within 10 s") +
                           "; is the server up, and does it allow " +
                           std::to_string(options_.connections) + " connections?");
      }
      state = channel->GetState(true);
    }
    stubs_.emplace_back(channel);
  }
  for (int i = 0; i < options_.concurrency; ++i) slots_.push_back(std::make_unique<Slot>());
  return OkStatus();
}

void GrpcWorker::Run(SteadyClock::time_point start, const std::atomic<bool>& stop) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  std::this_thread::sleep_until(start);
  start_ = start;
  const int64_t last_ns = options_.end_ns > Arrivals::kEnd - options_.timeout_ns
                              ? Arrivals::kEnd
                              : options_.end_ns + options_.timeout_ns;
  int64_t give_up_ns = last_ns;
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      if (is_stream_) {
        OpenStream(i);
      } else {
        slots_[i]->times.free_ns = INT64_MIN;
        idle_.push_back(i);
      }
    }
  }
  std::jthread completions([this] { TakeCompletions(); });
  int64_t next_sweep_ns = 0;
  while (true) {
    int64_t wake_ns = 0;
    {
      std::unique_lock lock(mutex_);
      const int64_t now = Now();
      if (stop.load(std::memory_order_relaxed) && give_up_ns > now + kNsPerSecond) {
        pacer_.StopAt(now);
        give_up_ns = now + kNsPerSecond;
      }
      RecordDropped(pacer_, recorder_, now);
      if ((pacer_.ended(now) && in_flight() == 0) || now >= give_up_ns) break;
      if (now - last_alive_ns_ > options_.timeout_ns && in_flight() == 0) break;
      SendDue(now);
      if (now >= next_sweep_ns) {
        Sweep(now);
        next_sweep_ns = now + kSweepNs;
      }
      wake_ns = pacer_.ended(now) ? std::min(next_sweep_ns, now + kSweepNs / 20) : next_sweep_ns;
      if (idle_.empty() && !options_.spin) {
        // The thread of the completions sends what is due, until it has more slots than requests.
        slot_free_.wait_until(lock, start_ + std::chrono::nanoseconds(wake_ns),
                              [this] { return !idle_.empty(); });
        continue;
      }
      wake_ns = std::min(wake_ns, pacer_.next_ns());
    }
    if (!options_.spin) {
      std::this_thread::sleep_until(start_ + std::chrono::nanoseconds(wake_ns));
    }
  }
  GiveUp();
}

void GrpcWorker::GiveUp() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = *slots_[i];
      slot.given_up = slot.busy;
      if (slot.context) slot.context->TryCancel();
      const bool idle = !slot.busy && !slot.writing && !slot.opening && !slot.finishing;
      if (is_stream_ && idle && slot.stream != nullptr) FinishStream(i);
    }
    RecordUnsent(pacer_, recorder_, Now());
  }
  while (true) {  // a cancelled call completes at once
    {
      const std::lock_guard lock(mutex_);
      if (open_ == 0) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  queue_.Shutdown();
}

void GrpcWorker::TakeCompletions() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    const auto number = reinterpret_cast<uintptr_t>(tag);
    const std::lock_guard lock(mutex_);
    OnStep(static_cast<uint32_t>(number / kSteps), static_cast<Step>(number % kSteps), ok);
  }
}

void GrpcWorker::OpenStream(uint32_t index) {
  Slot& slot = *slots_[index];
  slot.stream.reset();
  slot.context.emplace();
  target_.AddHeaders(*slot.context);
  slot.retry_ns = Arrivals::kEnd;
  slot.timed_out = slot.answered = slot.writing = slot.read_failed = slot.finishing = false;
  slot.opening = true;
  slot.stream = StubOf(index).PrepareCall(&*slot.context, kModelStreamInferMethod, &queue_);
  ++open_;
  slot.stream->StartCall(TagOf(index, Step::kStart));
}

void GrpcWorker::Send(uint32_t index, const Pacer::Due& due, int64_t now_ns) {
  Slot& slot = *slots_[index];
  const grpc::ByteBuffer& request = requests_[static_cast<uint64_t>(due.index) % requests_.size()];
  slot.times.intended_ns = due.intended_ns;
  slot.times.sent_ns = now_ns;
  slot.busy = true;
  CountSent();
  const int64_t budget_us =
      options_.deadline_ns > 0 ? BudgetUs(options_.deadline_ns, due.intended_ns, now_ns) : 0;
  if (is_stream_) {
    slot.writing = true;
    slot.stream->Write(budget_us > 0 ? WithTimeout(request, budget_us) : request,
                       TagOf(index, Step::kWrite));
    slot.stream->Read(&slot.response, TagOf(index, Step::kRead));
    return;
  }
  slot.call.reset();
  slot.context.emplace();
  target_.AddHeaders(*slot.context);
  const int64_t limit_ns =
      budget_us > 0 ? std::min(budget_us * 1000, options_.timeout_ns) : options_.timeout_ns;
  slot.context->set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(limit_ns, GPR_TIMESPAN)));
  slot.call = StubOf(index).PrepareUnaryCall(&*slot.context, kModelInferMethod, request, &queue_);
  ++open_;
  slot.call->StartCall();
  slot.call->Finish(&slot.response, &slot.status, TagOf(index, Step::kFinish));
}

void GrpcWorker::OnStep(uint32_t index, Step step, bool ok) {
  Slot& slot = *slots_[index];
  switch (step) {
    case Step::kStart:
      slot.opening = false;
      if (!ok || ending_) {
        FinishStream(index);
      } else {
        Free(index, Now());
      }
      break;
    case Step::kWrite:
      slot.writing = false;
      if (slot.read_failed || (!slot.busy && (!ok || ending_))) {
        FinishStream(index);
      } else if (!slot.busy) {
        Free(index, Now());
      }
      break;
    case Step::kRead:
      if (!ok) {
        slot.read_failed = slot.writing;
        if (!slot.writing) FinishStream(index);
        break;
      }
      slot.answered = true;
      {
        const std::string error = GrpcStreamError(ToBytes(slot.response));
        Complete(index, static_cast<int>(error.empty() ? StatusCode::kOk : StatusCode::kUnknown),
                 error);
      }
      if (!slot.writing && ending_) {
        FinishStream(index);
      } else if (!slot.writing) {
        Free(index, Now());
      }
      break;
    case Step::kFinish:
      OnFinished(index);
      break;
  }
}

/// Asks how the stream ended. No operation on it may be under way.
void GrpcWorker::FinishStream(uint32_t index) {
  Slot& slot = *slots_[index];
  slot.finishing = true;
  slot.stream->Finish(&slot.status, TagOf(index, Step::kFinish));
}

void GrpcWorker::OnFinished(uint32_t index) {
  Slot& slot = *slots_[index];
  --open_;
  int ending = static_cast<int>(slot.status.error_code());
  const int64_t now = Now();
  const bool late = slot.busy && now - slot.times.sent_ns >= options_.timeout_ns;
  const bool unreachable =
      slot.status.error_code() == grpc::StatusCode::UNAVAILABLE &&
      channels_[index % channels_.size()]->GetState(false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
  const bool expired = slot.status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (slot.timed_out || (late && expired)) ending = kTimedOut;
  if (slot.given_up) ending = kUnanswered;
  if (is_stream_ && slot.status.ok()) ending = kClosed;
  if (!slot.busy && !ending_) recorder_.RecordRefused(now, slot.status.error_message());
  Complete(index, ending, slot.status.error_message());
  if (ending_) return;
  if (unreachable || (is_stream_ && !slot.answered)) {
    slot.retry_ns = now + kRetryNs;  // else we would do nothing but fail
  } else if (is_stream_) {
    recorder_.RecordReconnect();
    OpenStream(index);
  } else {
    Free(index, now);
  }
}

void GrpcWorker::Complete(uint32_t index, int ending, std::string_view text) {
  Slot& slot = *slots_[index];
  if (!slot.busy) return;
  slot.times.done_ns = Now();
  slot.busy = false;
  recorder_.Record(slot.times, ending, text, slot.response.Length());
  slot.response.Clear();
  CountEnded();
}

void GrpcWorker::Free(uint32_t index, int64_t now_ns) {
  slots_[index]->times.free_ns = now_ns;
  if (ending_) return;
  RecordDropped(pacer_, recorder_, now_ns);
  const auto due = pacer_.Take(now_ns);
  if (!due) {
    idle_.push_back(index);
    slot_free_.notify_one();
    return;
  }
  if (!idle_.empty()) slots_[index]->times.free_ns = INT64_MIN;
  Send(index, *due, now_ns);
}

void GrpcWorker::SendDue(int64_t now_ns) {
  while (!idle_.empty()) {
    const auto due = pacer_.Take(now_ns);
    if (!due) return;
    const uint32_t index = idle_.front();
    idle_.pop_front();
    Send(index, *due, now_ns);
  }
}

void GrpcWorker::Sweep(int64_t now_ns) {
  for (const auto& channel : channels_) {
    if (channel->GetState(false) == GRPC_CHANNEL_READY) last_alive_ns_ = now_ns;
  }
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = *slots_[i];
    // Unary calls have a deadline of their own.
    if (is_stream_ && slot.busy && !slot.timed_out &&
        now_ns - slot.times.sent_ns > options_.timeout_ns) {
      slot.timed_out = true;
      slot.context->TryCancel();
    }
    if (now_ns < slot.retry_ns || pacer_.ended(now_ns)) continue;
    slot.retry_ns = Arrivals::kEnd;
    if (is_stream_) {
      OpenStream(i);
    } else {
      Free(i, now_ns);
    }
  }
}

}  // namespace verdict::load
