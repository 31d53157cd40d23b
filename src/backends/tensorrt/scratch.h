#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "backends/tensorrt/cuda_context.h"

namespace verdict::tensorrt {

/// Scratch that runners of any programs share. What runs in it runs one after the other on the
/// card, in the order in which it was enqueued.
///
/// Captured graphs hold its address, so that it must not move when a program comes that needs more:
/// it is a range of addresses as large as the card's memory, of which as much is backed by memory
/// as the neediest of its users asks for. Threads: any.
class ScratchLane {
 public:
  /// Errors: kUnimplemented: the card or its driver does not map memory; as CUDA's.
  static Result<std::unique_ptr<ScratchLane>> Create(CudaContext& context);
  /// Everything that ran in it has ended.
  ~ScratchLane();
  ScratchLane(const ScratchLane&) = delete;
  ScratchLane& operator=(const ScratchLane&) = delete;

  CUdeviceptr address() const { return address_; }
  /// Of the card's memory, now.
  uint64_t bytes() const;

  /// The first `bytes` are there until Release of the same number. Errors: kResourceExhausted.
  Status Reserve(uint64_t bytes);
  /// What ran in them has ended.
  void Release(uint64_t bytes);

  /// Calls enqueue(), which puts work that uses the scratch into `stream`, behind what was put into
  /// other streams so before. The stream must not be capturing.
  template <typename Enqueue>
  Status InTurn(CUstream stream, const Enqueue& enqueue) {
    const std::lock_guard lock(turns_);
    VERDICT_RETURN_IF_ERROR(BeginTurn(stream));
    const Status status = enqueue();
    // Also after an error: of whatever has been enqueued.
    const Status ended = EndTurn(stream);
    return status.ok() ? ended : status;
  }

 private:
  explicit ScratchLane(CudaContext& context) : context_(context) {}
  Status BeginTurn(CUstream stream);
  /// What the stream holds is over, or waited for by the next stream, or the context is lost.
  Status EndTurn(CUstream stream);
  Status AddPiece();
  void DropPiecesAbove(uint64_t bytes);

  CudaContext& context_;
  CUdeviceptr address_ = 0;
  uint64_t range_bytes_ = 0, piece_bytes_ = 0;
  std::mutex turns_;
  CUevent last_run_ = nullptr;
  CUstream last_stream_ = nullptr;
  mutable std::mutex mutex_;  // guards what follows
  std::multiset<uint64_t> needs_;
  uint64_t mapped_bytes_ = 0;
};

/// The lanes of a card: a program's first runner uses the first, its second the second, so that
/// runners of one program do not wait for each other. Threads: any.
class ScratchLanes {
 public:
  explicit ScratchLanes(CudaContext& context) : context_(context) {}

  /// Lives as long as this does. Errors: as ScratchLane::Create.
  Result<ScratchLane*> Lane(size_t index);
  /// Of the card's memory, all lanes together.
  uint64_t bytes() const;

 private:
  CudaContext& context_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<ScratchLane>> lanes_;
};

/// A runner's scratch: its own if it is small, else a part of a lane.
class Scratch {
 public:
  Scratch() = default;
  /// shared_from: the least size that is shared. lane: which one. Errors: kResourceExhausted.
  static Result<Scratch> Allocate(CudaContext& context, ScratchLanes& lanes, size_t lane,
                                  uint64_t bytes, uint64_t shared_from);
  Scratch(Scratch&& other) noexcept { *this = std::move(other); }
  Scratch& operator=(Scratch&& other) noexcept;
  ~Scratch();

  CUdeviceptr address() const { return lane_ == nullptr ? own_.address() : lane_->address(); }
  uint64_t bytes() const { return bytes_; }
  /// Of bytes(), what nobody else uses.
  uint64_t own_bytes() const { return own_.bytes(); }

  /// As ScratchLane's; nothing to wait for where the scratch is the runner's own.
  template <typename Enqueue>
  Status InTurn(CUstream stream, const Enqueue& enqueue) {
    return lane_ == nullptr ? enqueue() : lane_->InTurn(stream, enqueue);
  }

 private:
  DeviceBuffer own_;
  ScratchLane* lane_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace verdict::tensorrt
