#include "release/repository/model_config.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "config/config_file.h"
#include "config/read_config.h"
#include "config/yaml_tree.h"
#include "release/repository/model_config_keys.h"

namespace verdict {
namespace {

using Document = ModelConfigDocument;

/// Checks a document as a whole.
class Checker {
 public:
  Checker(const YamlNode& root, const Document& document, ConfigProblems* problems)
      : root_(root), document_(document), problems_(*problems) {}

  void Check(const std::string& model) {
    if (!model.empty()) CheckWord("name", document_.name, model);
    CheckWord("platform", document_.platform, "verdict_engine");
    CheckWord("backend", document_.backend, "verdict");
    CheckWord("default_model_filename", document_.default_model_filename, "model.engine");
    if (document_.version_policy) CheckVersions(*document_.version_policy);
    if (document_.dynamic_batching) CheckDynamicBatching(*document_.dynamic_batching);
    if (document_.sequence_batching) CheckSequences(*document_.sequence_batching);
  }

 private:
  void Add(const std::string& path, const std::string& what) { problems_.AddAt(root_, path, what); }

  void CheckWord(const std::string& path, const std::string& text, const std::string& right) {
    if (root_.Find(path) == nullptr || text == right) return;
    Add(path, "is '" + text + "' but must be '" + right + "'; correct it or leave it out");
  }

  void CheckVersions(const Document::Versions& versions) {
    const int policies = int{versions.latest.has_value()} + int{versions.all.has_value()} +
                         int{versions.specific.has_value()};
    if (policies != 1) {
      Add("version_policy",
          "has " + std::to_string(policies) + " policies; write one of latest, all, specific");
    }
    if (!versions.specific) return;
    const std::vector<int64_t>& list = versions.specific->versions;
    const std::string path = "version_policy.specific.versions";
    if (list.empty()) Add(path, "names no version; write at least one");
    std::vector<int64_t> sorted = list;
    std::ranges::sort(sorted);
    const auto twice = std::ranges::adjacent_find(sorted);
    if (twice != sorted.end()) {
      Add(path, "names version " + std::to_string(*twice) + " twice; keep one");
    }
  }

  void CheckDynamicBatching(const DynamicBatching& batching) {
    if (document_.max_batch_size == 0) {
      Add("dynamic_batching", "needs max_batch_size; set it to the most rows of one run");
    }
    const std::vector<int64_t>& sizes = batching.preferred_batch_size;
    const std::string path = "dynamic_batching.preferred_batch_size";
    if (std::ranges::adjacent_find(sizes, std::greater_equal()) != sizes.end()) {
      Add(path, "does not ascend; write each size once, the smallest first");
    }
    const auto largest = std::ranges::max_element(sizes);
    if (document_.max_batch_size > 0 && largest != sizes.end() &&
        *largest > document_.max_batch_size) {
      Add(path, "has " + std::to_string(*largest) + ", more than max_batch_size " +
                    std::to_string(document_.max_batch_size) + "; lower it or raise the other");
    }
    CheckPriorities(batching);
  }

  void CheckPriorities(const DynamicBatching& batching) {
    const std::string levels = std::to_string(batching.priority_levels);
    const std::string path = "dynamic_batching.default_priority_level";
    if (batching.default_priority_level > batching.priority_levels) {
      Add(path, "is " + std::to_string(batching.default_priority_level) +
                    ", more than priority_levels " + levels + "; lower it or raise the other");
    } else if (batching.priority_levels > 0 && batching.default_priority_level == 0) {
      Add(root_.Find(path) == nullptr ? "dynamic_batching.priority_levels" : path,
          "needs default_priority_level from 1 to " + levels + "; set it");
    }
    for (const auto& [level, policy] : batching.priority_queue_policy) {
      if (level <= batching.priority_levels) continue;
      Add("dynamic_batching.priority_queue_policy." + std::to_string(level),
          "is more than priority_levels " + levels + "; leave it out or raise the other");
    }
  }

  void CheckSequences(const Document::Sequences& sequences) {
    if (document_.dynamic_batching) {
      Add("sequence_batching",
          "cannot go with dynamic_batching; keep one (sequences are combined by themselves)");
    }
    if (sequences.oldest &&
        root_.Find("sequence_batching.oldest.max_candidate_sequences") != nullptr &&
        root_.Find("sequence_batching.max_candidate_sequences") != nullptr) {
      Add("sequence_batching.max_candidate_sequences", "stands under 'oldest' too; keep one");
    }
    std::vector<SequenceState> state;
    for (const Document::State& entry : sequences.state) state.push_back(entry.names);
    for (size_t i = 0; i < state.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (state[i].input_name == state[j].input_name ||
            state[i].output_name == state[j].output_name) {
          Add("sequence_batching.state", "entries " + std::to_string(j) + " and " +
                                             std::to_string(i) +
                                             " share an input or output; each state has its own");
        }
      }
      if (state[i].input_name.empty() || state[i].output_name.empty()) {
        Add("sequence_batching.state",
            "entry " + std::to_string(i) + " has an empty name; write the tensor's");
      }
    }
  }

