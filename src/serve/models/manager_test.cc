#include "serve/models/manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Mode = RepositoryOptions::Mode;

constexpr char kLatest[] = "version_policy: {latest: {num_versions: 1}}\n";

class ModelManagerTest : public testing::Test {
 protected:
  ModelManagerTest() {
    std::string pattern = testing::TempDir() + "/manager_test.XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::create_directories(root());
    options_.mode = Mode::kPoll;
    options_.poll_interval = 3ms;
  }
  ~ModelManagerTest() override {
    manager_.reset();
    fs::remove_all(folder_);
  }
  fs::path root() const { return folder_ / "repository"; }

  /// Puts a whole engine there, by renaming it, as a deployment does.
  void Put(const std::string& model, int version, float step) {
    const fs::path folder = root() / model / std::to_string(version);
    fs::create_directories(folder);
    ASSERT_TRUE(WriteEngineFile(folder / "model.engine", SmallEngine(step)->contents()).ok());
  }
  /// Puts it under the folder's name only when all is there.
  void PutVersionWhole(const std::string& model, int version, float step) {
    const fs::path staged = folder_ / "staged";
    fs::create_directories(staged);
    ASSERT_TRUE(WriteEngineFile(staged / "model.engine", SmallEngine(step)->contents()).ok());
    fs::create_directories(root() / model);
    fs::rename(staged, root() / model / std::to_string(version));
  }
  void Break(const std::string& model, int version) {
    const fs::path folder = root() / model / std::to_string(version);
    fs::create_directories(folder);
    std::ofstream(folder / "new") << "not an engine";
    fs::rename(folder / "new", folder / "model.engine");
  }
  void Configure(const std::string& model, const std::string& text) {
    fs::create_directories(root() / model);
    std::ofstream(root() / model / "new") << text;
    fs::rename(root() / model / "new", root() / model / "config.yaml");
  }

  void Start() {
    auto manager = ModelManager::Create(root(), options_, host_, &store_,
                                        [this](bool ready) { ready_.store(ready); });
    ASSERT_TRUE(manager.ok()) << manager.status().ToString();
    manager_ = *std::move(manager);
    ASSERT_TRUE(manager_->Start().ok());
    manager_->WaitUntilSettled();
  }

