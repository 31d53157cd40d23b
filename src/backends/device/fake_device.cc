#include "backends/device/fake_device.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "ops/evaluate.h"
#include "plan/graph_digest.h"
#include "plan/profile.h"

namespace verdict {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kMagic = "verdict fake program 1\n";
constexpr uint64_t kRunnerBytes = 4096;

/// What is shared by the device, its programs and their runners.
struct State {
  explicit State(const FakeDeviceOptions& given) : options(given) {}

  const FakeDeviceOptions options;
  std::atomic<bool> hangs = false;  // every run from now on, until the device is lost
  std::atomic<bool> oom_next = false;
  std::atomic<int> live = 0;     // programs and runners
  std::atomic<int> sharing = 0;  // programs that need the shared scratch
  mutable std::atomic<int> memory_calls = 0;
  std::atomic<uint64_t> used_bytes = 0;
  std::atomic<int> failing_recoveries = 0;

  bool lost() const {
    std::scoped_lock lock(mutex);
    return lost_;
  }
  void Lose(const std::string& why) {
    std::scoped_lock lock(mutex);
    if (!lost_) why_ = why;
    lost_ = true;
    hangs = false;
  }
  void ComeBack() {
    std::scoped_lock lock(mutex);
    lost_ = false;
  }
  Status Check() const {
    std::scoped_lock lock(mutex);
    if (!lost_) return OkStatus();
    return Unavailable("the fake device is lost (" + why_ + ") until it is recovered");
  }

 private:
  mutable std::mutex mutex;
  bool lost_ = false;
  std::string why_;
};

/// Counts one thing that must be gone before a recovery, and its memory.
class Lease {
 public:
  Lease(std::shared_ptr<State> state, uint64_t bytes, bool shares = false)
      : state_(std::move(state)), bytes_(bytes), shares_(shares) {
    ++state_->live;
    state_->used_bytes += bytes_;
    if (shares_) ++state_->sharing;
  }
  ~Lease() {
    if (shares_) --state_->sharing;
    --state_->live;
    state_->used_bytes -= bytes_;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  State& state() const { return *state_; }
  const std::shared_ptr<State>& shared_state() const { return state_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const std::shared_ptr<State> state_;
  const uint64_t bytes_;
  const bool shares_;  // of the scratch, too
};

/// "Oom" of a device whose memory ends.
Status OutOfMemory(const State& state, uint64_t bytes) {
  return ResourceExhausted("the fake device has no memory for " + std::to_string(bytes) +
                           " bytes more: " + std::to_string(state.used_bytes) + " of " +
                           std::to_string(state.options.memory_bytes) + " are in use");
}

/// What a program's bytes say.
struct Header {
  std::string fingerprint;
  std::string precision;           // "float32", "half", "int8"
  std::string structure, weights;  // digests
  bool refittable = false;
};

std::vector<std::byte> Serialize(const Header& header) {
  const std::string text = std::string(kMagic) + header.fingerprint + "\n" + header.precision +
                           "\n" + header.structure + "\n" + header.weights + "\n" +
                           (header.refittable ? "1" : "0") + "\n";
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Result<Header> ParseHeader(std::span<const std::byte> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const Status damaged = DataLoss("these are not the bytes of a fake device's program");
  if (!text.starts_with(kMagic)) return damaged;
  text.remove_prefix(kMagic.size());
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return damaged;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (lines.size() != 5) return damaged;
  Header header;
  header.fingerprint = lines[0];
  header.precision = lines[1];
  header.structure = lines[2];
  header.weights = lines[3];
  header.refittable = lines[4] == "1";
  return header;
}

/// The value with its error: a few bits of it choose where in [-error, error].
template <typename T>
T Wrong(T value, float error) {
  if (error == 0 || !std::isfinite(value)) return value;
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value)) * 2654435761U;
  const double share = (static_cast<double>(bits >> 8) / double{1 << 23}) - 1;
  return static_cast<T>(value + share * error * (1 + std::fabs(value)));
}

/// A copy of its own, with the errors of the precision.
Constant CopyWithError(const Constant& from, float error) {
  auto [copy, data] = Constant::Allocate(from.dtype, from.shape);
  std::memcpy(data, from.data, ByteSize(from.dtype, from.shape).value());
  if (from.dtype == DataType::kFloat32) {
    for (float& value : copy.view().as<float>()) value = Wrong(value, error);
  } else if (from.dtype == DataType::kFloat64) {
    for (double& value : copy.view().as<double>()) value = Wrong(value, error);
  }
  return copy;
}

/// A loaded program, as its runners share it.
struct Loaded {
  Graph graph;
  std::vector<Profile> profiles;
  float error = 0;
  Lease lease;
  std::atomic<uint64_t> runner_bytes = 0;
};

class FakeRunner : public DeviceRunner {
 public:
  FakeRunner(std::shared_ptr<Loaded> loaded, const DeviceRunnerOptions& options)
      : loaded_(std::move(loaded)),
        caller_memory_(options.caller_memory),
        caller_places_(options.caller_places),
        lease_(loaded_->lease.shared_state(), kRunnerBytes) {
    loaded_->runner_bytes += kRunnerBytes;
  }
  ~FakeRunner() override {
    loaded_->runner_bytes -= kRunnerBytes;
    // It is still there, as what is pinned has to be.
    if (!caller_memory_.empty())
      static_cast<void>(*const_cast<const volatile std::byte*>(caller_memory_.data()));
  }

