// Files whose checksums are right and whose contents are hostile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/engine_test.h"
#include "plan/lower.h"

namespace verdict {
namespace {

using testing::HasSubstr;

template <typename Message>
struct Case {
  const char* name;
  std::function<void(Message&)> change;
  const char* message;
};

/// Every case must be refused as corrupt, with its message and the section's name.
template <typename Message>
void ExpectRefused(const char* section, const std::vector<Case<Message>>& cases) {
  const auto good = SerializeEngine(MakeTestContents()).value();
  ASSERT_TRUE(ParseEngine(good, nullptr, "good").ok());
  for (const auto& c : cases) {
    const auto file = PatchSection<Message>(good, section, c.change);
    const Status status = ParseEngine(file, nullptr, "m.engine").status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << c.name << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.message)) << c.name;
    EXPECT_THAT(status.message(), HasSubstr("m.engine: section '" + std::string(section) + "'"))
        << c.name;
    EXPECT_THAT(status.message(), HasSubstr("rebuild the engine")) << c.name;
  }
}

TEST(EngineReader, RefusesHostileValues) {
  using G = proto::Graph;
  ExpectRefused<G>(
      kIrSection,
      {{"no name", [](G& g) { g.mutable_values(0)->set_name(""); }, "is empty or there twice"},
       {"name twice", [](G& g) { g.mutable_values(1)->set_name("x"); }, "is empty or there twice"},
       {"symbol twice", [](G& g) { g.add_symbols("N"); }, "symbol 'N' is there twice"},
       {"symbol unknown", [](G& g) { g.mutable_values(0)->mutable_shape()->set_dims(0, -2); },
        "graph input 'x': extent -2 is out of range"},
       {"extent too large",
        [](G& g) { g.mutable_values(0)->mutable_shape()->set_dims(0, int64_t{1} << 32); },
        "out of range"},
       {"extent least", [](G& g) { g.mutable_values(0)->mutable_shape()->set_dims(0, INT64_MIN); },
        "out of range"},
       {"shape overflows",
        [](G& g) {
          for (int i = 0; i < 2; ++i) g.mutable_values(0)->mutable_shape()->add_dims(1LL << 31);
        },
        "more elements than fit"},
       {"rank 9",
        [](G& g) {
          for (int i = 0; i < 7; ++i) g.mutable_values(0)->mutable_shape()->add_dims(1);
        },
        "rank 9 is over 8"},
       {"dtype unknown", [](G& g) { g.mutable_values(0)->set_dtype("f128"); }, "'f128'"},
       {"dtype undefined", [](G& g) { g.mutable_values(0)->set_dtype("undefined"); },
        "'undefined'"},
       {"input is a constant", [](G& g) { g.set_inputs(0, 2); }, "is a constant"},
       {"input twice", [](G& g) { g.set_inputs(1, 0); }, "defined twice"},
       {"input out of range", [](G& g) { g.set_inputs(0, 11); }, "value 11 is not among the 11"},
       {"input negative", [](G& g) { g.set_inputs(0, -1); }, "value -1 is not among"},
       {"output out of range", [](G& g) { g.set_outputs(0, 99); }, "value 99"},
       {"output negative", [](G& g) { g.set_outputs(0, -1); }, "value -1"},
       {"output never made", [](G& g) { g.set_outputs(0, 5); }, "never made"},
       {"no output", [](G& g) { g.clear_outputs(); }, "no output"}});
}