  /// What the model adds to 0: its engine's step; 0 if it is not served.
  float Step(const std::string& model, const std::string& version = "") {
    const auto set = store_.Current();
    const auto found = set->Find(model, version);
    if (!found.ok()) return 0;
    auto session = Session::Create(std::shared_ptr<const Engine>(set, &(*found)->engine())).value();
    float zeros[3] = {};
    std::string_view text = "t";
    const TensorView inputs[] = {{DataType::kFloat32, {1, 3}, zeros},
                                 {DataType::kString, {1}, &text}};
    return session->Run(inputs).value()[0].as<const float>()[0];
  }
  std::string WhyNot(const std::string& model, const std::string& version = "") {
    return store_.Current()->Find(model, version).status().message();
  }
  const ModelVersion* Entry(const std::string& model, int version) {
    set_ = store_.Current();
    const auto it = set_->models().find(model);
    if (it == set_->models().end()) return nullptr;
    for (const ModelVersion& entry : it->second) {
      if (entry.version == version) return &entry;
    }
    return nullptr;
  }
  template <typename Condition>
  static bool Soon(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  Status Load(const std::string& model, std::optional<std::string> config = {}) {
    std::promise<Status> done;
    manager_->Load(model, std::move(config), [&](const Status& status) { done.set_value(status); });
    return done.get_future().get();
  }
  Status Unload(const std::string& model) {
    std::promise<Status> done;
    manager_->Unload(model, [&](const Status& status) { done.set_value(status); });
    return done.get_future().get();
  }
  /// verdict_model_loads_total of model "m".
  std::string Loads(const std::string& result) {
    const std::string text = metrics_.Text({.ready = true});
    const std::string name = "verdict_model_loads_total{model=\"m\",result=\"" + result + "\"} ";
    const size_t at = text.find(name);
    if (at == std::string::npos) return "none";
    return text.substr(at + name.size(), text.find('\n', at) - at - name.size());
  }

  fs::path folder_;
  RepositoryOptions options_;
  Metrics metrics_{2};
  std::unique_ptr<Scheduler> scheduler_ = Scheduler::Start(1).value();
  ModelHost host_{2, &metrics_, scheduler_.get(), {}};
  ModelStore store_{2};
  std::atomic<bool> ready_{false};
  std::shared_ptr<const ModelSet> set_;
  std::unique_ptr<ModelManager> manager_;
};

TEST_F(ModelManagerTest, AtTheStartEveryVersionIsLoaded) {
  options_.mode = Mode::kStartup;
  Put("m", 1, 1);
  Put("m", 2, 2);
  Break("m", 3);
  Start();
  EXPECT_EQ(Step("m", "1"), 1);
  EXPECT_EQ(Step("m", "2"), 2);
  EXPECT_THAT(WhyNot("m", "3"), HasSubstr("not an engine file"));
  EXPECT_EQ(Step("m"), 2) << "the highest that serves";
  EXPECT_TRUE(ready_);
  EXPECT_EQ(Loads("success"), "2");
  EXPECT_EQ(Loads("failure"), "1");
  Put("m", 4, 4);
  manager_->Rescan();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(Entry("m", 4), nullptr) << "nothing is followed in this mode";
}

TEST_F(ModelManagerTest, ItIsToldWhatIsStillBeingLoaded) {
  Put("m", 1, 1);
  auto manager = ModelManager::Create(root(), options_, host_, &store_, [](bool) {});
  ASSERT_TRUE(manager.ok());
  EXPECT_THAT(WhyNot("m"), HasSubstr("still being loaded"));
  EXPECT_EQ(Entry("m", 1)->state(), ModelState::kLoading);
  EXPECT_FALSE((*manager)->settled());
}

TEST_F(ModelManagerTest, ANewVersionTakesOverWhenItIsReady) {
  Configure("m", kLatest);
  Put("m", 1, 1);
  Start();
  std::atomic<bool> stop{false};
  std::thread user([&] {
    while (!stop) {
      const float step = Step("m");
      EXPECT_TRUE(step == 1 || step == 2) << "never without a version: " << step;
    }
  });
  PutVersionWhole("m", 2, 2);
  EXPECT_TRUE(Soon([&] { return Step("m") == 2; }));
  EXPECT_TRUE(Soon([&] { return Entry("m", 1) == nullptr; })) << "the policy asks for one";
  stop = true;
  user.join();
  EXPECT_THAT(metrics_.Text({.ready = true}), Not(HasSubstr("version=\"1\"")))
      << "its labels are retired";
}

TEST_F(ModelManagerTest, ASequenceEndsWithTheVersionThatBeganIt) {
  const auto put = [&](int version) {
    fs::create_directories(folder_ / "staged");
    const fs::path file = folder_ / "staged" / "model.engine";
    ASSERT_TRUE(WriteEngineFile(file, SummingEngine()->contents()).ok());
    fs::rename(folder_ / "staged", root() / "m" / std::to_string(version));
  };
  const auto step = [](float x, bool start) {
    auto job = std::make_shared<RecordedJob>(std::vector<float>{x, x}, Shape{1, 2});
    job->AddInput({});
    job->sequence = "a";
    job->sequence_start = start;
    return job;
  };
  Configure("m", std::string(kLatest) +
                     "sequence_batching: {state: [{input_name: state, output_name: next}]}\n");
  put(1);
  Start();
  auto queue = store_.Current()->Find("m", "").value()->queue();
  Turnstile gate;
  const auto running = step(1, true), waiting = step(2, false);
  running->before_finish = [&] { gate.Enter(); };
  ASSERT_TRUE(scheduler_->Submit(queue, running).ok());
  gate.AwaitEntered();
  ASSERT_TRUE(scheduler_->Submit(queue, waiting).ok());
  put(2);
  ASSERT_TRUE(
      Soon([&] { return store_.Current()->Find("m", "1").status().code() != StatusCode::kOk; }));
  const auto swapped = store_.Current()->Find("m", "").value()->queue();
  ASSERT_NE(swapped, queue);
  queue.reset();
  EXPECT_THAT(scheduler_->Submit(swapped, step(3, false)).message(),
              HasSubstr("must specify the START flag"));
  gate.Open();
  EXPECT_TRUE(running->Wait().ok());
  ASSERT_TRUE(waiting->Wait().ok()) << "the old version answers what it has";
  EXPECT_EQ(waiting->output(1)[0], 3);
  const auto anew = step(4, true);
  ASSERT_TRUE(scheduler_->Submit(swapped, anew).ok());
  ASSERT_TRUE(anew->Wait().ok());
  EXPECT_EQ(anew->output(1)[0], 4);
}

TEST_F(ModelManagerTest, AVersionThatFailsLeavesTheOldOneServing) {
  Configure("m", kLatest);
  Put("m", 1, 1);
  Start();
  Break("m", 2);
  ASSERT_TRUE(Soon([&] { return Entry("m", 2) && Entry("m", 2)->reason.find("not an") != -1UL; }));
  EXPECT_EQ(Entry("m", 2)->state(), ModelState::kUnavailable);
  EXPECT_EQ(Step("m"), 1);
  std::this_thread::sleep_for(30ms);  // ten polls
  EXPECT_EQ(Step("m"), 1);
  EXPECT_EQ(Loads("failure"), "1") << "not tried again while its file is the same";
  EXPECT_TRUE(ready_);
  Put("m", 2, 2);
  EXPECT_TRUE(Soon([&] { return Step("m") == 2; })) << "another file is another chance";
}

TEST_F(ModelManagerTest, AChangedFileIsLoadedAgainAndABrokenOneChangesNothing) {
  Put("m", 1, 1);
  Start();
  Put("m", 1, 5);
  ASSERT_TRUE(Soon([&] { return Step("m") == 5; }));
  // In place, as no deployment should.
  std::ofstream(root() / "m/1/model.engine") << "overwritten";
  // It may have been seen while it was still empty.
  ASSERT_TRUE(
      Soon([&] { return Entry("m", 1)->reason.find("not an engine file") != std::string::npos; }));
  EXPECT_EQ(Entry("m", 1)->state(), ModelState::kReady);
  EXPECT_EQ(Step("m"), 5);
  EXPECT_THAT(metrics_.Text({.ready = true}),
              HasSubstr("verdict_model_ready{model=\"m\",version=\"1\"} 1\n"));
  Put("m", 1, 6);
  EXPECT_TRUE(Soon([&] { return Step("m") == 6 && Entry("m", 1)->reason.empty(); }));
}

TEST_F(ModelManagerTest, WhatIsRemovedIsUnloadedOnceNothingUsesIt) {
  Put("m", 1, 1);
  Put("other", 1, 3);
  Start();
  auto used = Entry("m", 1)->loaded;
  const std::weak_ptr<const LoadedModel> watched = used;
  set_.reset();
  fs::remove_all(root() / "m");
  ASSERT_TRUE(Soon([&] { return Step("m") == 0; }));
  ASSERT_TRUE(Soon([&] { return Entry("m", 1)->state() == ModelState::kUnloading; }));
  EXPECT_FALSE(watched.expired()) << "a request still has it";
  used.reset();
  EXPECT_TRUE(Soon([&] { return store_.Current()->models().count("m") == 0; }));
  EXPECT_THAT(metrics_.Text({.ready = true}), Not(HasSubstr("model=\"m\"")));
  EXPECT_EQ(Step("other"), 3);
}

TEST_F(ModelManagerTest, ConfigurationErrorsNameTheLineAndLeaveTheModelServing) {
  Configure("m", "max_batch_size: many\n");
  Put("m", 1, 1);
  Start();
  EXPECT_THAT(WhyNot("m"), HasSubstr("config.yaml:1"));
  EXPECT_FALSE(ready_);
  Configure("m", kLatest);
  ASSERT_TRUE(Soon([&] { return Step("m") == 1; }));
  Configure("m", "version_polcy: {}\n");
  ASSERT_TRUE(Soon([&] { return !Entry("m", 1)->reason.empty(); }));
  EXPECT_THAT(Entry("m", 1)->reason, HasSubstr("version_polcy"));
  EXPECT_EQ(Step("m"), 1);
}

TEST_F(ModelManagerTest, WhatFailsItsGoldenVectorsIsNeverServed) {
  Configure("m", kLatest);
  Put("m", 1, 1);
  EngineContents contents = SmallEngine(2)->contents();
  ASSERT_FALSE(contents.golden.empty());
  Constant& y = contents.golden[0].outputs[0];
  const auto right = y.view().as<const float>();
  std::vector<float> wrong(right.begin(), right.end());
  wrong.front() += 1;
  y = Constant::Of<float>(y.shape, std::span<const float>(wrong));
  fs::create_directories(root() / "m/2");
  ASSERT_TRUE(WriteEngineFile(root() / "m/2/model.engine", contents).ok());
  Start();
  EXPECT_EQ(Step("m", "2"), 0);
  EXPECT_THAT(WhyNot("m", "2"), HasSubstr("golden vector: output 'y' differs"));
  EXPECT_FALSE(ready_);
}

TEST_F(ModelManagerTest, ReadinessMayAskForAllModels) {
  for (const bool strict : {false, true}) {
    options_.strict_readiness = strict;
    Put("m", 1, 1);
    Break("broken", 1);
    Start();
    EXPECT_EQ(ready_, !strict);
    Put("broken", 1, 1);
    EXPECT_TRUE(Soon([&] { return ready_.load(); }));
    manager_.reset();
  }
}

TEST_F(ModelManagerTest, AnUnreadableRepositoryChangesNothing) {
  Put("m", 1, 1);
  Start();
  fs::rename(root(), folder_ / "elsewhere");
  std::this_thread::sleep_for(30ms);
  EXPECT_EQ(Step("m"), 1);
  fs::rename(folder_ / "elsewhere", root());
}

TEST_F(ModelManagerTest, CallsAreRefusedWhereTheRepositoryDecides) {
  for (const Mode mode : {Mode::kPoll, Mode::kStartup}) {
    options_.mode = mode;
    Put("m", 1, 1);
    Start();
    EXPECT_EQ(Load("m").code(), StatusCode::kUnavailable);
    EXPECT_EQ(Unload("m").code(), StatusCode::kUnavailable);
    EXPECT_THAT(Load("m").message(), HasSubstr("explicit model load / unload is not allowed"));
    EXPECT_EQ(Step("m"), 1);
    manager_.reset();
  }
}

class ExplicitModelManagerTest : public ModelManagerTest {
 protected:
  ExplicitModelManagerTest() { options_.mode = Mode::kExplicit; }
};

TEST_F(ExplicitModelManagerTest, NothingIsLoadedButWhatIsNamed) {
  options_.load = {"m", "missing"};
  Put("m", 1, 1);
  Put("other", 1, 3);
  Start();
  EXPECT_EQ(Step("m"), 1);
  EXPECT_EQ(Step("other"), 0);
  EXPECT_THAT(WhyNot("other"), HasSubstr("not loaded"));
  EXPECT_EQ(Entry("other", 1)->state(), ModelState::kUnavailable);
  EXPECT_TRUE(ready_);
}

TEST_F(ExplicitModelManagerTest, CallsLoadAndUnload) {
  Put("m", 1, 1);
  Start();
  EXPECT_FALSE(ready_) << "no model, no traffic";
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Step("m"), 1) << "when the call is answered, it serves";
  EXPECT_TRUE(ready_);
  const auto* const loaded = Entry("m", 1)->loaded.get();
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Entry("m", 1)->loaded.get(), loaded) << "nothing has changed";
  Put("m", 2, 2);
  Put("m", 1, 5);
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Step("m", "1"), 5);
  EXPECT_EQ(Step("m", "2"), 2);
  set_.reset();
  EXPECT_TRUE(Unload("m").ok());
  EXPECT_EQ(Step("m"), 0);
  EXPECT_FALSE(ready_);
  EXPECT_TRUE(Soon([&] { return Entry("m", 1)->state() == ModelState::kUnavailable; }));
  EXPECT_TRUE(Unload("m").ok()) << "again";
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Step("m"), 2);
}

