#include "onnx/import.h"

#include <gtest/gtest.h>

namespace verdict {
namespace {

TEST(ImportOnnx, ImportsEveryGoldenModel) {
  const std::filesystem::path folder = std::filesystem::path(VERDICT_SOURCE_DIR) / "tests/golden";
  std::string failures;
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    ++models;
    const auto model = ImportOnnx(entry.path());
    if (!model.ok()) failures += "\n  " + model.status().ToString();
  }
  EXPECT_GT(models, 0) << "no models in " << folder;
  EXPECT_EQ(failures, "");
}

TEST(ImportOnnx, ImportsALargeLstmWithStaticShapes) {
  const std::filesystem::path path =
      std::filesystem::path(VERDICT_SOURCE_DIR) / "../shared/models/ibm_ccf_lstm_static.onnx";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not on this machine";
  const auto model = ImportOnnx(path);
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_EQ(model->graph.outputs.size(), 1U);
}

}  // namespace
}  // namespace verdict
