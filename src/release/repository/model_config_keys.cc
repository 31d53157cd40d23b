#include "release/repository/model_config_keys.h"

namespace verdict {
namespace {

using Document = ModelConfigDocument;

constexpr int64_t kMaxRows = 1'000'000;
constexpr int64_t kMaxMicroseconds = 3'600'000'000;           // an hour
constexpr int64_t kMaxIdleMicroseconds = 31'536'000'000'000;  // a year: state per card or customer
constexpr int64_t kMaxQueueSize = 1'000'000;
constexpr int64_t kMaxVersion = std::numeric_limits<int64_t>::max();

constexpr int64_t kMaxSequences = 16'777'216;

const char* const kSequencesHelp =
    "How many sequences have state at a time; beyond it the longest idle one is forgotten";
constexpr size_t kMaxTensors = 4096;
constexpr int64_t kMaxExtent = std::numeric_limits<int64_t>::max();
const char* const kTypeHelp = "Its type, as TYPE_FP32, which must be the engine's; may be left out";
const char* const kDimsHelp =
    "Its shape, -1 for what varies, without the batch if there is a max_batch_size; must be the "
    "engine's; may be left out";

ConfigKeys LatestKeys(Document::Latest* latest) {
  return {Integer("num_versions", &latest->num_versions, 1, 1000,
                  "How many of the highest versions are served")};
}

ConfigKeys AllKeys(Document::All* /*all*/) { return {}; }

ConfigKeys SpecificKeys(Document::Specific* specific) {
  return {Required(IntegerList("versions", &specific->versions, 1, kMaxVersion,
                               "The versions that are served, each once"))};
}

ConfigKeys VersionKeys(Document::Versions* versions) {
  return {
      OptionalSection("latest", &versions->latest, LatestKeys, "Serves the highest versions"),
      OptionalSection("all", &versions->all, AllKeys, "Serves every version"),
      OptionalSection("specific", &versions->specific, SpecificKeys, "Serves these versions"),
  };
}

ConfigKeys QueuePolicyKeys(QueuePolicy* policy) {
  return {
      Choice("timeout_action", &policy->timeout_action, {"REJECT", "DELAY"},
             "What happens to an overdue request: an error at once, or it waits until no other "
             "request is left"),
      Integer("default_timeout_microseconds", &policy->default_timeout_microseconds, 0,
              kMaxMicroseconds, "How long a request may wait, in microseconds; 0 for any time"),
      Flag("allow_timeout_override", &policy->allow_timeout_override,
           "Whether a request's own timeout may be shorter than the default"),
      Integer("max_queue_size", &policy->max_queue_size, 0, kMaxQueueSize,
              "How many requests may wait; 0 for " + std::to_string(kDefaultMaxQueueSize)),
  };
}

ConfigKeys DynamicBatchingKeys(DynamicBatching* batching) {
  return {
      IntegerList("preferred_batch_size", &batching->preferred_batch_size, 1, kMaxRows,
                  "Sizes at which a batch is closed without waiting, in rows, ascending"),
      Integer("max_queue_delay_microseconds", &batching->max_queue_delay_microseconds, 0,
              kMaxMicroseconds, "How long a batch may wait for more requests, in microseconds"),
      Flag("preserve_ordering", &batching->preserve_ordering,
           "Whether responses leave in the order of their requests"),
      Integer("priority_levels", &batching->priority_levels, 0, kMaxPriorityLevels,
              "How many priorities there are, 1 the most urgent; 0 for none"),
      Integer("default_priority_level", &batching->default_priority_level, 0, kMaxPriorityLevels,
              "The priority of a request that names none; needed where there are priorities"),
      Section("default_queue_policy", QueuePolicyKeys(&batching->default_queue_policy),
              "The queue of requests"),
      NumberedSections("priority_queue_policy", &batching->priority_queue_policy, 1,
                       kMaxPriorityLevels, QueuePolicyKeys,
                       "The queues of single priorities, each under its number"),
  };
}

ConfigKeys TensorKeys(Document::Tensor* tensor) {
  return {
      Required(Text("name", &tensor->name, "Its name in the engine")),
      Text("data_type", &tensor->data_type, kTypeHelp),
      IntegerList("dims", &tensor->dims, -1, kMaxExtent, kDimsHelp),
  };
}

ConfigKeys StateKeys(Document::State* state) {
  SequenceState& names = state->names;
  return {
      Required(Text("input_name", &names.input_name, "The input that is fed with the state")),
      Required(Text("output_name", &names.output_name, "The output that gives the next state")),
      Text("data_type", &state->declared.data_type, kTypeHelp),
      IntegerList("dims", &state->declared.dims, -1, kMaxExtent, kDimsHelp),
      Refused("initial_state", "a sequence begins with zeros; leave it out"),
  };
}

ConfigKeys OldestKeys(Document::Oldest* oldest) {
  return {Integer("max_candidate_sequences", &oldest->max_candidate_sequences, 1, kMaxSequences,
                  kSequencesHelp)};
}

ConfigKeys SequenceKeys(Document::Sequences* sequences) {
  SequenceBatching& batching = sequences->batching;
  return {
      Integer("max_sequence_idle_microseconds", &batching.max_sequence_idle_microseconds, 1,
              kMaxIdleMicroseconds,
              "How long a sequence may be idle before its state is forgotten, in microseconds"),
      Integer("max_candidate_sequences", &batching.max_candidate_sequences, 1, kMaxSequences,
              kSequencesHelp),
      OptionalSection("oldest", &sequences->oldest, OldestKeys,
                      "Where Triton has max_candidate_sequences"),
      Required(SectionList("state", &sequences->state, 1, 256, StateKeys,
                           "The tensors that are kept between the requests of a sequence")),
      Refused("direct", "sequences have no slot of their own here; leave it out"),
      Refused("control_input",
              "a request's parameters say where a sequence starts and ends; leave it out"),
  };
}

ConfigKeys InstanceGroupKeys(Document::InstanceGroup* group) {
  return {
      Integer("count", &group->count, 0, 1024,
              "How many runs of the model at a time, 0 for as many as there are threads; KIND_GPU: "
              "streams on the device, 0 for device.streams"),
      Choice("kind", &group->kind, {"KIND_AUTO", "KIND_CPU", "KIND_GPU"},
             "Where they run: KIND_AUTO on the server's device if the engine has a plan for it, "
             "else on the CPU; KIND_CPU never on the device; KIND_GPU as KIND_AUTO, with a warning "
             "while it is the CPU"),
  };
}

}  // namespace

ConfigKeys ModelConfigKeys(Document* document) {
  return {
      Text("name", &document->name, "The model's name, which must be that of its folder"),
      Text("platform", &document->platform, "Always verdict_engine; may be left out"),
      Text("backend", &document->backend, "Always verdict; may be left out"),
      Integer("max_batch_size", &document->max_batch_size, 0, kMaxRows,
              "The most rows of one run; 0: requests are never combined"),
      OptionalSection("version_policy", &document->version_policy, VersionKeys,
                      "Which versions are served: one of latest, all, specific; without it, all"),
      OptionalSection("dynamic_batching", &document->dynamic_batching, DynamicBatchingKeys,
                      "Combines requests to batches"),
      OptionalSection("sequence_batching", &document->sequence_batching, SequenceKeys,
                      "Keeps state between the requests of a sequence"),
      SectionList("instance_group", &document->instance_group, 0, 1, InstanceGroupKeys,
                  "How many runs at a time: one group"),
      SectionList("input", &document->input, 0, kMaxTensors, TensorKeys,
                  "The inputs, which must be the engine's; may be left out"),
      SectionList("output", &document->output, 0, kMaxTensors, TensorKeys,
                  "The outputs, which must be the engine's; may be left out"),
      Text("default_model_filename", &document->default_model_filename,
           "Always model.engine; may be left out"),
      Refused("model_warmup", "every version is warmed with its golden vectors; leave it out"),
      Refused("optimization", "the engine was optimized when it was built; leave it out"),
  };
}

}  // namespace verdict