  const YamlNode& root_;
  const Document& document_;
  ConfigProblems& problems_;
};

VersionPolicy ToPolicy(const Document::Versions& versions) {
  VersionPolicy policy;
  if (versions.latest) {
    policy.num_versions = versions.latest->num_versions;
  } else if (versions.all) {
    policy.kind = VersionPolicy::Kind::kAll;
  } else if (versions.specific) {
    policy.kind = VersionPolicy::Kind::kSpecific;
    policy.versions = versions.specific->versions;
    std::ranges::sort(policy.versions);
  }
  return policy;
}

/// Where an entry of a list stands; `list` may be null.
const YamlNode* Entry(const YamlNode* list, size_t i) {
  return list != nullptr && i < list->items.size() ? &list->items[i] : nullptr;
}

/// path: of the section in the file, as "input[0]"; node: the section.
DeclaredTensor ToDeclared(Document::Tensor tensor, const std::string& file, const std::string& path,
                          const YamlNode* node) {
  DeclaredTensor declared{"", std::move(tensor.name), std::move(tensor.data_type), {}};
  if (node == nullptr) return declared;
  ConfigProblems place(file);
  place.Add(node->mark, path, "");
  declared.place = place.lines().front();
  declared.place.resize(declared.place.rfind(": "));
  if (node->Find("dims") != nullptr) declared.dims = std::move(tensor.dims);
  return declared;
}

std::vector<DeclaredTensor> ToDeclared(std::vector<Document::Tensor> tensors,
                                       const std::string& file, const std::string& key,
                                       const YamlNode& root) {
  std::vector<DeclaredTensor> declared;
  for (size_t i = 0; i < tensors.size(); ++i) {
    declared.push_back(ToDeclared(std::move(tensors[i]), file, key + "[" + std::to_string(i) + "]",
                                  Entry(root.Find(key), i)));
  }
  return declared;
}

std::vector<SequenceState> ToStates(std::vector<Document::State> entries, const std::string& file,
                                    const YamlNode& root) {
  const std::string key = "sequence_batching.state";
  std::vector<SequenceState> states;
  for (size_t i = 0; i < entries.size(); ++i) {
    SequenceState state = std::move(entries[i].names);
    entries[i].declared.name = state.input_name;
    state.declared = ToDeclared(std::move(entries[i].declared), file,
                                key + "[" + std::to_string(i) + "]", Entry(root.Find(key), i));
    states.push_back(std::move(state));
  }
  return states;
}

ModelConfig ToConfig(Document document, const std::string& file, const YamlNode& root) {
  ModelConfig config;
  config.max_batch_size = document.max_batch_size;
  if (document.version_policy) config.version_policy = ToPolicy(*document.version_policy);
  config.dynamic_batching = std::move(document.dynamic_batching);
  if (document.sequence_batching) {
    Document::Sequences& sequences = *document.sequence_batching;
    config.sequence_batching = std::move(sequences.batching);
    config.sequence_batching->state = ToStates(std::move(sequences.state), file, root);
    if (sequences.oldest) {
      config.sequence_batching->max_candidate_sequences = sequences.oldest->max_candidate_sequences;
    }
  }
  if (!document.instance_group.empty()) {
    config.instance_count = document.instance_group[0].count;
    config.instance_kind = document.instance_group[0].kind;
  }
  config.inputs = ToDeclared(std::move(document.input), file, "input", root);
  config.outputs = ToDeclared(std::move(document.output), file, "output", root);
  return config;
}

/// The name of the model: that of the folder that the file is in; empty if none is known.
std::string ModelName(const std::string& file) {
  return std::filesystem::path(file).parent_path().filename().string();
}

/// model: the name that the document may have; empty for any.
ModelConfig Parse(std::string_view text, const std::string& name, const std::string& model,
                  ScalarForm quoted, ConfigProblems* problems) {
  const auto root = ParseYaml(text, name);
  if (!root.ok()) {
    problems->Add(root.status().message());
    return {};
  }
  Document document;
  ReadConfig(*root, ModelConfigKeys(&document), problems, quoted);
  if (problems->empty()) Checker(*root, document, problems).Check(model);
  return problems->empty() ? ToConfig(std::move(document), name, *root) : ModelConfig{};
}

}  // namespace

ModelConfig ParseModelConfig(std::string_view text, const std::string& name,
                             ConfigProblems* problems) {
  return Parse(text, name, ModelName(name), ScalarForm::kQuotedYaml, problems);
}

Result<ModelConfig> ParseSentModelConfig(std::string_view json, const std::string& model) {
  const std::string name = "parameter 'config'";
  ConfigProblems problems(name);
  ModelConfig config = Parse(json, name, model, ScalarForm::kOverride, &problems);
  VERDICT_RETURN_IF_ERROR(problems.ToStatus());
  return config;
}

Result<ModelConfig> ParseModelConfig(std::string_view text, const std::string& name) {
  ConfigProblems problems(name);
  ModelConfig config = ParseModelConfig(text, name, &problems);
  VERDICT_RETURN_IF_ERROR(problems.ToStatus());
  return config;
}

Result<ModelConfig> ReadModelConfig(const std::filesystem::path& file) {
  const auto text = ReadConfigFile(file);
  if (text.status().code() == StatusCode::kNotFound) return ModelConfig{};
  VERDICT_RETURN_IF_ERROR(text.status());
  return ParseModelConfig(*text, file.string());
}

}  // namespace verdict
