#include "serve/models/model_reaper.h"

#include <gtest/gtest.h>

#include <thread>

#include "serve/small_engine_test.h"

namespace verdict {
namespace {

class ModelReaperTest : public testing::Test {
 protected:
  ModelReaper::Model Make() {
    auto model = LoadedModel::FromEngine("m", 1, SmallEngine(1), &metrics_).value();
    bare_ = model;
    return reaper_->Watch(std::move(model));
  }
  Metrics metrics_{1};
  std::atomic<int> wakes_{0};
  std::shared_ptr<ModelReaper> reaper_ = ModelReaper::Create([this] { ++wakes_; });
  std::weak_ptr<const LoadedModel> bare_;
};

TEST_F(ModelReaperTest, TheLastToLetGoDoesNotFree) {
  auto handle = Make();
  EXPECT_EQ(handle->name(), "m");
  auto copy = handle;
  handle.reset();
  EXPECT_EQ(wakes_, 0) << "another still has it";
  std::thread([copy = std::move(copy)]() mutable { copy.reset(); }).join();
  EXPECT_EQ(wakes_, 1);
  EXPECT_FALSE(bare_.expired());
  EXPECT_EQ(reaper_->Take().size(), 1u);
  EXPECT_TRUE(bare_.expired()) << "freed by who took it";
  EXPECT_TRUE(reaper_->Take().empty());
}

TEST_F(ModelReaperTest, AfterItsEndModelsAreFreedInPlace) {
  auto dead = Make();
  const auto first = bare_;
  auto handle = Make();
  dead.reset();
  EXPECT_FALSE(first.expired());
  reaper_->Close();
  EXPECT_TRUE(first.expired());
  handle.reset();
  EXPECT_TRUE(bare_.expired());
  EXPECT_EQ(wakes_, 1);
}

}  // namespace
}  // namespace verdict