  Status Start(std::span<const TensorView> inputs) override {
    State& state = lease_.state();
    VERDICT_RETURN_IF_ERROR(state.Check());
    VERDICT_RETURN_IF_ERROR(CheckInputs(inputs));
    hangs_ = state.hangs;
    if (hangs_) {
      end_ = Clock::now() + std::chrono::milliseconds(state.options.run_timeout_ms);
      return OkStatus();
    }
    VERDICT_ASSIGN_OR_RETURN(const auto results, Evaluate(loaded_->graph, inputs));
    results_.clear();
    views_.clear();
    for (const Constant& result : results) {
      results_.push_back(CopyWithError(result, loaded_->error));
      views_.push_back(results_.back().view());
    }
    end_ = Clock::now() + std::chrono::microseconds(state.options.latency_us);
    return OkStatus();
  }

  bool Wait(Clock::time_point until) override {
    std::this_thread::sleep_until(std::min(until, end_));
    return Clock::now() >= end_;
  }

  Result<std::span<const TensorView>> Finish() override {
    State& state = lease_.state();
    Wait(end_);
    if (hangs_) {
      state.Lose("a run did not end");
      return DeadlineExceeded("the fake device's run has not ended within " +
                              std::to_string(state.options.run_timeout_ms) + " ms");
    }
    VERDICT_RETURN_IF_ERROR(state.Check());  // it may have been lost meanwhile
    return std::span<const TensorView>(views_);
  }

  Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs) override {
    VERDICT_RETURN_IF_ERROR(Run(inputs).status());
    std::vector<LayerTime> times;
    for (const Node& node : loaded_->graph.nodes) {
      times.push_back({node.name.empty() ? node.op : node.name, 0.001});
    }
    return times;
  }

 private:
  Status CheckInputs(std::span<const TensorView> inputs) const {
    const Graph& graph = loaded_->graph;
    if (inputs.size() != graph.inputs.size()) {
      return InvalidArgument("the program takes " + std::to_string(graph.inputs.size()) +
                             " inputs, not " + std::to_string(inputs.size()));
    }
    for (size_t i = 0; i < inputs.size() && lease_.state().options.needs_caller_memory; ++i) {
      if (i >= caller_places_.size() || inputs[i].data != caller_places_[i].data()) {
        return InvalidArgument("an input does not lie in the place that was told");
      }
      const std::less_equal<const std::byte*> precedes;
      if (!precedes(caller_memory_.data(), caller_places_[i].data()) ||
          !precedes(caller_places_[i].data() + caller_places_[i].size(),
                    caller_memory_.data() + caller_memory_.size())) {
        return InvalidArgument("an input's place does not lie in the memory that was told");
      }
    }
    std::vector<Shape> shapes;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& value = graph.value(graph.inputs[i]);
      if (inputs[i].dtype != value.dtype) {
        return InvalidArgument("input '" + value.name + "' is of another type than the program's");
      }
      shapes.push_back(inputs[i].shape);
    }
    Status status = InvalidArgument("the program has no profile");
    for (const Profile& profile : loaded_->profiles) {
      status = CheckShapes(profile, shapes);
      if (status.ok()) return status;
    }
    return status;
  }

  const std::shared_ptr<Loaded> loaded_;
  const std::span<const std::byte> caller_memory_;
  const std::vector<std::span<std::byte>> caller_places_;
  const Lease lease_;
  // Of the run that was started.
  bool hangs_ = false;
  Clock::time_point end_;
  std::vector<Constant> results_;
  std::vector<TensorView> views_;
};

