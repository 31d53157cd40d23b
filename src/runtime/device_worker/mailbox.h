#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "ir/types.h"
#include "runtime/device_worker/shared_pages.h"

namespace verdict {

/// Room for one input or output.
struct MailboxPlace {
  DataType dtype = DataType::kUndefined;
  uint64_t capacity = 0;  // bytes
};

/// What one runner's runs go through: memory of the server's that the worker maps too. Inputs and
/// outputs have fixed places in it, of the most bytes that the program's profiles allow. One run at
/// a time: the server writes inputs and a number, the worker writes outputs and the same number.
/// Between runs the worker may write over what lies in the inputs' places.
///
/// Each side reads the other's numbers once, into its own memory, and checks them there.
class Mailbox {
 public:
  /// Errors: kInvalidArgument: strings; kResourceExhausted.
  static Result<std::pair<Mailbox, Descriptor>> Create(std::vector<MailboxPlace> inputs,
                                                       std::vector<MailboxPlace> outputs);
  /// The worker's end. Errors: as Create; kDataLoss: the file is not of these places.
  static Result<Mailbox> Map(const Descriptor& file, std::vector<MailboxPlace> inputs,
                             std::vector<MailboxPlace> outputs);
  Mailbox(Mailbox&&) = default;

  size_t bytes() const { return bytes_; }
  /// All of it; every input and output lies in here.
  std::span<std::byte> memory() const { return {pages_.data(), pages_.size()}; }
  /// Where the shapes begin; for tests.
  static constexpr size_t kRecordsOffset = 1152;

  std::span<const MailboxPlace> inputs() const { return inputs_; }
  std::span<const MailboxPlace> outputs() const { return outputs_; }

  // The server's side.

  /// Copies an input to its place. Errors: kInvalidArgument: another type, or more than fits.
  Status PutInput(size_t index, const TensorView& tensor);
  /// A number for the next run. Then the board is told.
  void StartRun();
  enum class Outcome { kAnswered, kAbandoned, kTimedOut };
  /// Waits for that run's end: looks for `spin`, then sleeps.
  Outcome Wait(std::chrono::microseconds spin, std::chrono::steady_clock::time_point deadline);
  /// Ends every wait, now and later, with kAbandoned. Threads: any.
  void Abandon();
  struct Answer {
    Status status;
    bool lost = false;
  };
  /// What the worker has said of the run.
  Answer ReadAnswer() const;
  /// An output, copied out of what the worker can still write, until the next call for it. Errors:
  /// kDataLoss: its shape is none, or more than there is room for.
  Result<TensorView> Output(size_t index);

  // The worker's side.

  /// Where an input lies, of any run.
  std::span<std::byte> InputPlace(size_t index) const;
  /// An input where it lies: the server is not distrusted. Errors: as Output.
  Result<TensorView> Input(size_t index) const;
  /// Errors: kInternal: another type, or more than there is room for.
  Status PutOutput(size_t index, const TensorView& tensor);
  /// Ends the run that was started last.
  void FinishRun(const Status& status, bool lost);

 private:
  struct Header;
  struct Record;
  Mailbox() = default;
  static Result<Mailbox> LayOut(std::vector<MailboxPlace> inputs,
                                std::vector<MailboxPlace> outputs);
  Header& header() const;
  Record& record(size_t place) const;
  /// Places are numbered through: inputs, then outputs.
  const MailboxPlace& place(size_t number) const;
  Result<TensorView> Read(size_t number) const;
  Status Write(size_t number, const TensorView& tensor);

  std::vector<MailboxPlace> inputs_, outputs_;
  std::vector<size_t> offsets_;  // one a place
  size_t bytes_ = 0;
  SharedPages pages_;
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::vector<std::unique_ptr<std::byte, Free>> own_outputs_;  // the server's; taken once touched
  uint32_t run_ = 0;                                           // the server's own count; even
};

}  // namespace verdict