TEST_F(ExplicitModelManagerTest, CallsThatCannotBeDoneSayWhy) {
  Put("m", 1, 1);
  Break("m", 2);
  Start();
  EXPECT_EQ(Load("none").code(), StatusCode::kNotFound);
  EXPECT_EQ(Load("../m").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Unload("none").code(), StatusCode::kNotFound);
  const Status half = Load("m");
  EXPECT_EQ(half.code(), StatusCode::kUnavailable);
  EXPECT_THAT(half.message(), HasSubstr("version 2: "));
  EXPECT_THAT(half.message(), HasSubstr("not an engine file"));
  EXPECT_EQ(Step("m"), 1) << "what could be loaded serves";
  EXPECT_EQ(Load("m").code(), StatusCode::kUnavailable);
  EXPECT_EQ(Loads("failure"), "2") << "a call is a reason to try again";
  fs::remove_all(root() / "m/2");
  EXPECT_TRUE(Load("m").ok());
}

TEST_F(ExplicitModelManagerTest, ACallMayBringAConfiguration) {
  Put("m", 1, 1);
  Put("m", 2, 2);
  Start();
  EXPECT_TRUE(Load("m", R"({"version_policy": {"specific": {"versions": [1]}}})").ok());
  EXPECT_EQ(Step("m"), 1);
  EXPECT_EQ(Entry("m", 2), nullptr);
  const Status bad = Load("m", R"({"max_batch_size": "x"})");
  EXPECT_EQ(bad.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(bad.message(), HasSubstr("max_batch_size"));
  EXPECT_EQ(Step("m"), 1) << "as before";
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Step("m"), 2) << "the model's own again: all versions";
  EXPECT_EQ(Load("m", R"({"version_policy": {"specific": {"versions": [9]}}})").code(),
            StatusCode::kNotFound);
}