class FakeProgram : public DeviceProgram {
 public:
  explicit FakeProgram(std::shared_ptr<Loaded> loaded) : loaded_(std::move(loaded)) {}

  Result<std::unique_ptr<DeviceRunner>> NewRunner(const DeviceRunnerOptions& options) override {
    State& state = loaded_->lease.state();
    VERDICT_RETURN_IF_ERROR(state.Check());
    if (state.used_bytes + kRunnerBytes > state.options.memory_bytes) {
      return OutOfMemory(state, kRunnerBytes);
    }
    for (const std::vector<Shape>& shapes : options.captured_shapes) {
      if (shapes.size() != loaded_->graph.inputs.size()) {
        return InvalidArgument("a captured graph needs one shape for each input");
      }
    }
    return std::unique_ptr<DeviceRunner>(std::make_unique<FakeRunner>(loaded_, options));
  }
  uint64_t device_bytes() const override { return loaded_->lease.bytes() + loaded_->runner_bytes; }
  Result<std::string> LayerInformation() const override {
    std::string json = R"({"Layers": [)";
    for (size_t i = 0; i < loaded_->graph.nodes.size(); ++i) {
      if (i > 0) json += ", ";
      json += "\"" + loaded_->graph.nodes[i].op + "\"";
    }
    return json + "]}";
  }

 private:
  const std::shared_ptr<Loaded> loaded_;
};

bool HasString(const Graph& graph, std::span<const ValueId> ids) {
  return std::ranges::any_of(ids, [&](ValueId id) {
    return id != kNoValue && graph.value(id).dtype == DataType::kString;
  });
}

/// A cache in the layout of TensorRT's, with each input's largest value over the samples.
std::string Calibrate(const Graph& graph, std::span<const std::vector<Constant>> samples) {
  std::string cache = "TRT-8503-EntropyCalibration2\n";
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    if (value.dtype != DataType::kFloat32) continue;
    float largest = 0;
    for (const std::vector<Constant>& sample : samples) {
      for (const float x : sample[i].view().as<const float>()) {
        largest = std::max(largest, std::fabs(x));
      }
    }
    char hex[9];
    std::snprintf(hex, sizeof hex, "%08x", std::bit_cast<uint32_t>(largest / 127));
    cache += value.name + ": " + hex + "\n";
  }
  return cache;
}

class FakeDevice : public Device {
 public:
  explicit FakeDevice(const FakeDeviceOptions& options) : state_(std::make_shared<State>(options)) {
    state_->failing_recoveries = options.failing_recoveries;
    info_.backend = options.backend;
    info_.name = options.name;
    info_.fingerprint = options.fingerprint;
    info_.versions = options.fingerprint;
    info_.uuid = "FAKE-" + std::to_string(options.index);
    info_.index = options.index;
    info_.memory_bytes = options.memory_bytes;
  }

  const DeviceInfo& info() const override { return info_; }

  Status Supports(const Graph& graph, const Node& node) const override {
    if (state_->options.unsupported.contains(node.op)) {
      return Unimplemented("the fake device has no " + node.op);
    }
    if (node.op == "TreeEnsemble") return Unimplemented("trees stay on the host");
    if (HasString(graph, node.inputs) || HasString(graph, node.outputs)) {
      return Unimplemented("strings stay on the host");
    }
    return OkStatus();
  }

  Result<DeviceBlob> Build(const Graph& graph, std::span<const Profile> profiles,
                           const DeviceBuildOptions& options) override {
    VERDICT_RETURN_IF_ERROR(state_->Check());
    for (const Node& node : graph.nodes) VERDICT_RETURN_IF_ERROR(Supports(graph, node));
    for (const auto& [pool, bytes] : options.memory_pools) {
      if (pool == "workspace") continue;
      return InvalidArgument("the fake device has no memory pool '" + pool +
                             "'; it has: workspace");
    }
    for (const std::string& source : options.tactic_sources) {
      if (source == "+FAKE" || source == "-FAKE") continue;
      return InvalidArgument("the fake device has no tactic source '" + source + "'; it has: FAKE");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(state_->options.build_ms));
    DeviceBlob blob;
    const bool explicit_int8 = std::ranges::any_of(
        graph.nodes, [](const Node& node) { return node.op == "QuantizeLinear"; });
    if (options.int8 && !explicit_int8) {
      if (options.calibration_cache.empty() && options.samples.empty()) {
        return InvalidArgument("int8 needs samples or a calibration cache");
      }
      blob.calibration_cache = options.calibration_cache.empty() ? Calibrate(graph, options.samples)
                                                                 : options.calibration_cache;
    }
    Header header;
    header.fingerprint = info_.fingerprint;
    header.precision = options.int8 || explicit_int8  ? "int8"
                       : options.fp16 || options.bf16 ? "half"
                                                      : "float32";
    header.structure = ToHex(StructureDigest(graph, profiles));
    header.weights = ToHex(WeightsDigest(graph));
    header.refittable = options.refittable;
    blob.bytes = Serialize(header);
    if (options.timing_cache != nullptr) options.timing_cache->push_back(std::byte{'t'});
    if (options.log) {
      options.log("built " + std::to_string(graph.nodes.size()) + " nodes in " + header.precision);
    }
    return blob;
  }

