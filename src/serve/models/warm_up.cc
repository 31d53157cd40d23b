#include "serve/models/warm_up.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/profile.h"

namespace verdict {
namespace {

/// More than that no request brings.
constexpr size_t kMaxInputBytes = size_t{64} << 20;

/// A tensor of the elements of `sample` again and again, or of zeros (empty strings) if it is null.
Constant Fill(const TensorSpec& spec, const Shape& shape, size_t bytes, const Constant* sample) {
  auto [tensor, data] = Constant::Allocate(spec.dtype, shape);
  const size_t period = sample == nullptr ? 0 : ByteSize(spec.dtype, sample->shape).value();
  if (period != 0) {
    auto* to = static_cast<std::byte*>(data);
    for (size_t at = 0; at < bytes; at += period) {
      std::memcpy(to + at, sample->data, std::min(period, bytes - at));
    }
  } else if (spec.dtype == DataType::kString) {
    std::uninitialized_fill_n(static_cast<std::string_view*>(data), tensor.view().size(),
                              std::string_view());
  } else if (bytes != 0) {
    std::memset(data, 0, bytes);
  }
  return std::move(tensor);
}

/// Errors: as WarmUp's.
Status RunOnce(Session& session, std::span<const Shape> shapes) {
  const Engine& engine = session.engine();
  const auto& golden = engine.contents().golden;
  std::vector<Constant> tensors;
  std::vector<TensorView> inputs;
  size_t all_bytes = 0;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const TensorSpec& spec = engine.inputs()[i];
    const auto bytes = ByteSize(spec.dtype, shapes[i]);
    if (!bytes.ok() || *bytes > kMaxInputBytes - all_bytes) return OkStatus();
    all_bytes += *bytes;
    tensors.push_back(
        Fill(spec, shapes[i], *bytes, golden.empty() ? nullptr : &golden.front().inputs[i]));
    inputs.push_back(tensors.back().view());
  }
  const Status status = session.Run(inputs).status();
  return status.code() == StatusCode::kInvalidArgument ? OkStatus() : status;
}

}  // namespace

Status WarmUp(Session& session, std::chrono::steady_clock::time_point deadline) {
  for (const Profile& profile : session.engine().profiles()) {
    for (Shape InputRange::*corner : {&InputRange::opt, &InputRange::min, &InputRange::max}) {
      if (std::chrono::steady_clock::now() >= deadline) return OkStatus();
      if (Status status = RunOnce(session, CornerShapes(profile, corner)); !status.ok()) {
        return status.WithContext("warm-up");
      }
    }
  }
  return OkStatus();
}

}  // namespace verdict
