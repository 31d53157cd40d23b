#include "tools/device_build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "backends/device/fake_device.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "tools/device_samples.h"

namespace verdict {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// As many rows as asked for, numbered.
class NumberedRows : public SampleSource {
 public:
  explicit NumberedRows(int64_t rows) : rows_(rows) {}
  Status Rewind() override {
    next_ = 0;
    return OkStatus();
  }
  Result<Samples> Next(int64_t max_rows) override {
    Samples samples;
    samples.rows = std::min(max_rows, rows_ - next_);
    if (samples.rows == 0) return samples;
    std::vector<float> values;
    for (int64_t i = 0; i < samples.rows; ++i) values.insert(values.end(), 2, next_++);
    samples.inputs = {Constant::Of<float>({samples.rows, 2}, values)};
    return samples;
  }
  bool has_labels() const override { return false; }

 private:
  const int64_t rows_;
  int64_t next_ = 0;
};

Profile ProfileOf(int64_t opt) { return {{{"x", {1, 2}, {opt, 2}, {128, 2}}}}; }

TEST(CalibrationBatches, AreWholeAndOfTheOptShapes) {
  const SampleAxes axes = {{0}, {0}};
  NumberedRows ten(10);
  const auto batches = CalibrationBatches(ProfileOf(4), axes, ten);
  ASSERT_TRUE(batches.ok()) << batches.status().ToString();
  ASSERT_EQ(batches->size(), 2u);  // two rows are left over
  EXPECT_EQ((*batches)[1][0].shape, (Shape{4, 2}));
  EXPECT_EQ((*batches)[1][0].view().as<const float>()[0], 4);
}

TEST(CalibrationBatches, RepeatRowsWhereThereAreFew) {
  const SampleAxes axes = {{0}, {0}};
  NumberedRows three(3);
  const auto batches = CalibrationBatches(ProfileOf(5), axes, three).value();
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_THAT(batches[0][0].view().as<const float>(), ElementsAre(0, 0, 1, 1, 2, 2, 0, 0, 1, 1));
  NumberedRows none(0);
  EXPECT_FALSE(CalibrationBatches(ProfileOf(5), axes, none).ok());
}

TEST(CalibrationBatches, RefusesSamplesOfOtherShapes) {
  NumberedRows rows(8);
  const Profile profile = {{{"x", {1, 3}, {4, 3}, {8, 3}}}};
  const auto batches = CalibrationBatches(profile, {{0}, {0}}, rows);
  EXPECT_THAT(batches.status().message(), HasSubstr("[4,3] where the samples have [4,2]"));
}

class DeviceBuildTest : public ::testing::Test {
 protected:
  DeviceBuildTest() {
    model_.graph = ParseGraph(R"(graph "g" {
        input %x: f32[N,2]
        const %w: f32[2,2] = [1, 0.5, -0.5, 2]
        const %v: f32[2,1] = [1, -1]
        %a = MatMul(%x, %w)
        %b = Tanh(%a)
        %c = MatMul(%b, %v)
        %score = Sigmoid(%c)
        output %score
      })")
                       .value();
    VERDICT_CHECK(InferShapes(model_.graph).ok());
    std::ofstream(path_) << "a model";  // its digest is in the metadata
    compile_.backend = "reference";
  }
  ~DeviceBuildTest() override { std::filesystem::remove(path_); }

  Result<DeviceBuild> Build() {
    return BuildForDevice(model_, path_, compile_, MakeFakeDevice(fake_), request_);
  }

  const std::filesystem::path path_ = std::filesystem::path(testing::TempDir()) /
                                      ("device_build_test." + std::to_string(::getpid()));
  ImportedModel model_;
  CompileOptions compile_;
  FakeDeviceOptions fake_;
  DeviceBuildRequest request_;
};

TEST_F(DeviceBuildTest, PlansForCpuAndDevice) {
  request_.rows_independent = [](const EngineContents&) { return true; };
  const auto build = Build();
  ASSERT_TRUE(build.ok()) << build.status().ToString();
  EXPECT_EQ(build->refusal, "");
  EXPECT_EQ(build->precision, "float32 with TF32");
  EXPECT_EQ(build->layers.substr(0, 10), R"({"Layers":)");
  ASSERT_EQ(build->compiled.contents.device_plans.size(), 1u);
  EXPECT_TRUE(build->compiled.contents.device_plans[0].rows_independent);
  EXPECT_FALSE(build->compiled.contents.plan.steps.empty());
}

TEST_F(DeviceBuildTest, WidensThePrecisionUntilGoldenVectorsPass) {
  request_.precision.allowed = {Precision::kBFloat16};
  fake_.half_error = 5;
  auto build = Build();
  ASSERT_TRUE(build.ok()) << build.status().ToString();
  EXPECT_EQ(build->precision, "float32 with TF32");
  EXPECT_THAT(build->notes, testing::Contains(HasSubstr("float32 with TF32 is built instead")));
  fake_.float32_error = 5;
  build = Build();
  ASSERT_TRUE(build.ok());
  EXPECT_THAT(build->refusal, HasSubstr("is off by"));
}

TEST_F(DeviceBuildTest, ReportsOptionsThatTheDeviceRefuses) {
  request_.build.memory_pools.emplace("dlaSRAM", 1);
  EXPECT_EQ(Build().status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace verdict
