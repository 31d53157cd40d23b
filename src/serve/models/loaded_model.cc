#include "serve/models/loaded_model.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "base/file.h"
#include "engine/engine_file.h"
#include "serve/config/declared_tensors.h"
#include "serve/models/warm_up.h"

namespace verdict {
namespace {

/// For all sessions together.
constexpr std::chrono::seconds kWarmUpTime{2};

}  // namespace

LoadedModel::~LoadedModel() = default;

Result<std::shared_ptr<const LoadedModel>> LoadedModel::Load(const std::string& name,
                                                             const VersionFile& file,
                                                             const ModelConfig& config,
                                                             const ModelHost& host) {
  VERDICT_ASSIGN_OR_RETURN(const auto verified,
                           VerifyVersion(file.engine.parent_path(), host.trust));
  VERDICT_ASSIGN_OR_RETURN(const auto copy, FileCopy::Read(file.engine));
  if (verified.has_value()) {
    VERDICT_RETURN_IF_ERROR(CheckEngineBytes(verified->manifest, copy->bytes(), file.engine));
  }
  VERDICT_ASSIGN_OR_RETURN(EngineContents contents,
                           ParseEngine(copy->bytes(), copy, file.engine.string()));
  auto planned = Engine::FromContents(std::move(contents));
  if (!planned.ok()) return planned.status().WithContext(file.engine.string());
  std::shared_ptr<const Engine> engine = *std::move(planned);
  return FromEngine(name, file.version, std::move(engine), config, host);
}

Result<std::shared_ptr<const LoadedModel>> LoadedModel::FromEngine(
    const std::string& name, int64_t version, std::shared_ptr<const Engine> engine,
    const ModelConfig& config, const ModelHost& host) {
  VERDICT_RETURN_IF_ERROR(CheckDeclaredTensors(config, *engine));
  VERDICT_RETURN_IF_ERROR(Engine::CheckGolden(engine));
  std::unique_ptr<LoadedModel> model(new LoadedModel());
  {
    // Not with a worker's memory, which may be in use: what is new of it is touched first by the
    // worker's own first runs.
    VERDICT_ASSIGN_OR_RETURN(auto session, Session::Create(engine));
    VERDICT_RETURN_IF_ERROR(WarmUp(*session, std::chrono::steady_clock::now() + kWarmUpTime));
  }
  for (int worker = 0; worker < host.workers; ++worker) {
    const auto index = static_cast<size_t>(worker);
    VERDICT_ASSIGN_OR_RETURN(
        auto session,
        Session::Create(engine, index < host.arenas.size() ? host.arenas[index] : nullptr));
    model->sessions_.push_back(std::move(session));
  }
  model->name_ = name;
  model->version_ = version;
  model->version_text_ = std::to_string(version);
  model->config_ = config;
  VERDICT_ASSIGN_OR_RETURN(model->queue_, host.scheduler->Add(engine, config, name));
  if (!model->queue_->bit_exact()) {
    spdlog::info(
        "model {} version {}: a row's answer in a batch differs from its answer alone by rounding, "
        "not at all with max_batch_size: 1",
        name, version);
  }
  if (host.device != nullptr) {
    // The CPU plan can serve by now, whatever comes of this.
    model->device_backend_ = host.device->backend();
    model->queue_->SetDeviceStreams(host.device->Streams(config));
    host.device->Attach(engine, name, model->version_text_, config,
                        [weak = std::weak_ptr<ModelQueue>(model->queue_)](DeviceEngine& device) {
                          const auto queue = weak.lock();
                          return queue == nullptr ? OkStatus() : queue->MeasureDevice(device);
                        });
  }
  model->inputs_.assign(engine->inputs().begin(), engine->inputs().end());
  model->outputs_.assign(engine->outputs().begin(), engine->outputs().end());
  for (const StateSlot& slot : model->queue_->states()) {
    model->inputs_[slot.input].is_state = true;
    model->outputs_[slot.output].is_state = true;
  }
  model->engine_ = std::move(engine);
  model->metrics_ = host.metrics->Model(name, model->version_text_);
  model->metrics_->SetQueue([weak = std::weak_ptr<ModelQueue>(model->queue_)] {
    const auto queue = weak.lock();
    QueueTotals totals;
    if (queue == nullptr) return totals;
    totals.waiting = queue->pending();
    const ModelQueue::Sequences sequences = queue->sequences();
    totals.sequences_held = sequences.held;
    totals.sequences_evicted = sequences.evicted;
    totals.sequences_expired = sequences.expired;
    totals.late_runs = queue->late_runs();
    const ModelQueue::Rejected rejected = queue->rejected();
    totals.rejected = {rejected.full, rejected.cannot_meet, rejected.expired, rejected.timeout,
                       rejected.cancelled};
    totals.sizes = queue->batch_sizes();
    return totals;
  });
  if (!host.free) return std::shared_ptr<const LoadedModel>(std::move(model));
  const auto let_go = [free = host.free](const LoadedModel* unused) {
    free(std::unique_ptr<const LoadedModel>(unused));
  };
  return std::shared_ptr<const LoadedModel>(model.release(), let_go);
}

}  // namespace verdict