TEST(EngineReader, RefusesHostileConstants) {
  using G = proto::Graph;
  const auto range = [](G& g, int id) { return g.mutable_values(id)->mutable_constant(); };
  ExpectRefused<G>(
      kIrSection,
      {{"offset past the end", [&](G& g) { range(g, 2)->set_offset(1 << 20); },
        "constant 'weight': its range (offset 1048576, 24 bytes) is not within"},
       {"offset wraps", [&](G& g) { range(g, 2)->set_offset(~uint64_t{63}); }, "is not within"},
       {"misaligned", [&](G& g) { range(g, 2)->set_offset(4); }, "is not within"},
       {"size past the end", [&](G& g) { range(g, 2)->set_bytes(1 << 20); }, "is not within"},
       {"size wraps", [&](G& g) { range(g, 2)->set_bytes(~uint64_t{0}); }, "is not within"},
       {"size too small", [&](G& g) { range(g, 2)->set_bytes(20); },
        "it has 20 bytes, its shape [2,3] of f32 needs 24"},
       {"shape too large", [](G& g) { g.mutable_values(2)->mutable_shape()->set_dims(0, 1 << 30); },
        "needs 12884901888"},
       {"wider type", [](G& g) { g.mutable_values(2)->set_dtype("f64"); }, "needs 48"},
       {"symbolic shape", [](G& g) { g.mutable_values(2)->mutable_shape()->set_dims(0, -1); },
        "extent -1 is out of range"},
       {"bools that are not",
        [](G& g) {
          g.mutable_values(2)->set_dtype("bool");
          g.mutable_values(2)->mutable_shape()->set_dims(0, 8);
        },
        "neither 0 nor 1"},
       {"numbers as strings", [](G& g) { g.mutable_values(2)->set_dtype("str"); }, "string table"},
       {"more strings", [](G& g) { g.mutable_values(4)->mutable_shape()->set_dims(0, 4); },
        "string table"},
       {"many more strings",
        [](G& g) { g.mutable_values(4)->mutable_shape()->set_dims(0, 1LL << 31); },
        "string table is too short"},
       {"fewer strings", [](G& g) { g.mutable_values(4)->mutable_shape()->set_dims(0, 2); },
        "does not end at its end"},
       {"strings cut", [&](G& g) { range(g, 4)->set_bytes(40); }, "out of order"},
       {"strings without a table", [&](G& g) { range(g, 4)->set_bytes(0); }, "too short"}});
}

TEST(EngineReader, RefusesAHostileStringTable) {
  const auto good = SerializeEngine(MakeTestContents()).value();
  const auto contents = ParseEngine(good, nullptr, "good").value();
  const auto container = ReadContainer(good).value();
  // The table follows 24 bytes of weights and 12 of biases, each rounded up to 64.
  const uint64_t table = container.Find(kConstantsSection)->offset + 128;
  for (const auto& [slot, value] : std::vector<std::pair<size_t, uint64_t>>{
           {0, 1}, {1, 14}, {1, ~uint64_t{0}}, {2, 3}, {3, 12}, {3, uint64_t{1} << 63}}) {
    auto file = good;
    Poke(file, table + slot * 8, value);
    Reseal(file);
    const Status status = ParseEngine(file, nullptr, "m").status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << slot << " " << value;
    EXPECT_THAT(status.message(), HasSubstr("constant 'labels': its string table")) << slot;
  }
}

