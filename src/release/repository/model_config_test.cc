#include "release/repository/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "config/read_config.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ParseModelConfig, HasDefaultsForAnEmptyFile) {
  const auto config = ParseModelConfig("", "fraud/config.yaml");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->max_batch_size, 0);
  EXPECT_FALSE(config->version_policy.has_value());
  EXPECT_FALSE(config->dynamic_batching.has_value());
  EXPECT_FALSE(config->sequence_batching.has_value());
  EXPECT_EQ(config->instance_count, 0u);
}

TEST(ParseModelConfig, ReadsEveryKeyOfDynamicBatching) {
  const auto config = ParseModelConfig(R"(
name: fraud
platform: verdict_engine
backend: verdict
max_batch_size: 64
version_policy: {specific: {versions: [3, 1]}}
instance_group: [{count: 2, kind: KIND_CPU}]
dynamic_batching:
  preferred_batch_size: [16, 32]
  max_queue_delay_microseconds: 500
  preserve_ordering: true
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy:
    timeout_action: DELAY
    default_timeout_microseconds: 4000
    allow_timeout_override: true
    max_queue_size: 100
  priority_queue_policy:
    1: {max_queue_size: 10}
    3: {}
)",
                                       "models/fraud/config.yaml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->max_batch_size, 64);
  EXPECT_EQ(config->version_policy->kind, VersionPolicy::Kind::kSpecific);
  EXPECT_THAT(config->version_policy->versions, ElementsAre(1, 3));
  EXPECT_EQ(config->instance_count, 2u);
  EXPECT_EQ(config->instance_kind, InstanceKind::kCpu);
  EXPECT_EQ(config->cpu_instances(), 2u);
  const DynamicBatching& batching = *config->dynamic_batching;
  EXPECT_THAT(batching.preferred_batch_size, ElementsAre(16, 32));
  EXPECT_EQ(batching.max_queue_delay_microseconds, 500u);
  EXPECT_TRUE(batching.preserve_ordering);
  EXPECT_EQ(batching.priority_levels, 3u);
  EXPECT_EQ(batching.default_priority_level, 2u);
  const QueuePolicy& policy = batching.default_queue_policy;
  EXPECT_EQ(policy.timeout_action, QueuePolicy::TimeoutAction::kDelay);
  EXPECT_EQ(policy.default_timeout_microseconds, 4000u);
  EXPECT_TRUE(policy.allow_timeout_override);
  EXPECT_EQ(policy.max_queue_size, 100u);
  ASSERT_EQ(batching.priority_queue_policy.size(), 2u);
  EXPECT_EQ(batching.priority_queue_policy.at(1).max_queue_size, 10u);
}

TEST(ParseModelConfig, ReadsSequences) {
  for (const char* bound : {"max_candidate_sequences: 9", "oldest: {max_candidate_sequences: 9}"}) {
    const auto config = ParseModelConfig(
        "sequence_batching:\n  " + std::string(bound) +
            "\n  max_sequence_idle_microseconds: 7\n"
            "  state: [{input_name: h, output_name: hn}, {input_name: c, output_name: cn}]\n",
        "config.yaml");
    ASSERT_TRUE(config.ok()) << config.status().message();
    EXPECT_EQ(config->sequence_batching->max_candidate_sequences, 9u);
    EXPECT_EQ(config->sequence_batching->max_sequence_idle_microseconds, 7u);
    ASSERT_EQ(config->sequence_batching->state.size(), 2u);
    EXPECT_EQ(config->sequence_batching->state[1].input_name, "c");
    EXPECT_EQ(config->sequence_batching->state[1].output_name, "cn");
  }
}

TEST(ParseModelConfig, ReadsVersionPolicies) {
  const auto latest = ParseModelConfig("version_policy: {latest: {num_versions: 2}}", "f");
  ASSERT_TRUE(latest.ok());
  EXPECT_EQ(latest->version_policy->kind, VersionPolicy::Kind::kLatest);
  EXPECT_EQ(latest->version_policy->num_versions, 2u);
  const auto all = ParseModelConfig("version_policy: {all: {}}", "f");
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->version_policy->kind, VersionPolicy::Kind::kAll);
}

