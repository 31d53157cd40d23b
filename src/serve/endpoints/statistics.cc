#include <string>
#include <utility>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

void AppendDuration(std::string* out, const char* name, uint64_t count, uint64_t ns) {
  out->push_back('"');
  out->append(name);
  out->append("\":{\"count\":");
  AppendJsonInteger(out, count);
  out->append(",\"ns\":");
  AppendJsonInteger(out, ns);
  out->push_back('}');
}

/// As Triton has them: an execution counts once, whatever the number of its requests. Sizes over
/// kSizesApart rows are not known apart.
void AppendBatchStatistics(std::string* out, const BatchSizes::Totals& sizes) {
  bool first = true;
  for (uint64_t rows = 1; rows <= kSizesApart; ++rows) {
    const BatchSizeTotals& size = sizes[BatchSizes::IndexOf(rows)];
    if (size.runs == 0) continue;
    if (!std::exchange(first, false)) out->push_back(',');
    out->append("{\"batch_size\":");
    AppendJsonInteger(out, rows);
    out->push_back(',');
    AppendDuration(out, "compute_input", size.runs, size.input_ns);
    out->push_back(',');
    AppendDuration(out, "compute_infer", size.runs, size.infer_ns);
    out->push_back(',');
    AppendDuration(out, "compute_output", size.runs, size.output_ns);
    out->push_back('}');
  }
}

void AppendStatistics(std::string* out, const LoadedModel& model) {
  const ModelTotals totals = model.metrics().Sum();
  out->append("{\"name\":");
  AppendJsonString(out, model.name());
  out->append(",\"version\":");
  AppendJsonString(out, model.version_text());
  out->append(",\"last_inference\":");
  AppendJsonInteger(out, totals.last_inference_ms);
  out->append(",\"inference_count\":");
  AppendJsonInteger(out, totals.inferences);
  out->append(",\"execution_count\":");
  AppendJsonInteger(out, totals.executions);
  out->append(",\"inference_stats\":{");
  AppendDuration(out, "success", totals.success, totals.times.total_ns);
  out->push_back(',');
  AppendDuration(out, "fail", totals.failed(), totals.failure_ns);
  out->push_back(',');
  AppendDuration(out, "queue", totals.success, totals.times.queue_ns);
  out->push_back(',');
  AppendDuration(out, "compute_input", totals.success, totals.times.input_ns);
  out->push_back(',');
  AppendDuration(out, "compute_infer", totals.success, totals.times.infer_ns);
  out->push_back(',');
  AppendDuration(out, "compute_output", totals.success, totals.times.output_ns);
  out->push_back(',');
  AppendDuration(out, "cache_hit", 0, 0);
  out->push_back(',');
  AppendDuration(out, "cache_miss", 0, 0);
  out->append("},\"batch_stats\":[");
  AppendBatchStatistics(out, totals.sizes);
  out->append("]}");
}

}  // namespace

Status HandleModelStatistics(Service& service, const Call& call, Reply* reply) {
  const ModelSet& models = service.models().ForWorker(call.worker);
  // The model alone asks for all of its versions; no model asks for all models.
  if (!call.model.empty()) {
    VERDICT_RETURN_IF_ERROR(models.Find(call.model, call.version).status());
  }
  std::string& body = reply->body;
  body = "{\"model_stats\":[";
  bool first = true;
  for (const auto& [name, versions] : models.models()) {
    if (!call.model.empty() && name != call.model) continue;
    for (const ModelVersion& version : versions) {
      if (version.loaded == nullptr) continue;
      if (!call.version.empty() && version.loaded->version_text() != call.version) continue;
      if (!std::exchange(first, false)) body.push_back(',');
      AppendStatistics(&body, *version.loaded);
    }
  }
  body += "]}";
  return OkStatus();
}

}  // namespace verdict
