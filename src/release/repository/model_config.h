#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace verdict {

class ConfigProblems;

// What <model>/config.yaml says. Keys, meanings and defaults are those of Triton's config.pbtxt,
// where it has them; keys of ours are marked so.

/// What happens to a request that waits too long, and how many may wait.
struct QueuePolicy {
  /// kReject answers an overdue request at once; kDelay lets it wait until no other is left.
  enum class TimeoutAction { kReject, kDelay };
  TimeoutAction timeout_action = TimeoutAction::kReject;
  uint64_t default_timeout_microseconds = 0;  // 0: none
  /// Whether a request's own timeout may be shorter than the default one. A deadline of the
  /// transport (gRPC's, Verdict-Deadline-Us) always counts.
  bool allow_timeout_override = false;
  uint32_t max_queue_size = 0;  // requests; 0: kDefaultMaxQueueSize (Triton's 0 has no bound)
};
inline constexpr uint32_t kDefaultMaxQueueSize = 4096;
inline constexpr uint32_t kMaxPriorityLevels = 256;

struct DynamicBatching {
  std::vector<int64_t> preferred_batch_size;  // ascending, in rows
  uint64_t max_queue_delay_microseconds = 0;  // how long a batch may wait for more requests
  bool preserve_ordering = false;             // responses leave in the order of their requests
  uint32_t priority_levels = 0;               // 0: no priorities; else 1 (most urgent) to this
  uint32_t default_priority_level = 0;        // set if priority_levels is
  QueuePolicy default_queue_policy;
  std::map<uint32_t, QueuePolicy> priority_queue_policy;  // by level
};

/// What a configuration says of a tensor that the engine file describes itself. It changes nothing:
/// a version whose engine says otherwise is not loaded (CheckDeclaredTensors).
struct DeclaredTensor {
  std::string place;  // "file:line:column: key 'input[0]'", for messages
  std::string name;
  std::string data_type;                     // "TYPE_FP32"; empty: not said
  std::optional<std::vector<int64_t>> dims;  // without the batch where there is a max_batch_size
};

/// One tensor that the server keeps for a sequence between its requests.
struct SequenceState {
  std::string input_name;        // fed with the state
  std::string output_name;       // gives the next one; same type and shape
  DeclaredTensor declared = {};  // the input
};

struct SequenceBatching {
  uint64_t max_sequence_idle_microseconds = 1'000'000;  // then its state is forgotten
  uint32_t max_candidate_sequences = 65'536;            // states held; the longest idle goes first
  std::vector<SequenceState> state;                     // not empty
};

struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  uint32_t num_versions = 1;      // kLatest: how many of the highest
  std::vector<int64_t> versions;  // kSpecific: ascending
};

/// Where a model runs.
enum class InstanceKind {
  kAuto,  // on the device, where there is one that the engine has a plan for; else on the CPU
  kCpu,   // never on the device
  kGpu,   // as kAuto, and that it is not there is worth a warning
};

struct ModelConfig {
  /// 0: requests are never combined. Else the most rows of one run; the first extent of every input
  /// and output is the batch, and rows do not depend on each other.
  int64_t max_batch_size = 0;
  std::optional<VersionPolicy> version_policy;  // absent: the server's (all versions by default)
  std::optional<DynamicBatching> dynamic_batching;
  std::optional<SequenceBatching> sequence_batching;
  /// instance_group[0].count: how many runs at a time; 0: as many as there are threads. Of kGpu:
  /// streams on the device; 0: the server's.
  uint32_t instance_count = 0;
  InstanceKind instance_kind = InstanceKind::kAuto;
  /// How many runs at a time on the CPU.
  uint32_t cpu_instances() const {
    return instance_kind == InstanceKind::kGpu ? 0 : instance_count;
  }
  std::vector<DeclaredTensor> inputs, outputs;
};

inline constexpr std::string_view kModelConfigFileName = "config.yaml";

/// Reads <model>/config.yaml. Returns: the defaults if there is no such file. Errors:
/// kInvalidArgument with file, line and key (unknown key, wrong type, out of range, what
/// contradicts; the first of them and how many more there are); kUnavailable (cannot be read).
Result<ModelConfig> ReadModelConfig(const std::filesystem::path& file);

/// The same from text; `name` stands for the file in messages. Its folder, if it has one, is the
/// model's name.
Result<ModelConfig> ParseModelConfig(std::string_view text, const std::string& name);

/// The same, with every problem. Returns: the defaults where there is one. problems: empty.
ModelConfig ParseModelConfig(std::string_view text, const std::string& name,
                             ConfigProblems* problems);

/// The same of what a client sends for `model`: the JSON that ModelConfig answers, also as protocol
/// buffers write it, with numbers in quotes.
Result<ModelConfig> ParseSentModelConfig(std::string_view json, const std::string& model);

}  // namespace verdict
