#include "serve/models/loaded_model.h"

#include <chrono>
#include <utility>

#include "serve/models/warm_up.h"

namespace verdict {
namespace {

/// For all sessions together.
constexpr std::chrono::seconds kWarmUpTime{2};

}  // namespace

Result<std::shared_ptr<const LoadedModel>> LoadedModel::Load(const std::string& name,
                                                             const VersionFile& file,
                                                             const ModelConfig& config,
                                                             Metrics* metrics) {
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<const Engine> engine,
                           Engine::Load(file.engine, FileAccess::kRead));
  return FromEngine(name, file.version, std::move(engine), metrics, config);
}

Result<std::shared_ptr<const LoadedModel>> LoadedModel::FromEngine(
    const std::string& name, int64_t version, std::shared_ptr<const Engine> engine,
    Metrics* metrics, const ModelConfig& config) {
  VERDICT_RETURN_IF_ERROR(Engine::CheckGolden(engine));
  std::shared_ptr<LoadedModel> model(new LoadedModel());
  const auto deadline = std::chrono::steady_clock::now() + kWarmUpTime;
  for (int worker = 0; worker < metrics->workers(); ++worker) {
    VERDICT_ASSIGN_OR_RETURN(auto session, Session::Create(engine));
    VERDICT_RETURN_IF_ERROR(WarmUp(*session, deadline));
    model->sessions_.push_back(std::move(session));
  }
  model->name_ = name;
  model->version_ = version;
  model->version_text_ = std::to_string(version);
  model->engine_ = std::move(engine);
  model->config_ = config;
  model->metrics_ = metrics->Model(name, model->version_text_);
  return std::shared_ptr<const LoadedModel>(std::move(model));
}

}  // namespace verdict