TEST(EngineReader, RefusesHostileNodes) {
  using G = proto::Graph;
  ExpectRefused<G>(
      kIrSection,
      {{"input out of range", [](G& g) { g.mutable_nodes(0)->set_inputs(0, 11); },
        "node 'make_h' (Gemm): value 11 is not among the 11 values"},
       {"input below -1", [](G& g) { g.mutable_nodes(0)->set_inputs(2, -2); }, "value -2"},
       {"required input left out", [](G& g) { g.mutable_nodes(0)->set_inputs(0, -1); },
        "input 0 is missing"},
       {"output out of range", [](G& g) { g.mutable_nodes(0)->set_outputs(0, INT32_MAX); },
        "value 2147483647"},
       {"output left out", [](G& g) { g.mutable_nodes(0)->set_outputs(0, -1); }, "has no output"},
       {"output is a constant", [](G& g) { g.mutable_nodes(0)->set_outputs(0, 3); },
        "exists already"},
       {"output made twice", [](G& g) { g.mutable_nodes(2)->set_outputs(0, 7); }, "exists already"},
       {"cycle", [](G& g) { g.mutable_nodes(0)->set_inputs(0, 8); }, "before it is made"},
       {"wrong order", [](G& g) { g.mutable_nodes()->SwapElements(0, 1); }, "before it is made"},
       {"too many inputs", [](G& g) { g.mutable_nodes(1)->add_inputs(0); }, "has 2 inputs"},
       {"too few inputs", [](G& g) { g.mutable_nodes(0)->clear_inputs(); }, "has 0 inputs"},
       {"no outputs", [](G& g) { g.mutable_nodes(0)->clear_outputs(); }, "has 0 outputs"},
       {"shapes that do not fit", [](G& g) { g.mutable_nodes(0)->set_inputs(1, 3); },
        "node 'make_h' (Gemm)"},
       {"attribute without a value",
        [](G& g) { g.mutable_nodes(0)->mutable_attributes(0)->clear_value(); }, "has no value"},
       {"attribute of another type",
        [](G& g) { g.mutable_nodes(0)->mutable_attributes(0)->set_string_value("1"); },
        "attribute 'alpha' has the wrong type"},
       {"attribute twice",
        [](G& g) { g.mutable_nodes(0)->mutable_attributes(1)->set_name("alpha"); },
        "attribute 'alpha' is there twice"},
       {"attribute unknown",
        [](G& g) { g.mutable_nodes(0)->mutable_attributes(1)->set_name("gamma"); },
        "unknown attribute 'gamma'"}});
}

TEST(EngineReader, SaysThatANewOperatorNeedsANewerBuild) {
  const auto file =
      PatchSection<proto::Graph>(SerializeEngine(MakeTestContents()).value(), kIrSection,
                                 [](proto::Graph& g) { g.mutable_nodes(0)->set_op("FlashGemm"); });
  const Status status = ParseEngine(file, nullptr, "m").status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("(FlashGemm)"));
  EXPECT_THAT(status.message(), HasSubstr("upgrade verdict"));
}

TEST(EngineReader, RefusesTypesThatTheShapeRulesRefuse) {
  const auto file =
      PatchSection<proto::Graph>(SerializeEngine(MakeTestContents()).value(), kIrSection,
                                 [](proto::Graph& g) { g.mutable_nodes(0)->set_inputs(0, 1); });
  EXPECT_THAT(ParseEngine(file, nullptr, "m").status().message(),
              HasSubstr("node 'make_h' (Gemm): input 0 has type str"));
}

TEST(EngineReader, IgnoresTypesAndShapesOfMadeValues) {
  const auto file = PatchSection<proto::Graph>(SerializeEngine(MakeTestContents()).value(),
                                               kIrSection, [](proto::Graph& g) {
                                                 g.mutable_values(8)->set_dtype("str");
                                                 g.mutable_values(8)->mutable_shape()->add_dims(1);
                                               });
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->graph.value(8).dtype, DataType::kFloat32);
  EXPECT_EQ(read->graph.ShapeText(read->graph.value(8).shape), "[N,3]");
}

TEST(EngineReader, RefusesHostileProfiles) {
  using P = proto::Profiles;
  const auto x = [](P& p) { return p.mutable_profiles(0)->mutable_inputs(0); };
  ExpectRefused<P>(
      kProfilesSection,
      {{"none", [](P& p) { p.clear_profiles(); }, "there is no profile"},
       {"too many",
        [](P& p) {
          while (p.profiles_size() < 65) *p.add_profiles() = p.profiles(0);
        },
        "there are 65 profiles; at most 64 are taken"},
       {"input left out", [](P& p) { p.mutable_profiles(0)->mutable_inputs()->RemoveLast(); },
        "profile 0: it has 1 ranges for 2 inputs"},
       {"input unknown", [&](P& p) { x(p)->set_name("z"); }, "it is for 'z'"},
       {"other rank", [&](P& p) { x(p)->mutable_max()->add_dims(1); }, "does not fit its shape"},
       {"symbolic", [&](P& p) { x(p)->mutable_min()->set_dims(0, -1); }, "out of range"},
       {"fixed extent changed", [&](P& p) { x(p)->mutable_max()->set_dims(1, 3); },
        "input 'x': the range [1,2] <= [4,2] <= [8,3] does not fit its shape [?,2]"},
       {"opt below min", [&](P& p) { x(p)->mutable_opt()->set_dims(0, 0); }, "does not fit"},
       {"max below opt", [&](P& p) { x(p)->mutable_max()->set_dims(0, 3); }, "does not fit"},
       {"overflow", [&](P& p) { x(p)->mutable_max()->set_dims(0, INT64_MAX); }, "out of range"}});
}

