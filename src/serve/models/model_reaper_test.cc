#include "serve/models/model_reaper.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "serve/small_engine_test.h"

namespace verdict {
namespace {

class ModelReaperTest : public testing::Test {
 protected:
  std::shared_ptr<const LoadedModel> Make() {
    ModelHost host;
    host.metrics = &metrics_;
    host.scheduler = scheduler_.get();
    host.free = [this](ModelReaper::Model model) { reaper_.Add(std::move(model)); };
    return LoadedModel::FromEngine("m", 1, engine_, {}, host).value();
  }
  Metrics metrics_{1};
  std::unique_ptr<Scheduler> scheduler_ = Scheduler::Start(1).value();
  std::atomic<int> wakes_{0};
  ModelReaper reaper_{[this] { ++wakes_; }};
  std::shared_ptr<const Engine> engine_ = SmallEngine(1);
};

TEST_F(ModelReaperTest, TheLastToLetGoDoesNotFree) {
  auto handle = Make();
  EXPECT_EQ(handle->name(), "m");
  auto copy = handle->shared_from_this();
  handle.reset();
  EXPECT_EQ(wakes_, 0) << "another still has it";
  const long held = engine_.use_count();
  std::thread([copy = std::move(copy)]() mutable { copy.reset(); }).join();
  EXPECT_EQ(wakes_, 1);
  EXPECT_EQ(engine_.use_count(), held) << "not freed there";
  EXPECT_EQ(reaper_.Take().size(), 1u);
  EXPECT_LT(engine_.use_count(), held) << "freed by who took it";
  EXPECT_TRUE(reaper_.Take().empty());
}

TEST_F(ModelReaperTest, AfterItsEndModelsAreFreedInPlace) {
  Make().reset();
  auto handle = Make();
  const long held = engine_.use_count();
  reaper_.Close();
  const long open = engine_.use_count();
  EXPECT_LT(open, held);
  handle.reset();
  EXPECT_LT(engine_.use_count(), open);
  EXPECT_EQ(wakes_, 1);
}

}  // namespace
}  // namespace verdict