  Result<std::shared_ptr<DeviceProgram>> Load(std::span<const std::byte> bytes, const Graph& graph,
                                              std::span<const Profile> profiles) override {
    VERDICT_RETURN_IF_ERROR(state_->Check());
    VERDICT_ASSIGN_OR_RETURN(const Header header, ParseHeader(bytes));
    if (header.fingerprint != info_.fingerprint) {
      return FailedPrecondition("the program is of '" + header.fingerprint + "', this device is '" +
                                info_.fingerprint + "'");
    }
    if (header.structure != ToHex(StructureDigest(graph, profiles))) {
      return DataLoss("the program is of another graph");
    }
    if (header.weights != ToHex(WeightsDigest(graph))) {
      return DataLoss("the program has other weights than the graph");
    }
    const uint64_t weights = graph.ConstantBytes();
    const uint64_t needed = weights + bytes.size();
    if (state_->oom_next.exchange(false) ||
        state_->used_bytes + needed > state_->options.memory_bytes) {
      return OutOfMemory(*state_, needed);
    }
    const FakeDeviceOptions& options = state_->options;
    const float error = header.precision == "int8"   ? options.int8_error
                        : header.precision == "half" ? options.half_error
                                                     : options.float32_error;
    auto loaded = std::shared_ptr<Loaded>(
        new Loaded{graph,
                   {profiles.begin(), profiles.end()},
                   error,
                   {state_, needed, weights >= options.sharing_from_bytes}});
    return std::shared_ptr<DeviceProgram>(std::make_shared<FakeProgram>(std::move(loaded)));
  }

  Result<std::vector<std::byte>> Refit(std::span<const std::byte> bytes,
                                       const Graph& graph) override {
    VERDICT_RETURN_IF_ERROR(state_->Check());
    VERDICT_ASSIGN_OR_RETURN(Header header, ParseHeader(bytes));
    if (!header.refittable) {
      return FailedPrecondition("the program was not built to be refitted");
    }
    header.weights = ToHex(WeightsDigest(graph));
    return Serialize(header);
  }

  Result<DeviceMemory> memory() const override {
    VERDICT_RETURN_IF_ERROR(state_->Check());
    if (state_->memory_calls++ >= state_->options.memory_answers) {
      return Internal("the fake device does not tell what it has of memory");
    }
    const uint64_t total = state_->options.memory_bytes;
    const uint64_t shared = state_->sharing > 0 ? state_->options.shared_bytes : 0;
    return DeviceMemory{total - std::min<uint64_t>(total, state_->used_bytes + shared), total,
                        shared};
  }
  bool lost() const override { return state_->lost(); }

  Status Recover() override {
    if (state_->live > 0) {
      return FailedPrecondition(std::to_string(state_->live) +
                                " programs and runners of the lost device are still there");
    }
    if (!state_->options.recovers) {
      return Unimplemented("the fake device does not come back in this process");
    }
    if (state_->failing_recoveries > 0) {
      --state_->failing_recoveries;
      return Unavailable("the fake device does not come back yet");
    }
    state_->ComeBack();
    return OkStatus();
  }

  Status InjectFault(const std::string& kind) override {
    if (kind == "trap") {
      state_->Lose("a kernel trapped");
    } else if (kind == "hang") {
      state_->hangs = true;
    } else if (kind == "oom") {
      state_->oom_next = true;
    } else {
      return InvalidArgument("there is no fault '" + kind + "'; the faults are trap, hang, oom");
    }
    return OkStatus();
  }

 private:
  const std::shared_ptr<State> state_;
  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> MakeFakeDevice(const FakeDeviceOptions& options) {
  return std::make_unique<FakeDevice>(options);
}

}  // namespace verdict