TEST(EngineReader, RefusesHostilePlans) {
  using P = proto::Plan;
  ExpectRefused<P>(
      kPlanSection,
      {{"step left out", [](P& p) { p.mutable_steps()->RemoveLast(); }, "it has 4 steps"},
       {"step too many", [](P& p) { p.add_steps()->set_tactic("reference"); }, "it has 6 steps"},
       {"layout left out", [](P& p) { p.clear_layouts(); }, "0 layouts"},
       {"layout too many", [](P& p) { p.add_layouts(); }, "2 layouts"},
       {"no tactic", [](P& p) { p.mutable_steps(0)->clear_tactic(); }, "step 0 has no tactic"},
       {"packed past the end", [](P& p) { p.mutable_steps(0)->set_packed_bytes(25); },
        "not within section 'packed' (88 bytes)"},
       {"packed wraps", [](P& p) { p.mutable_steps(0)->set_packed_bytes(~uint64_t{0}); },
        "not within"},
       {"packed offset past the end", [](P& p) { p.mutable_steps(1)->set_packed_offset(128); },
        "not within"},
       {"packed misaligned", [](P& p) { p.mutable_steps(0)->set_packed_offset(60); },
        "not within"}});
}

/// An engine whose graph is lowered: a constant is dequantized in advance.
EngineContents LoweredContents() {
  EngineContents contents;
  Graph& graph = contents.graph;
  const float scale = 0.5F;
  const int8_t quanta[] = {2, -4};
  const ValueId x = graph.AddInput("x", DataType::kFloat32, Shape{2});
  const ValueId w = graph.AddConstant("w", Constant::Of<int8_t>(Shape{2}, quanta));
  const ValueId s = graph.AddConstant("s", Constant::Of<float>(Shape{}, std::span(&scale, 1)));
  const ValueId d = graph.AddValue("d", DataType::kFloat32, Shape{2});
  const ValueId y = graph.AddValue("y", DataType::kFloat32, Shape{2});
  graph.nodes = {{"dequantize", "DequantizeLinear", {w, s}, {d}, {}},
                 {"add", "Add", {x, d}, {y}, {}}};
  graph.outputs = {y};
  contents.lowered = Lower(graph).value();
  contents.metadata = {{"source_sha256", "0"}};
  contents.profiles = {{{{"x", Shape{2}, Shape{2}, Shape{2}}}}};
  contents.plan.target = "cpu:test";
  contents.plan.steps = {{0, "reference", 0, 0}};
  const auto values = static_cast<size_t>(contents.lowered->num_values());
  contents.plan.storage.resize(values);
  std::iota(contents.plan.storage.begin(), contents.plan.storage.end(), 0);
  Layout layout;
  layout.offset.assign(values, Layout::kNotInArena);
  layout.capacity.assign(values, 0);
  layout.offset[static_cast<size_t>(y)] = 0;
  layout.capacity[static_cast<size_t>(y)] = 64;
  layout.arena_bytes = 64;
  contents.plan.layouts = {layout};
  return contents;
}

