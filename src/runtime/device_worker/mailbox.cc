#include "runtime/device_worker/mailbox.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked_math.h"
#include "runtime/device_worker/futex.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kDataAlignment = 256;
constexpr size_t kMaxPlaces = 4096;

}  // namespace

struct Mailbox::Header {
  // Numbers of runs are even. An odd answer says that none will come any more.
  alignas(64) std::atomic<uint32_t> asked;
  alignas(64) std::atomic<uint32_t> answered;  // a futex
  std::atomic<uint32_t> waiting;               // the server sleeps
  alignas(64) std::atomic<int32_t> status_code;
  std::atomic<uint32_t> lost;
  std::atomic<uint32_t> message_bytes;
  std::array<char, 1012> message;
};

struct Mailbox::Record {
  std::atomic<int64_t> rank;
  std::array<std::atomic<int64_t>, Shape::kMaxRank> dims;
};

Mailbox::Header& Mailbox::header() const { return *reinterpret_cast<Header*>(pages_.data()); }

Mailbox::Record& Mailbox::record(size_t place) const {
  return reinterpret_cast<Record*>(pages_.data() + kRecordsOffset)[place];
}

const MailboxPlace& Mailbox::place(size_t number) const {
  return number < inputs_.size() ? inputs_[number] : outputs_[number - inputs_.size()];
}

Result<Mailbox> Mailbox::LayOut(std::vector<MailboxPlace> inputs,
                                std::vector<MailboxPlace> outputs) {
  static_assert(sizeof(Header) == kRecordsOffset);
  Mailbox mailbox;
  mailbox.inputs_ = std::move(inputs);
  mailbox.outputs_ = std::move(outputs);
  const size_t places = mailbox.inputs_.size() + mailbox.outputs_.size();
  if (places > kMaxPlaces) {
    return InvalidArgument("a device's program has " + std::to_string(places) +
                           " inputs and outputs; at most " + std::to_string(kMaxPlaces) +
                           " are taken");
  }
  size_t bytes = AlignUp(kRecordsOffset + places * sizeof(Record), 4096);
  for (size_t i = 0; i < places; ++i) {
    const MailboxPlace& place = mailbox.place(i);
    if (place.dtype == DataType::kString || place.dtype == DataType::kUndefined) {
      return InvalidArgument("devices take no strings");
    }
    mailbox.offsets_.push_back(bytes);
    if (place.capacity > (uint64_t{1} << 46)) {
      return ResourceExhausted("an input or output of " + std::to_string(place.capacity) +
                               " bytes is too large for a device worker");
    }
    bytes = AlignUp(bytes + place.capacity, kDataAlignment);
  }
  mailbox.bytes_ = AlignUp(bytes, 4096);
  return mailbox;
}

Result<std::pair<Mailbox, Descriptor>> Mailbox::Create(std::vector<MailboxPlace> inputs,
                                                       std::vector<MailboxPlace> outputs) {
  VERDICT_ASSIGN_OR_RETURN(Mailbox mailbox, LayOut(std::move(inputs), std::move(outputs)));
  VERDICT_ASSIGN_OR_RETURN(auto created, SharedPages::Create(mailbox.bytes_));
  mailbox.pages_ = std::move(created.first);
  for (const MailboxPlace& place : mailbox.outputs_) {
    const size_t bytes = AlignUp(std::max<size_t>(place.capacity, 1), kDataAlignment);
    void* memory = std::aligned_alloc(kDataAlignment, bytes);
    if (memory == nullptr) {
      return ResourceExhausted("cannot get " + std::to_string(bytes) +
                               " bytes of memory for an output of a device's");
    }
    mailbox.own_outputs_.emplace_back(static_cast<std::byte*>(memory));
  }
  return std::pair(std::move(mailbox), std::move(created.second));
}

Result<Mailbox> Mailbox::Map(const Descriptor& file, std::vector<MailboxPlace> inputs,
                             std::vector<MailboxPlace> outputs) {
  VERDICT_ASSIGN_OR_RETURN(Mailbox mailbox, LayOut(std::move(inputs), std::move(outputs)));
  VERDICT_ASSIGN_OR_RETURN(mailbox.pages_, SharedPages::Map(file, mailbox.bytes_));
  return mailbox;
}

Result<TensorView> Mailbox::Read(size_t number) const {
  const MailboxPlace& place = this->place(number);
  const Record& record = this->record(number);
  // Atomic, so that what is checked is what is used: the other side may change it meanwhile.
  const int64_t rank = record.rank.load(std::memory_order_relaxed);
  if (rank < 0 || rank > Shape::kMaxRank) {
    return DataLoss("a tensor in the device worker's mailbox has rank " + std::to_string(rank));
  }
  Shape shape;
  for (size_t axis = 0; axis < static_cast<size_t>(rank); ++axis) {
    shape.push_back(record.dims[axis].load(std::memory_order_relaxed));
  }
  const auto size = ByteSize(place.dtype, shape);
  if (!size.ok() || *size > place.capacity) {
    return DataLoss("a tensor of shape " + ToString(shape) +
                    " in the device worker's mailbox has more than the " +
                    std::to_string(place.capacity) + " bytes that its place holds");
  }
  return TensorView{place.dtype, shape, pages_.data() + offsets_[number]};
}

