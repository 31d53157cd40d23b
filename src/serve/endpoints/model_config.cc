#include "serve/endpoints/model_config.h"

#include <span>

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

void AppendField(std::string* out, const char* name) {
  if (!out->ends_with('{')) out->push_back(',');
  out->append("\"").append(name).append("\":");
}

void AppendField(std::string* out, const char* name, uint64_t value) {
  AppendField(out, name);
  AppendJsonInteger(out, value);
}

void AppendField(std::string* out, const char* name, bool value) {
  AppendField(out, name);
  out->append(value ? "true" : "false");
}

void AppendField(std::string* out, const char* name, std::string_view value) {
  AppendField(out, name);
  AppendJsonString(out, value);
}

void AppendTensors(std::string* out, std::span<const TensorSpec> specs, bool batched) {
  out->push_back('[');
  for (const TensorSpec& spec : specs) {
    out->append(out->ends_with('[') ? "{" : ",{");
    AppendField(out, "name", spec.name);
    AppendField(out, "data_type", ConfigTypeName(spec.dtype));
    AppendField(out, "dims");
    const auto dims = spec.shape.dims();
    AppendJsonShape(out, batched && !dims.empty() ? dims.subspan(1) : dims);
    out->push_back('}');
  }
  out->push_back(']');
}

void AppendVersionPolicy(std::string* out, const VersionPolicy& policy) {
  out->push_back('{');
  switch (policy.kind) {
    case VersionPolicy::Kind::kLatest:
      out->append("\"latest\":{");
      AppendField(out, "num_versions", uint64_t{policy.num_versions});
      break;
    case VersionPolicy::Kind::kAll:
      out->append("\"all\":{");
      break;
    case VersionPolicy::Kind::kSpecific:
      out->append("\"specific\":{");
      AppendField(out, "versions");
      AppendJsonShape(out, policy.versions);
      break;
  }
  out->append("}}");
}

void AppendQueuePolicy(std::string* out, const QueuePolicy& policy) {
  out->push_back('{');
  AppendField(out, "timeout_action",
              policy.timeout_action == QueuePolicy::TimeoutAction::kReject
                  ? std::string_view("REJECT")
                  : std::string_view("DELAY"));
  AppendField(out, "default_timeout_microseconds", policy.default_timeout_microseconds);
  AppendField(out, "allow_timeout_override", policy.allow_timeout_override);
  AppendField(out, "max_queue_size", uint64_t{policy.max_queue_size});
  out->push_back('}');
}

void AppendDynamicBatching(std::string* out, const DynamicBatching& batching) {
  out->push_back('{');
  AppendField(out, "preferred_batch_size");
  AppendJsonShape(out, batching.preferred_batch_size);
  AppendField(out, "max_queue_delay_microseconds", batching.max_queue_delay_microseconds);
  AppendField(out, "preserve_ordering", batching.preserve_ordering);
  AppendField(out, "priority_levels", uint64_t{batching.priority_levels});
  AppendField(out, "default_priority_level", uint64_t{batching.default_priority_level});
  AppendField(out, "default_queue_policy");
  AppendQueuePolicy(out, batching.default_queue_policy);
  AppendField(out, "priority_queue_policy");
  out->push_back('{');
  for (const auto& [level, policy] : batching.priority_queue_policy) {
    AppendField(out, std::to_string(level).c_str());
    AppendQueuePolicy(out, policy);
  }
  out->append("}}");
}

const TensorSpec* Find(std::span<const TensorSpec> specs, std::string_view name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

void AppendSequenceBatching(std::string* out, const SequenceBatching& batching,
                            const Engine& engine, bool batched) {
  out->push_back('{');
  AppendField(out, "max_sequence_idle_microseconds", batching.max_sequence_idle_microseconds);
  AppendField(out, "oldest");
  out->push_back('{');
  AppendField(out, "max_candidate_sequences", uint64_t{batching.max_candidate_sequences});
  out->push_back('}');
  AppendField(out, "state");
  out->push_back('[');
  for (const SequenceState& state : batching.state) {
    out->append(out->ends_with('[') ? "{" : ",{");
    AppendField(out, "input_name", state.input_name);
    AppendField(out, "output_name", state.output_name);
    if (const TensorSpec* spec = Find(engine.inputs(), state.input_name)) {
      AppendField(out, "data_type", ConfigTypeName(spec->dtype));
      AppendField(out, "dims");
      const auto dims = spec->shape.dims();
      AppendJsonShape(out, batched && !dims.empty() ? dims.subspan(1) : dims);
    }
    out->push_back('}');
  }
  out->append("]}");
}

/// As Triton completes it: one that can run on the CPU alone is of that kind.
std::string_view KindName(InstanceKind kind, const Engine& engine) {
  if (kind == InstanceKind::kGpu) return "KIND_GPU";
  const bool cpu = kind == InstanceKind::kCpu || engine.contents().device_plans.empty();
  return cpu ? "KIND_CPU" : "KIND_AUTO";
}

}  // namespace

void AppendModelConfig(std::string* out, const LoadedModel& model) {
  const ModelConfig& config = model.config();
  const Engine& engine = model.engine();
  const bool batched = config.max_batch_size > 0;
  out->push_back('{');
  AppendField(out, "name", model.name());
  AppendField(out, "platform", std::string_view("verdict_engine"));
  AppendField(out, "backend", std::string_view("verdict"));
  AppendField(out, "version_policy");
  AppendVersionPolicy(
      out, config.version_policy.value_or(VersionPolicy{VersionPolicy::Kind::kAll, 1, {}}));
  // 0: the batch is one of the dims, as for every model whose clients send it in the shape.
  AppendField(out, "max_batch_size", static_cast<uint64_t>(config.max_batch_size));
  AppendField(out, "input");
  AppendTensors(out, engine.inputs(), batched);
  AppendField(out, "output");
  AppendTensors(out, engine.outputs(), batched);
  AppendField(out, "instance_group");
  out->append("[{");
  AppendField(out, "kind", KindName(config.instance_kind, engine));
  // 0: as many as there are threads.
  AppendField(out, "count", uint64_t{config.instance_count});
  out->append("}]");
  if (config.dynamic_batching.has_value()) {
    AppendField(out, "dynamic_batching");
    AppendDynamicBatching(out, *config.dynamic_batching);
  }
  if (config.sequence_batching.has_value()) {
    AppendField(out, "sequence_batching");
    AppendSequenceBatching(out, *config.sequence_batching, engine, batched);
  }
  out->push_back('}');
}

}  // namespace verdict