TEST(ParseModelConfig, RefusesWhatContradicts) {
  const std::string state = "state: [{input_name: h, output_name: hn}]";
  struct Case {
    std::string text;
    const char* error;
  };
  for (const Case& c : std::vector<Case>{
           {"name: other", "fraud/config.yaml:1:7: key 'name': is 'other' but must be 'fraud'"},
           {"platform: onnxruntime_onnx", "must be 'verdict_engine'"},
           {"backend: onnxruntime", "must be 'verdict'"},
           {"max_batchsize: 4", "did you mean 'max_batch_size'?"},
           {"max_batch_size: -1", "out of range"},
           {"input: [{dims: [1]}]", "key 'input[0].name': is missing"},
           {"output: [{name: y, dims: [-2]}]", "key 'output[0].dims[0]': '-2' is out of range"},
           {"default_model_filename: model.onnx", "must be 'model.engine'"},
           {"version_policy: {}", "has 0 policies; write one of latest, all, specific"},
           {"version_policy: {all: {}, latest: {}}", "has 2 policies"},
           {"version_policy: {specific: {}}", "specific.versions': is missing"},
           {"version_policy: {specific: {versions: []}}", "names no version"},
           {"version_policy: {specific: {versions: [2, 1, 2]}}", "names version 2 twice"},
           {"version_policy: {specific: {versions: [0]}}", "versions[0]': '0' is out of range"},
           {"dynamic_batching:", "key 'dynamic_batching': needs max_batch_size"},
           {"max_batch_size: 8\ndynamic_batching: {preferred_batch_size: [4, 2]}",
            "config.yaml:2:42: key 'dynamic_batching.preferred_batch_size': does not ascend"},
           {"max_batch_size: 8\ndynamic_batching: {preferred_batch_size: [4, 4]}",
            "does not ascend"},
           {"max_batch_size: 8\ndynamic_batching: {preferred_batch_size: [4, 9]}",
            "has 9, more than max_batch_size 8"},
           {"dynamic_batching:\n  priority_levels: 257\n  default_priority_level: 1",
            "config.yaml:2:20: key 'dynamic_batching.priority_levels': '257' is out of range"},
           {"max_batch_size: 8\ndynamic_batching: {priority_levels: 2}",
            "needs default_priority_level from 1 to 2"},
           {"max_batch_size: 8\ndynamic_batching: {priority_levels: 2, default_priority_level: 3}",
            "is 3, more than priority_levels 2"},
           {"max_batch_size: 8\ndynamic_batching: {priority_queue_policy: {1: {}}}",
            "priority_queue_policy.1': is more than priority_levels 0"},
           {"max_batch_size: 8\ndynamic_batching: {default_queue_policy: {timeout_action: reject}}",
            "write REJECT, DELAY"},
           {"sequence_batching: {}", "key 'sequence_batching.state': is missing"},
           {"sequence_batching: {state: []}", "has 0 entries"},
           {"max_batch_size: 8\ndynamic_batching: {}\nsequence_batching: {" + state + "}",
            "cannot go with dynamic_batching"},
           {"sequence_batching: {max_candidate_sequences: 1, oldest: {max_candidate_sequences: "
            "1}, " +
                state + "}",
            "stands under 'oldest' too"},
           {"sequence_batching: {state: [{input_name: h, output_name: a}, {input_name: h, "
            "output_name: b}]}",
            "entries 0 and 1 share an input or output"},
           {"sequence_batching: {state: [{input_name: '', output_name: a}]}", "an empty name"},
           {"sequence_batching: {direct: {}, " + state + "}", "key 'sequence_batching.direct'"},
           {"instance_group: [{}, {}]", "has 2 entries; write 0 to 1"},
           {"instance_group: [{kind: KIND_MODEL}]", "write KIND_AUTO, KIND_CPU, KIND_GPU"},
       }) {
    const auto config = ParseModelConfig(c.text, "fraud/config.yaml");
    ASSERT_FALSE(config.ok()) << c.text;
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(config.status().message(), HasSubstr(c.error)) << c.text;
    EXPECT_THAT(config.status().message(), testing::StartsWith("fraud/config.yaml:")) << c.text;
  }
}