// The plan is of the nodes that this version makes of the graph.
TEST(EngineReader, LeavesOutAPlanOfAnotherLowering) {
  const auto file = SerializeEngine(LoweredContents());
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  const auto same = ParseEngine(*file, nullptr, "m");
  ASSERT_TRUE(same.ok()) << same.status().ToString();
  EXPECT_EQ(same->plan.steps.size(), 1u);
  const auto patched = PatchSection<proto::Plan>(*file, kPlanSection, [](proto::Plan& plan) {
    plan.set_lowering(1);
    plan.add_steps()->set_tactic("of a node that is not made any more");
  });
  const auto other = ParseEngine(patched, nullptr, "m");
  ASSERT_TRUE(other.ok()) << other.status().ToString();
  EXPECT_TRUE(other->plan.steps.empty());
  EXPECT_EQ(other->plan.target, "");
}

TEST(EngineReader, RefusesHostileLayouts) {
  using P = proto::Plan;
  const auto layout = [](P& p) { return p.mutable_layouts(0); };
  const auto place = [](P& p, int i) { return p.mutable_layouts(0)->mutable_placements(i); };
  ExpectRefused<P>(
      kPlanSection,
      {{"arena too large", [&](P& p) { layout(p)->set_arena_bytes((uint64_t{16} << 30) + 1); },
        "over the limit of 16 GiB"},
       {"arena too small", [&](P& p) { layout(p)->set_arena_bytes(319); }, "its scratch"},
       {"scratch past the end", [&](P& p) { layout(p)->set_scratch_bytes(65); }, "its scratch"},
       {"scratch wraps", [&](P& p) { layout(p)->set_scratch_bytes(~uint64_t{0}); }, "its scratch"},
       {"scratch misaligned", [&](P& p) { layout(p)->set_scratch_offset(250); }, "its scratch"},
       {"scratch over a value", [&](P& p) { layout(p)->set_scratch_offset(192); },
        "value 'y' (offset 128, 96 bytes) overlaps the scratch"},
       {"value unknown", [&](P& p) { place(p, 0)->set_value(11); }, "value 11 does not exist"},
       {"value negative", [&](P& p) { place(p, 0)->set_value(-1); }, "value -1 does not exist"},
       {"placed twice", [&](P& p) { place(p, 0)->set_value(8); }, "is placed twice"},
       {"not placed", [&](P& p) { layout(p)->mutable_placements()->RemoveLast(); },
        "value 'y' has no memory"},
       {"an input placed",
        [&](P& p) {
          proto::Placement* extra = layout(p)->add_placements();
          extra->set_value(0);
        },
        "has memory that no step makes"},
       {"a view placed",
        [&](P& p) {
          proto::Placement* extra = layout(p)->add_placements();
          extra->set_value(7);
        },
        "has memory that no step makes"},
       {"past the arena", [&](P& p) { place(p, 1)->set_capacity(320); }, "not within the arena"},
       {"wraps", [&](P& p) { place(p, 1)->set_offset(~uint64_t{63}); }, "not within the arena"},
       {"capacity wraps", [&](P& p) { place(p, 1)->set_capacity(~uint64_t{0}); },
        "not within the arena"},
       {"misaligned", [&](P& p) { place(p, 1)->set_offset(130); }, "not aligned"},
       {"live values overlap", [&](P& p) { place(p, 1)->set_offset(64); },
        "the memory of value 'y' overlaps that of another"},
       {"live values overlap from below",
        [&](P& p) {
          place(p, 0)->set_offset(128);
          place(p, 1)->set_offset(64);
        },
        "overlaps that of another"},
       {"live values in one place", [&](P& p) { place(p, 1)->set_offset(0); },
        "overlaps that of another"}});
}

TEST(EngineReader, LetsValuesShareMemoryOneAfterAnother) {
  EngineContents contents = MakeTestContents();
  // y goes through another Softmax into z, where h was: h was last read, through its view, before.
  Graph& graph = contents.graph;
  const ValueId z = graph.AddValue("z", DataType::kFloat32, graph.value(8).shape);
  graph.nodes.push_back({"make_z", "Softmax", {8}, {z}, {}});
  graph.outputs[0] = z;
  contents.plan.steps.push_back({5, "reference"});
  contents.plan.storage.push_back(z);
  contents.plan.layouts[0].offset.push_back(0);
  contents.plan.layouts[0].capacity.push_back(96);
  const auto file = SerializeEngine(contents).value();
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  // As a graph output h lives to the end.
  contents.graph.outputs.push_back(7);
  const auto overlapping = SerializeEngine(contents).value();
  EXPECT_THAT(ParseEngine(overlapping, nullptr, "m").status().message(),
              HasSubstr("the memory of value 'z' overlaps"));
}

