// Plans for devices in engine files: what is kept, shown, ignored and refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/device_parts.h"
#include "engine/dump.h"
#include "engine/engine_test.h"

namespace verdict {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> FileWithPlan() {
  EngineContents contents = MakeTestContents();
  contents.device_plans = {MakeTestDevicePlan()};
  return SerializeEngine(contents).value();
}

TEST(DevicePlan, ComesBackAsItWas) {
  const auto file = FileWithPlan();  // which what is read points into
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  ASSERT_EQ(read->device_plans.size(), 1u);
  const DevicePlan& plan = read->device_plans[0];
  const DevicePlan expected = MakeTestDevicePlan();
  EXPECT_EQ(plan.backend, "fake");
  EXPECT_EQ(plan.fingerprint, "fake 1.0");
  EXPECT_EQ(plan.device, expected.device);
  EXPECT_EQ(plan.options, expected.options);
  EXPECT_TRUE(plan.rows_independent);
  EXPECT_EQ(plan.tolerance, 1e-3F);
  ASSERT_EQ(plan.parts.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plan.parts[i].part.on_device, expected.parts[i].part.on_device);
    EXPECT_EQ(plan.parts[i].part.nodes, expected.parts[i].part.nodes);
    EXPECT_TRUE(std::ranges::equal(plan.parts[i].program, expected.parts[i].program));
    EXPECT_EQ(plan.parts[i].digest, expected.parts[i].digest);
  }
}

TEST(DevicePlan, IsOptionalAndItsProgramsAreMapped) {
  const auto file = FileWithPlan();
  const Container container = ReadContainer(file).value();
  EXPECT_FALSE(container.Find(kDeviceSection)->required);
  EXPECT_FALSE(container.Find(kProgramsSection)->required);
  EXPECT_EQ(container.Find(kProgramsSection)->alignment, 4096u);
  EXPECT_EQ(container.Find(kProgramsSection)->offset % 4096, 0u);
  EXPECT_EQ(container.minor, 1);
  // Without a plan there are neither.
  const auto plain = SerializeEngine(MakeTestContents()).value();
  EXPECT_EQ(ReadContainer(plain)->Find(kDeviceSection), nullptr);
  EXPECT_EQ(ReadContainer(plain)->Find(kProgramsSection), nullptr);
}

TEST(DevicePlan, OfAnUnknownBackendIsKept) {
  const auto file = PatchSection<proto::DevicePlans>(
      FileWithPlan(), kDeviceSection,
      [](proto::DevicePlans& p) { p.mutable_plans(0)->set_backend("npu_2"); });
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->device_plans[0].backend, "npu_2");
}

