#include "serve/models/model_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;

class ModelStoreTest : public testing::Test {
 protected:
  std::shared_ptr<const LoadedModel> Loaded(int64_t version) {
    auto model =
        LoadedModel::FromEngine("m", version, SmallEngine(static_cast<float>(version)), {}, host_);
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return *model;
  }
  Metrics metrics_{2};
  std::unique_ptr<Scheduler> scheduler_ = Scheduler::Start(1).value();
  ModelHost host_{2, &metrics_, scheduler_.get(), {}};
};

TEST_F(ModelStoreTest, NoVersionMeansTheHighestThatIsLoaded) {
  ModelSet models;
  models.Put("m", {2, Loaded(2), ""});
  models.Put("m", {10, nullptr, "checksum"});
  models.Put("m", {1, Loaded(1), ""});
  EXPECT_EQ(models.Find("m", "").value()->version(), 2);
  EXPECT_EQ(models.Find("m", "1").value()->version(), 1);
  EXPECT_TRUE(models.AnyLoaded());
}

TEST_F(ModelStoreTest, EachKindOfMissHasItsCode) {
  ModelSet models;
  models.Put("m", {1, nullptr, "checksum of section 3 is wrong"});
  EXPECT_FALSE(models.AnyLoaded());
  EXPECT_EQ(models.Find("other", "").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(models.Find("m", "2").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(models.Find("m", "x").status().code(), StatusCode::kInvalidArgument);
  for (const char* version : {"", "1"}) {
    const Status status = models.Find("m", version).status();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_THAT(status.message(), HasSubstr(" is not served: checksum of section 3 is wrong"));
  }
}

TEST_F(ModelStoreTest, PutReplacesAVersion) {
  ModelSet models;
  models.Put("m", {1, nullptr, "loading"});
  models.Put("m", {1, Loaded(1), ""});
  ASSERT_EQ(models.models().at("m").size(), 1u);
  EXPECT_TRUE(models.Find("m", "1").ok());
}

TEST_F(ModelStoreTest, AnIdleWorkerThatIsToldLetsGo) {
  ModelStore store(2);
  auto first = std::make_shared<ModelSet>();
  first->Put("m", {1, Loaded(1), ""});
  const std::weak_ptr<const LoadedModel> old = first->models().at("m")[0].loaded;
  store.Replace(std::move(first));
  store.ForWorker(0);
  store.ForWorker(1);
  store.SetListener([&] {
    store.ForWorker(0);
    store.ForWorker(1);
  });
  store.Replace(std::make_shared<ModelSet>());
  EXPECT_TRUE(old.expired());
}

TEST_F(ModelStoreTest, WorkersSeeASwapAndKeepWhatTheyUse) {
  ModelStore store(2);
  EXPECT_TRUE(store.ForWorker(0).models().empty());
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&, worker] {
      int64_t last = 0;
      while (!stop.load()) {
        const auto found = store.ForWorker(worker).Find("m", "");
        const int64_t version = found.ok() ? found.value()->version() : 0;
        EXPECT_GE(version, last);
        last = version;
      }
      EXPECT_EQ(store.ForWorker(worker).Find("m", "").value()->version(), 20);
    });
  }
  for (int64_t version = 1; version <= 20; ++version) {
    auto models = std::make_shared<ModelSet>();
    models->Put("m", {version, Loaded(version), ""});
    store.Replace(std::move(models));
  }
  stop.store(true);
  for (auto& worker : workers) worker.join();
}

}  // namespace
}  // namespace verdict
