#include "backends/tensorrt/plan_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ir/text.h"

namespace verdict::tensorrt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

PlanHeader SomeHeader() {
  PlanHeader header;
  header.tensorrt_version = 80503;
  header.sm = 90;
  header.graph_hash = 0x0123456789ABCDEF;
  header.profiles_hash = 42;
  header.refittable = true;
  header.constants = {{3, 0xFFFFFFFF}, {7, 1}};
  return header;
}

std::vector<std::byte> SomePlan(size_t size = 1000) {
  std::vector<std::byte> plan(size);
  for (size_t i = 0; i < size; ++i) plan[i] = static_cast<std::byte>(i * 7);
  return plan;
}

TEST(PlanFile, ReadsWhatItWrote) {
  const std::vector<std::byte> bytes = WritePlanFile(SomeHeader(), SomePlan());
  const auto file = ParsePlanFile(bytes);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_TRUE(std::ranges::equal(file->plan, SomePlan()));
  EXPECT_EQ(file->header.tensorrt_version, 80503U);
  EXPECT_EQ(file->header.sm, 90U);
  EXPECT_EQ(file->header.graph_hash, 0x0123456789ABCDEFU);
  EXPECT_EQ(file->header.profiles_hash, 42U);
  EXPECT_TRUE(file->header.refittable);
  EXPECT_EQ(file->header.constants, SomeHeader().constants);
}

TEST(PlanFile, EveryChangedByteIsRefused) {
  const std::vector<std::byte> bytes = WritePlanFile(SomeHeader(), SomePlan(200));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> changed = bytes;
    changed[i] ^= std::byte{1};
    EXPECT_EQ(ParsePlanFile(changed).status().code(), StatusCode::kDataLoss) << i;
  }
}

TEST(PlanFile, EveryTruncationIsRefused) {
  const std::vector<std::byte> bytes = WritePlanFile(SomeHeader(), SomePlan(200));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ParsePlanFile(std::span(bytes).first(size)).status().code(), StatusCode::kDataLoss)
        << size;
  }
}

TEST(PlanFile, ForeignBytesAreRefused) {
  const std::string text(4096, 'x');
  const auto file = ParsePlanFile(std::as_bytes(std::span(text)));
  EXPECT_EQ(file.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(file.status().message(), HasSubstr("build the engine's device plan again"));
}

TEST(PlanFile, ARightChecksumDoesNotMakeWrongCountsRight) {
  EXPECT_EQ(ParsePlanFile(WritePlanFile(SomeHeader(), {})).status().code(), StatusCode::kDataLoss);
}

TEST(CheckPlanHeader, SaysOfWhatItWas) {
  const PlanHeader here = SomeHeader();
  EXPECT_TRUE(CheckPlanHeader(here, here).ok());
  PlanHeader other = here;
  other.tensorrt_version = 100001;
  const Status version = CheckPlanHeader(other, here);
  EXPECT_EQ(version.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(version.message(), AllOf(HasSubstr("TensorRT 10.0.1"), HasSubstr("TensorRT 8.5.3")));
  other = here;
  other.sm = 80;
  EXPECT_THAT(CheckPlanHeader(other, here).message(), HasSubstr("sm_80, here is sm_90"));
  other = here;
  other.graph_hash = 1;
  EXPECT_EQ(CheckPlanHeader(other, here).code(), StatusCode::kFailedPrecondition);
  other = here;
  other.profiles_hash = 1;
  EXPECT_EQ(CheckPlanHeader(other, here).code(), StatusCode::kFailedPrecondition);
}

Graph Parsed(const std::string& text) {
  auto graph = ParseGraph(text);
  VERDICT_CHECK(graph.ok());
  return *std::move(graph);
}

TEST(GraphHash, IsOfEverythingButNamesAndContents) {
  const auto hash = [](const std::string& op, const std::string& weight) {
    return GraphHash(Parsed("graph \"g\" {\n  input %x: f32[N,4]\n  const %w: f32[1] = [" + weight +
                            "]\n  %y = " + op + "(%x, %w)\n  output %y\n}\n"));
  };
  EXPECT_EQ(hash("Add", "2"), hash("Add", "1"));
  EXPECT_NE(hash("Mul", "1"), hash("Add", "1"));
}

TEST(ConstantSums, ChangeWithTheContents) {
  const std::string before = "graph \"g\" {\n  input %x: f32[4]\n  const %w: f32[1] = [";
  const std::string after = "]\n  %y = Add(%x, %w)\n  output %y\n}\n";
  const auto one = ConstantSums(Parsed(before + "1" + after));
  const auto same = ConstantSums(Parsed(before + "1" + after));
  const auto two = ConstantSums(Parsed(before + "2" + after));
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one, same);
  EXPECT_EQ(one[0].value, two[0].value);
  EXPECT_NE(one[0].crc, two[0].crc);
}

}  // namespace
}  // namespace verdict::tensorrt