TEST(DevicePlan, ThatMakesNoSenseIsRefused) {
  using P = proto::DevicePlans;
  const auto plan = [](P& p) { return p.mutable_plans(0); };
  const auto part = [](P& p, int i) { return p.mutable_plans(0)->mutable_parts(i); };
  const auto add_node = [&](P& p, int i, int32_t node) { part(p, i)->add_nodes(node); };
  const struct {
    const char* name;
    std::function<void(P&)> change;
    const char* message;
  } cases[] = {
      {"no backend", [&](P& p) { plan(p)->clear_backend(); }, "its backend has no name"},
      {"backend as a path", [&](P& p) { plan(p)->set_backend("../x"); }, "its backend has no name"},
      {"backend too long", [&](P& p) { plan(p)->set_backend(std::string(33, 'a')); },
       "its backend has no name"},
      {"tolerance too small", [&](P& p) { plan(p)->set_tolerance(0); }, "its tolerance"},
      {"tolerance too large", [&](P& p) { plan(p)->set_tolerance(0.2F); }, "its tolerance"},
      {"tolerance NaN", [&](P& p) { plan(p)->set_tolerance(NAN); }, "its tolerance"},
      {"option twice", [&](P& p) { plan(p)->add_options()->set_key("fp16"); },
       "option 'fp16' is there twice"},
      {"node twice", [&](P& p) { add_node(p, 2, 4); }, "node 4 is listed twice"},
      {"node twice in a part", [&](P& p) { add_node(p, 2, 2); }, "lists node 2 after 2"},
      {"no such node", [&](P& p) { add_node(p, 2, 5); }, "part 2 lists node 5"},
      {"negative node", [&](P& p) { part(p, 2)->set_nodes(0, -1); }, "lists node -1"},
      {"node missing", [&](P& p) { part(p, 1)->mutable_nodes()->RemoveLast(); },
       "node 4 is not listed"},
      {"empty part", [&](P& p) { plan(p)->add_parts(); }, "part 3 is empty"},
      {"no parts", [&](P& p) { plan(p)->clear_parts(); }, "node 0 is not listed"},
      {"wrong order", [&](P& p) { plan(p)->mutable_parts()->SwapElements(0, 2); },
       "reads what part"},
      {"too many parts",
       [&](P& p) {
         for (int i = 0; i < 1024; ++i) plan(p)->add_parts();
       },
       "1027 parts"},
      {"too many plans",
       [&](P& p) {
         for (int i = 0; i < 64; ++i) *p.add_plans() = p.plans(0);
       },
       "65 device plans"},
      {"host with a program", [&](P& p) { part(p, 1)->set_program_bytes(1); },
       "part 1: it runs on the host and has a program"},
      {"device without one", [&](P& p) { part(p, 0)->set_program_bytes(0); },
       "part 0: its program"},
      {"program past the end", [&](P& p) { part(p, 2)->set_program_bytes(5001); },
       "part 2: its program (offset 4096, 5001 bytes)"},
      {"program size wraps", [&](P& p) { part(p, 2)->set_program_bytes(~uint64_t{0}); },
       "not within section 'programs'"},
      {"program offset past the end", [&](P& p) { part(p, 2)->set_program_offset(1 << 20); },
       "not within section 'programs'"},
      {"program misaligned", [&](P& p) { part(p, 2)->set_program_offset(64); }, "not aligned"},
      {"digest too short", [&](P& p) { part(p, 2)->set_program_digest("x"); },
       "part 2: its program's digest has 1 bytes, not 32"},
      {"digest too long", [&](P& p) { part(p, 0)->mutable_program_digest()->push_back('x'); },
       "part 0: its program's digest has 33 bytes, not 32"},
      {"programs overlap", [&](P& p) { part(p, 0)->set_program_bytes(4097); }, "programs overlap"},
      {"programs out of order", [&](P& p) { part(p, 2)->set_program_offset(0); },
       "programs overlap"}};
  const auto good = FileWithPlan();
  for (const auto& c : cases) {
    const auto file = PatchSection<P>(good, kDeviceSection, c.change);
    const Status status = ParseEngine(file, nullptr, "m.engine").status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << c.name << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.message)) << c.name;
    EXPECT_THAT(status.message(), HasSubstr("m.engine: section 'device'")) << c.name;
  }
}

TEST(DevicePlan, WithoutItsProgramsIsRefused) {
  std::vector<LooseSection> sections = TakeApart(ReadContainer(FileWithPlan()).value());
  std::erase_if(sections, [](const LooseSection& s) { return s.name == kProgramsSection; });
  EXPECT_THAT(ParseEngine(PutTogether(sections), nullptr, "m").status().message(),
              HasSubstr("not within section 'programs' (0 bytes)"));
}

TEST(DevicePlan, TruncatedFilesAreRefused) {
  const auto file = FileWithPlan();
  for (const size_t cut : {1, 904, 5000, 9000}) {
    const auto rest = std::span(file).first(file.size() - cut);
    EXPECT_EQ(ParseEngine(rest, nullptr, "m").status().code(), StatusCode::kDataLoss) << cut;
  }
}

