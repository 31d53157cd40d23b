#include "serve/endpoints/model_config.h"

#include <gtest/gtest.h>

#include "serve/small_engine_test.h"

namespace verdict {
namespace {

std::string ConfigOf(const ModelConfig& config,
                     const std::shared_ptr<const Engine>& engine = SmallEngine(1)) {
  Metrics metrics(2);
  const auto scheduler = Scheduler::Start(1).value();
  const ModelHost host{2, &metrics, scheduler.get(), {}};
  const auto model = LoadedModel::FromEngine("m", 3, engine, config, host);
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  std::string text;
  AppendModelConfig(&text, **model);
  return text;
}

constexpr char kBegin[] = R"({"name":"m","platform":"verdict_engine","backend":"verdict",)";

TEST(ModelConfigJson, DefaultsAreThoseInEffect) {
  EXPECT_EQ(ConfigOf({}), std::string(kBegin) +
                              R"("version_policy":{"all":{}},"max_batch_size":0,)"
                              R"("input":[{"name":"x","data_type":"TYPE_FP32","dims":[-1,3]},)"
                              R"({"name":"text","data_type":"TYPE_STRING","dims":[-1]}],)"
                              R"("output":[{"name":"y","data_type":"TYPE_FP32","dims":[-1,3]},)"
                              R"({"name":"echo","data_type":"TYPE_STRING","dims":[-1]}],)"
                              R"("instance_group":[{"kind":"KIND_CPU","count":0}]})");
}

TEST(ModelConfigJson, BatchingLeavesTheBatchOutOfTheDims) {
  ModelConfig config;
  config.max_batch_size = 64;
  config.version_policy = VersionPolicy{VersionPolicy::Kind::kSpecific, 1, {3, 5}};
  config.instance_count = 1;
  DynamicBatching batching;
  batching.preferred_batch_size = {8, 16};
  batching.max_queue_delay_microseconds = 100;
  batching.priority_levels = 2;
  batching.default_priority_level = 1;
  batching.priority_queue_policy[2].timeout_action = QueuePolicy::TimeoutAction::kDelay;
  batching.priority_queue_policy[2].max_queue_size = 7;
  config.dynamic_batching = batching;
  EXPECT_EQ(
      ConfigOf(config),
      std::string(kBegin) +
          R"("version_policy":{"specific":{"versions":[3,5]}},"max_batch_size":64,)"
          R"("input":[{"name":"x","data_type":"TYPE_FP32","dims":[3]},)"
          R"({"name":"text","data_type":"TYPE_STRING","dims":[]}],)"
          R"("output":[{"name":"y","data_type":"TYPE_FP32","dims":[3]},)"
          R"({"name":"echo","data_type":"TYPE_STRING","dims":[]}],)"
          R"("instance_group":[{"kind":"KIND_CPU","count":1}],)"
          R"("dynamic_batching":{"preferred_batch_size":[8,16],"max_queue_delay_microseconds":100,)"
          R"("preserve_ordering":false,"priority_levels":2,"default_priority_level":1,)"
          R"("default_queue_policy":{"timeout_action":"REJECT","default_timeout_microseconds":0,)"
          R"("allow_timeout_override":false,"max_queue_size":0},"priority_queue_policy":{)"
          R"("2":{"timeout_action":"DELAY","default_timeout_microseconds":0,)"
          R"("allow_timeout_override":false,"max_queue_size":7}}}})");
}

TEST(ModelConfigJson, SequencesNameTheirState) {
  ModelConfig config;
  config.version_policy = VersionPolicy{VersionPolicy::Kind::kLatest, 2, {}};
  config.sequence_batching = SequenceBatching{5'000'000, 100, {{"x", "y"}}};
  const std::string text = ConfigOf(config);
  EXPECT_NE(text.find(R"("version_policy":{"latest":{"num_versions":2}})"), std::string::npos);
  EXPECT_NE(text.find(R"("sequence_batching":{"max_sequence_idle_microseconds":5000000,)"
                      R"("oldest":{"max_candidate_sequences":100},)"
                      R"("state":[{"input_name":"x","output_name":"y",)"
                      R"("data_type":"TYPE_FP32","dims":[-1,3]}]})"),
            std::string::npos)
      << text;
}

TEST(ModelConfigJson, IsTheSameAfterItWasSentBack) {
  ModelConfig batched;
  batched.max_batch_size = 64;
  batched.version_policy = VersionPolicy{VersionPolicy::Kind::kLatest, 2, {}};
  batched.instance_count = 3;
  DynamicBatching& batching = batched.dynamic_batching.emplace();
  batching.preferred_batch_size = {8, 16};
  batching.priority_levels = 2;
  batching.default_priority_level = 1;
  batching.priority_queue_policy[2].max_queue_size = 7;
  ModelConfig sequences;
  sequences.sequence_batching = SequenceBatching{5'000'000, 100, {{"x", "y"}}};
  for (const ModelConfig& config : {ModelConfig{}, batched, sequences}) {
    const std::string text = ConfigOf(config);
    const auto again = ParseSentModelConfig(text, "m");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(again->inputs.size(), 2u);
    EXPECT_EQ(again->outputs.size(), 2u);
    EXPECT_EQ(again->instance_count, config.instance_count);
    EXPECT_EQ(ConfigOf(*again), text);
  }
}

}  // namespace
}  // namespace verdict