Status Mailbox::Write(size_t number, const TensorView& tensor) {
  const MailboxPlace& place = this->place(number);
  if (tensor.dtype != place.dtype) {
    return InvalidArgument("a tensor is of type " + std::string(DataTypeName(tensor.dtype)) +
                           ", the program's is " + std::string(DataTypeName(place.dtype)));
  }
  VERDICT_ASSIGN_OR_RETURN(const size_t size, ByteSize(tensor.dtype, tensor.shape));
  if (size > place.capacity) {
    return InvalidArgument("a tensor of shape " + ToString(tensor.shape) +
                           " is larger than the program's profiles allow (" +
                           std::to_string(place.capacity) + " bytes)");
  }
  Record& record = this->record(number);
  record.rank.store(tensor.shape.rank(), std::memory_order_relaxed);
  for (int axis = 0; axis < tensor.shape.rank(); ++axis) {
    record.dims[static_cast<size_t>(axis)].store(tensor.shape[axis], std::memory_order_relaxed);
  }
  if (size > 0) std::memcpy(pages_.data() + offsets_[number], tensor.data, size);
  return OkStatus();
}

Status Mailbox::PutInput(size_t index, const TensorView& tensor) { return Write(index, tensor); }

std::span<std::byte> Mailbox::InputPlace(size_t index) const {
  return {pages_.data() + offsets_[index], inputs_[index].capacity};
}

Result<TensorView> Mailbox::Input(size_t index) const { return Read(index); }

Result<TensorView> Mailbox::Output(size_t index) {
  VERDICT_ASSIGN_OR_RETURN(TensorView tensor, Read(inputs_.size() + index));
  const void* shared = std::exchange(tensor.data, own_outputs_[index].get());
  const size_t size = ByteSize(tensor.dtype, tensor.shape).value();
  if (size > 0) std::memcpy(tensor.data, shared, size);
  return tensor;
}

Status Mailbox::PutOutput(size_t index, const TensorView& tensor) {
  const Status status = Write(inputs_.size() + index, tensor);
  return status.ok() ? status
                     : Internal("output " + std::to_string(index) + ": " + status.message());
}

void Mailbox::StartRun() {
  run_ += 2;
  header().asked.store(run_);
}

// Who waits says so and then looks; who answers answers and then looks whether somebody waits. All
// in one order (seq_cst), so that one of the two sees the other.

Mailbox::Outcome Mailbox::Wait(std::chrono::microseconds spin, Clock::time_point deadline) {
  Header& header = this->header();
  const auto ended = [&](uint32_t answered) { return answered == run_ || (answered & 1) != 0; };
  uint32_t answered = header.answered.load();
  if (!ended(answered) && spin.count() > 0) {
    const Clock::time_point start = Clock::now();
    const Clock::time_point spin_end = std::min(start + spin, deadline);
    for (uint32_t looks = 1; !ended(answered) && start < deadline; ++looks) {
      SpinPause();
      answered = header.answered.load();
      if (looks % kLooksPerClock != 0) continue;
      if (Clock::now() > spin_end) break;
      SpinYield();
    }
  }
  while (!ended(answered)) {
    const auto left = deadline - Clock::now();
    if (left.count() <= 0) return Outcome::kTimedOut;
    header.waiting.store(1);
    answered = header.answered.load();
    if (!ended(answered)) FutexWait(header.answered, answered, left);
    header.waiting.store(0);
    answered = header.answered.load();
  }
  return answered == run_ ? Outcome::kAnswered : Outcome::kAbandoned;
}

void Mailbox::Abandon() {
  header().answered.fetch_or(1);
  FutexWake(header().answered, INT32_MAX);
}

Mailbox::Answer Mailbox::ReadAnswer() const {
  const Header& header = this->header();
  const int32_t code = header.status_code.load();
  Answer answer;
  answer.lost = header.lost != 0;
  if (code == 0) return answer;
  const size_t bytes = std::min<size_t>(header.message_bytes.load(), header.message.size());
  const bool known = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
  answer.status = {known ? static_cast<StatusCode>(code) : StatusCode::kInternal,
                   std::string(header.message.data(), bytes)};
  return answer;
}

void Mailbox::FinishRun(const Status& status, bool lost) {
  Header& header = this->header();
  header.status_code = static_cast<int32_t>(status.code());
  header.lost = lost ? 1 : 0;
  const size_t bytes = std::min(status.message().size(), header.message.size());
  header.message_bytes = static_cast<uint32_t>(bytes);
  if (bytes > 0) std::memcpy(header.message.data(), status.message().data(), bytes);
  header.answered.store(header.asked.load());
  if (header.waiting.load() != 0) FutexWake(header.answered, 1);
}

}  // namespace verdict