TEST(DevicePlan, WithoutADigestIsReadAndItsProgramIsNotTaken) {
  const auto file = PatchSection<proto::DevicePlans>(
      FileWithPlan(), kDeviceSection,
      [](proto::DevicePlans& p) { p.mutable_plans(0)->mutable_parts(0)->clear_program_digest(); });
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  const Status status = CheckPrograms(*read, read->device_plans[0]);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("part 0: its program has no digest"));
  EXPECT_THAT(status.message(), HasSubstr("build the engine again"));
}

/// The first part's program as a device would just have built it; read back from a file, in which
/// symbols are numbered anew, what nothing reads is left out, and shapes are inferred.
EngineContents WithProgramOfFirstPart() {
  EngineContents contents = MakeTestContents();
  contents.device_plans = {MakeTestDevicePlan()};
  DevicePlan& plan = contents.device_plans[0];
  const auto sources = ExtractPlan(contents.graph, contents.profiles, plan).value();
  SetProgram(std::vector(100, std::byte{7}), sources[0], plan.parts[0]);
  const auto bytes = std::make_shared<std::vector<std::byte>>(SerializeEngine(contents).value());
  return ParseEngine(*bytes, bytes, "m").value();
}

/// CheckProgram of the first part, after a change.
Status CheckFirst(const std::function<void(EngineContents&)>& change) {
  EngineContents contents = WithProgramOfFirstPart();
  change(contents);
  DevicePlan& plan = contents.device_plans[0];
  return CheckProgram(plan.parts[0],
                      ExtractPlan(contents.graph, contents.profiles, plan).value()[0]);
}

TEST(DevicePlan, KnowsTheProgramsThatAreOfItsGraphAndWeights) {
  const auto code = [](const std::function<void(EngineContents&)>& change) {
    return CheckFirst(change).code();
  };
  const Status status = CheckFirst([](EngineContents&) {});
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(code([](EngineContents& c) { c.graph.RenameValue(0, "other"); }), StatusCode::kOk);
  EXPECT_EQ(
      code([](EngineContents& c) {
        const std::vector<float> other = {1, 2, 3, 4, 5, 7};
        c.graph.value(2).constant = std::make_shared<Constant>(Constant::Of<float>({2, 3}, other));
      }),
      StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([](EngineContents& c) { c.graph.nodes[0].attributes["alpha"] = 2.0F; }),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([](EngineContents& c) {
              c.device_plans[0].parts[0].program = c.device_plans[0].parts[2].program;
            }),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([](EngineContents& c) { c.device_plans[0].parts[0].digest[31] ^= std::byte{1}; }),
            StatusCode::kFailedPrecondition);
  // That of part 2 is of nothing.
  const EngineContents contents = WithProgramOfFirstPart();
  EXPECT_THAT(CheckPrograms(contents, contents.device_plans[0]).message(),
              HasSubstr("part 2: its program was not built from this engine's graph"));
}

TEST(DevicePlan, IsShownWithWhatIsCopied) {
  const auto file = FileWithPlan();
  const auto contents = ParseEngine(file, nullptr, "m").value();
  const std::string text = DumpText(contents);
  for (const char* line :
       {"device plan 0 for fake:", "fingerprint  fake 1.0", "tolerance    0.001",
        "option       fp16", "option       memory_pool:workspace=64", "rows         independent",
        "2 nodes: 1 Gemm, 1 Identity", "program 5000 bytes", "x f32[N,2]", "32 bytes",
        // x in, view out and in again, y out; 4 rows of 2 and 3 floats.
        "copied a run at the expected shapes: 80 bytes to the device, 96 bytes back"}) {
    EXPECT_THAT(text, HasSubstr(line)) << text;
  }
  const std::string json = DumpJson(contents);
  for (const char* part :
       {R"("device_plans":[{"backend":"fake","device":"Fake device, fake 1.0")",
        R"("place":"device","nodes":[0,1],"operators":{"Gemm":1,"Identity":1},"program_bytes":100)",
        R"("to_device":[{"name":"x","dtype":"f32","bytes":32}])"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
}

}  // namespace
}  // namespace verdict