TEST(ParseModelConfig, KeepsWhatIsSaidOfTensors) {
  const auto config = ParseModelConfig(R"(
default_model_filename: model.engine
input:
  - {name: x, data_type: TYPE_FP32, dims: [-1, 3]}
  - {name: h}
output: [{name: y, dims: []}]
sequence_batching:
  state: [{input_name: h, output_name: hn, data_type: TYPE_FP32, dims: [4]}]
)",
                                       "m/config.yaml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config->inputs.size(), 2u);
  EXPECT_EQ(config->inputs[0].place, "m/config.yaml:4:5: key 'input[0]'");
  EXPECT_EQ(config->inputs[0].name, "x");
  EXPECT_EQ(config->inputs[0].data_type, "TYPE_FP32");
  EXPECT_THAT(*config->inputs[0].dims, ElementsAre(-1, 3));
  EXPECT_EQ(config->inputs[1].data_type, "");
  EXPECT_FALSE(config->inputs[1].dims.has_value());
  EXPECT_TRUE(config->outputs.at(0).dims->empty());
  const DeclaredTensor& state = config->sequence_batching->state.at(0).declared;
  EXPECT_EQ(state.place, "m/config.yaml:8:11: key 'sequence_batching.state[0]'");
  EXPECT_EQ(state.name, "h");
  EXPECT_THAT(*state.dims, ElementsAre(4));
}

TEST(ParseSentModelConfig, TakesNumbersInQuotes) {
  const auto config = ParseSentModelConfig(
      R"({"name":"80","max_batch_size":8,"input":[{"name":"x","dims":["-1","3"]}],)"
      R"("dynamic_batching":{"max_queue_delay_microseconds":"100"}})",
      "80");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_THAT(*config->inputs.at(0).dims, ElementsAre(-1, 3));
  EXPECT_EQ(config->dynamic_batching->max_queue_delay_microseconds, 100u);
}

TEST(ParseSentModelConfig, IsForTheModelOfTheCall) {
  const auto config = ParseSentModelConfig(R"({"name": "other"})", "fraud");
  EXPECT_EQ(config.status().message(),
            "parameter 'config':1:10: key 'name': is 'other' but must be 'fraud'; correct it or "
            "leave it out");
}

TEST(ParseModelConfig, ReportsEveryProblem) {
  ConfigProblems problems("f");
  (void)ParseModelConfig(
      "dynamic_batching: {preferred_batch_size: [2, 1], priority_levels: 1}\nplatform: x", "f",
      &problems);
  EXPECT_EQ(problems.lines().size(), 4u);
}

class ReadModelConfigTest : public testing::Test {
 protected:
  ReadModelConfigTest() { std::filesystem::create_directories(folder_); }
  ~ReadModelConfigTest() override { std::filesystem::remove_all(folder_.parent_path()); }
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("config" + std::to_string(getpid())) / "fraud";
};

TEST_F(ReadModelConfigTest, ReadsAFileOrItsAbsence) {
  EXPECT_EQ(ReadModelConfig(folder_ / "config.yaml")->max_batch_size, 0);
  std::ofstream(folder_ / "config.yaml") << "name: fraud\nmax_batch_size: 8\n";
  const auto config = ReadModelConfig(folder_ / "config.yaml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->max_batch_size, 8);
}

TEST_F(ReadModelConfigTest, RefusesWhatIsNoFileOrTooLarge) {
  std::filesystem::create_directory(folder_ / "config.yaml");
  EXPECT_THAT(ReadModelConfig(folder_ / "config.yaml").status().message(),
              HasSubstr("no regular file"));
  EXPECT_THAT(ReadModelConfig("/dev/zero").status().message(), HasSubstr("no regular file"));
  std::ofstream(folder_ / "large.yaml") << std::string((1 << 20) + 1, '#');
  EXPECT_THAT(ReadModelConfig(folder_ / "large.yaml").status().message(),
              HasSubstr("larger than 1048576 bytes"));
}

}  // namespace
}  // namespace verdict
