#include "serve/batching/row_trial.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "ops/half.h"
#include "serve/batching/engine_rows.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kTrialRows = 16;
constexpr auto kTrialTime = std::chrono::milliseconds(50);  // of each set of inputs

enum class Agreement { kBits, kRounding, kNone };

double ToDouble(double value) { return value; }
double ToDouble(Float16 value) { return static_cast<double>(value.ToFloat()); }
double ToDouble(BFloat16 value) { return static_cast<double>(value.ToFloat()); }

template <typename T>
bool AreClose(const TensorView& a, const TensorView& b, double tolerance) {
  const auto left = a.as<const T>(), right = b.as<const T>();
  for (size_t i = 0; i < left.size(); ++i) {
    const double x = ToDouble(left[i]), y = ToDouble(right[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    if (!std::isfinite(x) || !(std::fabs(x - y) <= tolerance * (1 + std::fabs(x)))) return false;
  }
  return true;
}

Agreement Compare(const TensorView& a, const TensorView& b, double tolerance) {
  if (a.dtype != b.dtype || !(a.shape == b.shape)) return Agreement::kNone;
  if (a.dtype == DataType::kString) {
    const auto left = a.as<const std::string_view>(), right = b.as<const std::string_view>();
    return std::ranges::equal(left, right) ? Agreement::kBits : Agreement::kNone;
  }
  const size_t bytes = ByteSize(a.dtype, a.shape).value();
  if (bytes == 0 || std::memcmp(a.data, b.data, bytes) == 0) return Agreement::kBits;
  bool close = false;
  switch (a.dtype) {
    case DataType::kFloat32:
      close = AreClose<float>(a, b, tolerance);
      break;
    case DataType::kFloat64:
      close = AreClose<double>(a, b, tolerance);
      break;
    case DataType::kFloat16:
      close = AreClose<Float16>(a, b, std::max(tolerance, 1e-3));
      break;
    case DataType::kBFloat16:
      close = AreClose<BFloat16>(a, b, std::max(tolerance, 1e-2));
      break;
    default:
      break;
  }
  return close ? Agreement::kRounding : Agreement::kNone;
}

std::vector<TensorView> Slices(std::span<const TensorView> tensors, int64_t first, int64_t count) {
  std::vector<TensorView> slices;
  for (const TensorView& tensor : tensors) slices.push_back(RowSlice(tensor, first, count));
  return slices;
}

/// Runs `inputs` (of `rows` rows) together, then `chunk` rows at a time. More than 1e-5 is rounding
/// only where it is the exception: a value that falls to the other side of a quantum does so in a
/// row here and there, what depends on other rows does so in all. Errors: a kernel's.
Result<Agreement> TryOn(Session& session, std::span<const TensorView> inputs, int64_t rows,
                        int64_t chunk, double tolerance) {
  VERDICT_ASSIGN_OR_RETURN(const auto outputs, session.Run(inputs));
  std::vector<std::vector<std::byte>> copies;  // the next run overwrites them
  std::vector<TensorView> together(outputs.begin(), outputs.end());
  for (TensorView& output : together) {
    if (output.shape.rank() == 0 || output.shape[0] != rows) return Agreement::kNone;
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(output.dtype, output.shape));
    copies.emplace_back(bytes);
    if (bytes > 0) std::memcpy(copies.back().data(), output.data, bytes);
    output.data = copies.back().data();
  }
  Agreement worst = Agreement::kBits;
  int64_t chunks = 0, far = 0;
  for (int64_t first = 0; first + chunk <= rows; first += chunk, ++chunks) {
    VERDICT_ASSIGN_OR_RETURN(const auto apart, session.Run(Slices(inputs, first, chunk)));
    bool is_far = false;
    for (size_t i = 0; i < apart.size(); ++i) {
      const TensorView row = RowSlice(together[i], first, chunk);
      worst = std::max(worst, Compare(row, apart[i], tolerance));
      is_far = is_far || Compare(row, apart[i], double{kMinGoldenTolerance}) == Agreement::kNone;
    }
    far += is_far ? 1 : 0;
  }
  return 2 * far > chunks ? Agreement::kNone : worst;
}

}  // namespace

Result<bool> TryRowsApart(Session& session, int64_t max_rows) {
  const Engine& engine = session.engine();
  const int64_t chunk = RowsOf(engine).min;
  if (2 * chunk > max_rows) return true;  // then requests never go together

  // How many rows there is time for.
  VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> probe, RandomInputs(engine, chunk, 1));
  const Clock::time_point start = Clock::now();
  const bool runs = session.Run(Views(probe)).ok();
  const auto time = std::max<Clock::duration>(Clock::now() - start, std::chrono::nanoseconds(1));
  const int64_t affordable = runs ? static_cast<int64_t>(kTrialTime / time) * chunk : 0;
  const int64_t most = std::min(max_rows, std::clamp(affordable, 2 * chunk, kTrialRows * chunk));

  double tolerance = static_cast<double>(kMinGoldenTolerance);
  for (const GoldenVector& golden : engine.contents().golden) {
    tolerance = std::max(tolerance, static_cast<double>(golden.tolerance));
  }
  Agreement worst = Agreement::kBits;
  bool tried = false;
  Status why;
  const auto try_on = [&](std::span<const TensorView> inputs, int64_t rows) {
    const auto agreement = TryOn(session, inputs, rows, chunk, tolerance);
    if (!agreement.ok()) {
      why = agreement.status();
      return;
    }
    tried = true;
    worst = std::max(worst, *agreement);
  };
  for (const GoldenVector& golden : engine.contents().golden) {
    const int64_t rows = std::min(golden.inputs[0].shape[0], most);
    if (rows >= 2 * chunk) try_on(Slices(Views(golden.inputs), 0, rows), rows);
  }
  VERDICT_ASSIGN_OR_RETURN(const std::vector<Constant> inputs, RandomInputs(engine, most, 2));
  try_on(Views(inputs), most);
  if (!tried) {
    return InvalidArgument("could not try whether rows depend on each other: " + why.message() +
                           "; set max_batch_size: 0 to serve requests one by one");
  }
  if (worst == Agreement::kNone) {
    return InvalidArgument(
        "rows depend on each other: a request would get another answer in a batch than alone; set "
        "max_batch_size: 0 to serve requests one by one");
  }
  return worst == Agreement::kBits;
}

}  // namespace verdict
