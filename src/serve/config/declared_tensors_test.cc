#include "serve/config/declared_tensors.h"

#include <gtest/gtest.h>

#include "serve/small_engine_test.h"

namespace verdict {
namespace {

Status Check(const std::string& text) {
  const auto config = ParseModelConfig(text, "m/config.yaml");
  EXPECT_TRUE(config.ok()) << config.status().message();
  return CheckDeclaredTensors(*config, *SmallEngine(1));
}

TEST(CheckDeclaredTensors, TakesWhatTheEngineSays) {
  for (const char* text :
       {"", "input: [{name: x}]", "input: [{name: text, data_type: TYPE_STRING}, {name: x}]",
        "input: [{name: x, data_type: TYPE_FP32, dims: [-1, 3]}]",
        "max_batch_size: 8\ninput: [{name: x, dims: [3]}, {name: text, dims: []}]",
        "output: [{name: y, data_type: TYPE_FP32, dims: [-1, 3]}]",
        "sequence_batching: {state: [{input_name: x, output_name: y, dims: [-1, 3]}]}",
        "sequence_batching: {state: [{input_name: other, output_name: y}]}"}) {
    EXPECT_TRUE(Check(text).ok()) << text;
  }
}

TEST(CheckDeclaredTensors, RefusesAnythingElse) {
  const std::string end = "; correct it or leave it out: the engine file says this";
  for (const auto& [text, error] : std::vector<std::pair<std::string, std::string>>{
           {"input: [{name: z}]",
            "m/config.yaml:1:9: key 'input[0]': the engine has no input 'z', but x, text"},
           {"output: [{name: x}]",
            "m/config.yaml:1:10: key 'output[0]': the engine has no output 'x', but y, echo"},
           {"input: [{name: text}, {name: x, data_type: TYPE_FP64}]",
            "m/config.yaml:1:23: key 'input[1]': data_type of 'x' is TYPE_FP64, but the engine's "
            "is TYPE_FP32"},
           {"input: [{name: x, dims: [3]}]",
            "m/config.yaml:1:9: key 'input[0]': dims of 'x' are [3], but the engine's are [-1,3]"},
           {"max_batch_size: 8\noutput: [{name: y, dims: [-1, 3]}]",
            "m/config.yaml:2:10: key 'output[0]': dims of 'y' are [-1,3], but the engine's are [3] "
            "without the batch"},
           {"sequence_batching: {state: [{input_name: x, output_name: y, data_type: TYPE_INT8}]}",
            "m/config.yaml:1:29: key 'sequence_batching.state[0]': data_type of 'x' is TYPE_INT8, "
            "but the engine's is TYPE_FP32"}}) {
    const Status status = Check(text);
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(status.message(), error + end);
  }
}

}  // namespace
}  // namespace verdict
