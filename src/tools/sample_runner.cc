#include "tools/sample_runner.h"

#include "plan/lower.h"
#include "runtime/session.h"

namespace verdict {
namespace {

class SessionRunner : public GraphRunner {
 public:
  explicit SessionRunner(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  Result<std::span<const TensorView>> Run(std::span<const TensorView> inputs) override {
    return session_->Run(inputs);
  }

 private:
  std::unique_ptr<Session> session_;
};

}  // namespace

Profile SampleProfile(Profile profile, const SampleAxes& axes, int64_t rows) {
  for (size_t i = 0; i < axes.inputs.size(); ++i) {
    InputRange& range = profile.inputs[i];
    range.min[axes.inputs[i]] = 1;
    range.opt[axes.inputs[i]] = range.max[axes.inputs[i]] = rows;
  }
  return profile;
}

Result<std::unique_ptr<GraphRunner>> MakeSampleRunner(Graph graph, const Profile& profile) {
  EngineContents contents;
  VERDICT_ASSIGN_OR_RETURN(contents.lowered, Lower(graph));
  contents.graph = std::move(graph);
  contents.profiles = {profile};
  // Without a plan: it is made there.
  VERDICT_ASSIGN_OR_RETURN(auto engine, Engine::FromContents(std::move(contents)));
  VERDICT_ASSIGN_OR_RETURN(auto session, Session::Create(std::move(engine)));
  return std::unique_ptr<GraphRunner>(std::make_unique<SessionRunner>(std::move(session)));
}

}  // namespace verdict
