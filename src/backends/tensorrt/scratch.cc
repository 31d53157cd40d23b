#include "backends/tensorrt/scratch.h"

#include <utility>

namespace verdict::tensorrt {
namespace {

/// Memory comes and goes in pieces of this, or of what the card's own page size makes of it.
constexpr uint64_t kPieceBytes = uint64_t{4} << 20U;

uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

CUmemAllocationProp OnCard(int device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

}  // namespace

Result<std::unique_ptr<ScratchLane>> ScratchLane::Create(CudaContext& context) {
  if (context.Attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) == 0) {
    return Unimplemented("the card does not map memory");
  }
  const CudaDriver& driver = context.driver();
  VERDICT_ASSIGN_OR_RETURN(const DeviceMemory memory, context.Memory());
  std::unique_ptr<ScratchLane> lane(new ScratchLane(context));
  const CUmemAllocationProp properties = OnCard(context.device());
  size_t granularity = 0;
  VERDICT_RETURN_IF_ERROR(
      context.Check(driver.cuMemGetAllocationGranularity(&granularity, &properties,
                                                         CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
                    "asking for the size of pages"));
  lane->piece_bytes_ = RoundUp(kPieceBytes, granularity);
  lane->range_bytes_ = RoundUp(memory.total_bytes, lane->piece_bytes_);
  VERDICT_RETURN_IF_ERROR(
      context.Check(driver.cuMemAddressReserve(&lane->address_, lane->range_bytes_, 0, 0, 0),
                    "reserving addresses for scratch"));
  VERDICT_RETURN_IF_ERROR(context.Check(
      driver.cuEventCreate(&lane->last_run_, CU_EVENT_DISABLE_TIMING), "making an event"));
  return lane;
}

ScratchLane::~ScratchLane() {
  // What belongs to a lost context goes with it.
  if (!context_.MakeCurrent().ok()) return;
  DropPiecesAbove(0);
  const CudaDriver& driver = context_.driver();
  if (last_run_ != nullptr) driver.cuEventDestroy_v2(last_run_);
  if (address_ != 0) driver.cuMemAddressFree(address_, range_bytes_);
}

uint64_t ScratchLane::bytes() const {
  const std::lock_guard lock(mutex_);
  return mapped_bytes_;
}

Status ScratchLane::Reserve(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > range_bytes_) {
    return ResourceExhausted("the program needs " + std::to_string(bytes) +
                             " bytes of scratch, more than the card has");
  }
  while (mapped_bytes_ < bytes) {
    const Status status = AddPiece();
    if (status.ok()) continue;
    DropPiecesAbove(needs_.empty() ? 0 : *needs_.rbegin());
    return status.WithContext("scratch of " + std::to_string(bytes) + " bytes");
  }
  needs_.insert(bytes);
  return OkStatus();
}

void ScratchLane::Release(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  needs_.erase(needs_.find(bytes));
  if (!context_.MakeCurrent().ok()) return;
  DropPiecesAbove(needs_.empty() ? 0 : *needs_.rbegin());
}

Status ScratchLane::AddPiece() {
  const CudaDriver& driver = context_.driver();
  const CUmemAllocationProp properties = OnCard(context_.device());
  CUmemGenericAllocationHandle piece = 0;
  VERDICT_RETURN_IF_ERROR(context_.Check(driver.cuMemCreate(&piece, piece_bytes_, &properties, 0),
                                         "allocating device memory"));
  const CUdeviceptr address = address_ + mapped_bytes_;
  const CUresult mapped = driver.cuMemMap(address, piece_bytes_, 0, piece, 0);
  driver.cuMemRelease(piece);  // it lives as long as it is mapped
  VERDICT_RETURN_IF_ERROR(context_.Check(mapped, "mapping device memory"));
  CUmemAccessDesc access{};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const CUresult allowed = driver.cuMemSetAccess(address, piece_bytes_, &access, 1);
  if (allowed != CUDA_SUCCESS) driver.cuMemUnmap(address, piece_bytes_);
  VERDICT_RETURN_IF_ERROR(context_.Check(allowed, "opening mapped memory"));
  mapped_bytes_ += piece_bytes_;
  return OkStatus();
}

void ScratchLane::DropPiecesAbove(uint64_t bytes) {
  while (mapped_bytes_ >= bytes + piece_bytes_) {
    mapped_bytes_ -= piece_bytes_;
    context_.driver().cuMemUnmap(address_ + mapped_bytes_, piece_bytes_);
  }
}

Status ScratchLane::BeginTurn(CUstream stream) {
  // Nothing waits where the last run was of the same stream, or is of one that has been ended.
  if (last_stream_ == nullptr || last_stream_ == stream) return OkStatus();
  return context_.Check(context_.driver().cuStreamWaitEvent(stream, last_run_, 0),
                        "waiting for shared scratch");
}

Status ScratchLane::EndTurn(CUstream stream) {
  const CudaDriver& driver = context_.driver();
  last_stream_ = stream;
  const Status marked =
      context_.Check(driver.cuEventRecord(last_run_, stream), "marking the end of a turn");
  if (marked.ok() || context_.lost()) return marked;
  // The next stream would not wait for this one on the card: so its end is waited for here.
  last_stream_ = nullptr;
  const CUresult ended = driver.cuStreamSynchronize(stream);
  if (ended == CUDA_SUCCESS) return OkStatus();
  context_.MarkLost(CudaStatus(ended, "waiting for the end of a turn", &driver));
  return context_.LostStatus();
}

Result<ScratchLane*> ScratchLanes::Lane(size_t index) {
  const std::lock_guard lock(mutex_);
  while (lanes_.size() <= index) {
    VERDICT_ASSIGN_OR_RETURN(auto lane, ScratchLane::Create(context_));
    lanes_.push_back(std::move(lane));
  }
  return lanes_[index].get();
}

uint64_t ScratchLanes::bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& lane : lanes_) bytes += lane->bytes();
  return bytes;
}

Result<Scratch> Scratch::Allocate(CudaContext& context, ScratchLanes& lanes, size_t lane,
                                  uint64_t bytes, uint64_t shared_from) {
  Scratch scratch;
  scratch.bytes_ = bytes;
  if (bytes > 0 && bytes >= shared_from) {
    auto shared = lanes.Lane(lane);
    if (shared.ok()) {
      VERDICT_RETURN_IF_ERROR((*shared)->Reserve(bytes));
      scratch.lane_ = *shared;
      return scratch;
    }
    if (shared.status().code() != StatusCode::kUnimplemented) return shared.status();
  }
  VERDICT_ASSIGN_OR_RETURN(scratch.own_, DeviceBuffer::Allocate(context, bytes));
  return scratch;
}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
  std::swap(own_, other.own_);
  std::swap(lane_, other.lane_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Scratch::~Scratch() {
  if (lane_ != nullptr) lane_->Release(bytes_);
}

}  // namespace verdict::tensorrt
