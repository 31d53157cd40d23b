#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/config_key.h"
#include "release/repository/model_config.h"

namespace verdict {

/// config.yaml as it is written, before it is checked as a whole and becomes a ModelConfig.
struct ModelConfigDocument {
  struct Latest {
    uint32_t num_versions = 1;
  };
  struct All {};
  struct Specific {
    std::vector<int64_t> versions;
  };
  struct Versions {
    std::optional<Latest> latest;
    std::optional<All> all;
    std::optional<Specific> specific;
  };
  struct Oldest {
    uint32_t max_candidate_sequences = SequenceBatching().max_candidate_sequences;
  };
  struct Tensor {
    std::string name;
    std::string data_type;
    std::vector<int64_t> dims;
  };
  struct State {
    SequenceState names;
    Tensor declared;
  };
  struct Sequences {
    SequenceBatching batching;
    std::optional<Oldest> oldest;
    std::vector<State> state;
  };
  struct InstanceGroup {
    uint32_t count = 0;
    InstanceKind kind = InstanceKind::kAuto;
  };

  std::string name;
  std::string platform;
  std::string backend;
  int64_t max_batch_size = 0;
  std::optional<Versions> version_policy;
  std::optional<DynamicBatching> dynamic_batching;
  std::optional<Sequences> sequence_batching;
  std::vector<InstanceGroup> instance_group;
  std::vector<Tensor> input, output;
  std::string default_model_filename;
};

/// The keys of config.yaml, bound to `document`.
ConfigKeys ModelConfigKeys(ModelConfigDocument* document);

}  // namespace verdict