TEST(EngineReader, RefusesHostileGoldenVectors) {
  using G = proto::Golden;
  const auto x = [](G& g) { return g.mutable_vectors(0)->mutable_inputs(0); };
  const auto s = [](G& g) { return g.mutable_vectors(0)->mutable_inputs(1); };
  ExpectRefused<G>(
      kGoldenSection,
      {{"input left out", [](G& g) { g.mutable_vectors(0)->mutable_inputs()->RemoveLast(); },
        "golden vector 0: it has 1 tensors for 2"},
       {"output too many", [](G& g) { g.mutable_vectors(0)->add_outputs(); }, "4 tensors for 3"},
       {"other type", [&](G& g) { x(g)->set_dtype("i32"); }, "'x' is i32[1,2] where"},
       {"type unknown", [&](G& g) { x(g)->set_dtype(""); }, "'x' is [1,2] where"},
       {"other rank", [&](G& g) { x(g)->mutable_shape()->add_dims(1); }, "'x' is f32[1,2,1]"},
       {"other fixed extent", [&](G& g) { x(g)->mutable_shape()->set_dims(1, 3); }, "'x' is"},
       {"symbolic", [&](G& g) { x(g)->mutable_shape()->set_dims(0, -1); }, "out of range"},
       {"too few bytes", [&](G& g) { x(g)->mutable_data()->pop_back(); }, "number of bytes"},
       {"more rows than bytes", [&](G& g) { x(g)->mutable_shape()->set_dims(0, 1 << 30); },
        "number of bytes"},
       {"too few strings", [&](G& g) { s(g)->clear_strings(); }, "number of strings"},
       {"more rows than strings", [&](G& g) { s(g)->mutable_shape()->set_dims(0, 1 << 30); },
        "number of strings"},
       {"tolerance too small", [](G& g) { g.mutable_vectors(0)->clear_tolerance(); },
        "golden vector 0: its tolerance is not in [1e-5, 1e-2]"},
       {"tolerance too large", [](G& g) { g.mutable_vectors(0)->set_tolerance(1); },
        "its tolerance is not in"},
       {"tolerance not a number", [](G& g) { g.mutable_vectors(0)->set_tolerance(NAN); },
        "its tolerance is not in"}});
}

TEST(EngineReader, RefusesOtherHostileMessages) {
  ExpectRefused<proto::Metadata>(
      kMetadataSection,
      {{"key twice", [](proto::Metadata& m) { m.mutable_entries(1)->set_key("builder"); },
        "key 'builder' is there twice"}});
  auto sections = TakeApart(ReadContainer(SerializeEngine(MakeTestContents()).value()).value());
  for (LooseSection& section : sections) {
    if (section.name == kIrSection) section.bytes.assign(100, std::byte{0xFF});
  }
  const auto file = PutTogether(sections);
  EXPECT_THAT(ParseEngine(file, nullptr, "m").status().message(),
              HasSubstr("section 'ir': it cannot be parsed"));
}

TEST(EngineReader, RefusesAnOversizedMessageBeforeItParsesIt) {
  auto sections = TakeApart(ReadContainer(SerializeEngine(MakeTestContents()).value()).value());
  for (LooseSection& section : sections) {
    if (section.name == kMetadataSection) section.bytes.assign(kMaxMessageBytes + 1, std::byte{0});
  }
  const auto file = PutTogether(sections);
  EXPECT_THAT(ParseEngine(file, nullptr, "m").status().message(),
              HasSubstr("section 'metadata': its 67108865 bytes are over the limit"));
}

}  // namespace
}  // namespace verdict