TEST_F(ExplicitModelManagerTest, WhoWaitsIsAnsweredWhenTheServerStops) {
  Put("m", 1, 1);
  auto manager = ModelManager::Create(root(), options_, host_, &store_, [](bool) {});
  ASSERT_TRUE(manager.ok());
  std::promise<Status> waiting, late;
  (*manager)->Load("m", {}, [&](const Status& status) { waiting.set_value(status); });
  (*manager)->Stop();
  EXPECT_EQ(waiting.get_future().get().code(), StatusCode::kUnavailable);
  (*manager)->Load("m", {}, [&](const Status& status) { late.set_value(status); });
  EXPECT_EQ(late.get_future().get().code(), StatusCode::kUnavailable);
  EXPECT_TRUE((*manager)->settled());
}

TEST_F(ExplicitModelManagerTest, CallsFromManyThreadsAreAllAnswered) {
  Put("m", 1, 1);
  Put("n", 1, 2);
  options_.load_threads = 3;
  Start();
  std::vector<std::thread> callers;
  std::atomic<int> answers{0};
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      const std::string model = caller % 2 == 0 ? "m" : "n";
      for (int i = 0; i < 20; ++i) {
        const Status status = (i + caller) % 3 == 0 ? Unload(model) : Load(model);
        // A load may be overtaken by another caller's unload.
        EXPECT_TRUE(status.ok() || status.code() == StatusCode::kUnavailable) << status.ToString();
        ++answers;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answers, 120);
  EXPECT_TRUE(Load("m").ok());
  EXPECT_TRUE(Load("n").ok());
  EXPECT_EQ(Step("m"), 1);
  EXPECT_EQ(Step("n"), 2);
}

TEST_F(ModelManagerTest, NothingPilesUpOverReloads) {
  Configure("m", kLatest);
  Put("m", 1, 1);
  Start();
  size_t bytes = 0;
  for (int version = 2; version <= 100; ++version) {
    PutVersionWhole("m", version, static_cast<float>(version));
    ASSERT_TRUE(Soon([&] { return Step("m") == static_cast<float>(version); }));
    fs::remove_all(root() / "m" / std::to_string(version - 1));
    ASSERT_TRUE(Soon([&] { return store_.Current()->models().at("m").size() == 1; }));
    if (version == 10) bytes = metrics_.Text({.ready = true}).size();
  }
  EXPECT_LT(metrics_.Text({.ready = true}).size(), bytes + 2000);
}

}  // namespace
}  // namespace verdict
