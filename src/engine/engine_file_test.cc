#include "engine/engine_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/checked_math.h"
#include "engine/engine_test.h"

namespace verdict {
namespace {

using testing::HasSubstr;

/// Bytes of a tensor's contents, strings with their lengths.
std::string Contents(const Constant& tensor) {
  std::string text = std::string(DataTypeName(tensor.dtype)) + ToString(tensor.shape) + ":";
  if (tensor.dtype == DataType::kString) {
    for (std::string_view s : tensor.view().as<const std::string_view>()) {
      text += std::to_string(s.size()) + " " + std::string(s) + ";";
    }
    return text;
  }
  return text.append(static_cast<const char*>(tensor.data),
                     ByteSize(tensor.dtype, tensor.shape).value());
}

void ExpectSameGraph(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  ASSERT_EQ(a.num_values(), b.num_values());
  const std::vector<int32_t> uses = a.UseCounts();
  for (ValueId id = 0; id < a.num_values(); ++id) {
    SCOPED_TRACE(a.value(id).name);
    EXPECT_EQ(a.value(id).name, b.value(id).name);
    if (a.constant(id) != nullptr && uses[static_cast<size_t>(id)] == 0) {
      EXPECT_EQ(b.constant(id), nullptr);
      continue;
    }
    EXPECT_EQ(a.value(id).dtype, b.value(id).dtype);
    EXPECT_EQ(a.ShapeText(a.value(id).shape), b.ShapeText(b.value(id).shape));
    ASSERT_EQ(a.constant(id) != nullptr, b.constant(id) != nullptr);
    if (a.constant(id) != nullptr) {
      EXPECT_EQ(Contents(*a.constant(id)), Contents(*b.constant(id)));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b.constant(id)->data) % 8, 0U);
    }
  }
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(a.nodes[i].name, b.nodes[i].name);
    EXPECT_EQ(a.nodes[i].op, b.nodes[i].op);
    EXPECT_EQ(a.nodes[i].inputs, b.nodes[i].inputs);
    EXPECT_EQ(a.nodes[i].outputs, b.nodes[i].outputs);
    EXPECT_EQ(a.nodes[i].attributes, b.nodes[i].attributes);
  }
}

void ExpectSame(const EngineContents& a, const EngineContents& b) {
  ExpectSameGraph(a.graph, b.graph);
  ASSERT_EQ(a.profiles.size(), b.profiles.size());
  for (size_t p = 0; p < a.profiles.size(); ++p) {
    ASSERT_EQ(a.profiles[p].inputs.size(), b.profiles[p].inputs.size());
    for (size_t i = 0; i < a.profiles[p].inputs.size(); ++i) {
      const InputRange& x = a.profiles[p].inputs[i];
      const InputRange& y = b.profiles[p].inputs[i];
      EXPECT_EQ(x.name, y.name);
      EXPECT_TRUE(x.min == y.min && x.opt == y.opt && x.max == y.max) << x.name;
    }
  }
  EXPECT_EQ(a.plan.target, b.plan.target);
  ASSERT_EQ(a.plan.steps.size(), b.plan.steps.size());
  for (size_t i = 0; i < a.plan.steps.size(); ++i) {
    EXPECT_EQ(a.plan.steps[i].node, b.plan.steps[i].node);
    EXPECT_EQ(a.plan.steps[i].tactic, b.plan.steps[i].tactic);
    EXPECT_EQ(a.plan.steps[i].packed_offset, b.plan.steps[i].packed_offset);
    EXPECT_EQ(a.plan.steps[i].packed_bytes, b.plan.steps[i].packed_bytes);
  }
  EXPECT_EQ(a.plan.storage, b.plan.storage);
  ASSERT_EQ(a.plan.layouts.size(), b.plan.layouts.size());
  for (size_t i = 0; i < a.plan.layouts.size(); ++i) {
    EXPECT_EQ(a.plan.layouts[i].offset, b.plan.layouts[i].offset);
    EXPECT_EQ(a.plan.layouts[i].capacity, b.plan.layouts[i].capacity);
    EXPECT_EQ(a.plan.layouts[i].scratch_offset, b.plan.layouts[i].scratch_offset);
    EXPECT_EQ(a.plan.layouts[i].scratch_bytes, b.plan.layouts[i].scratch_bytes);
    EXPECT_EQ(a.plan.layouts[i].arena_bytes, b.plan.layouts[i].arena_bytes);
  }
  EXPECT_TRUE(std::ranges::equal(a.packed, b.packed));
  ASSERT_EQ(a.golden.size(), b.golden.size());
  for (size_t i = 0; i < a.golden.size(); ++i) {
    ASSERT_EQ(a.golden[i].inputs.size(), b.golden[i].inputs.size());
    ASSERT_EQ(a.golden[i].outputs.size(), b.golden[i].outputs.size());
    EXPECT_EQ(a.golden[i].tolerance, b.golden[i].tolerance);
    for (size_t j = 0; j < a.golden[i].inputs.size(); ++j) {
      EXPECT_EQ(Contents(a.golden[i].inputs[j]), Contents(b.golden[i].inputs[j]));
    }
    for (size_t j = 0; j < a.golden[i].outputs.size(); ++j) {
      EXPECT_EQ(Contents(a.golden[i].outputs[j]), Contents(b.golden[i].outputs[j]));
    }
  }
  EXPECT_EQ(a.metadata, b.metadata);
}

class EngineFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("engine_file_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(EngineFileTest, RoundTripsEverything) {
  const EngineContents contents = MakeTestContents();
  const auto path = folder_ / "m.engine";
  ASSERT_TRUE(WriteEngineFile(path, contents).ok());
  const auto read = ReadEngineFile(path);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  ExpectSame(contents, *read);
  EXPECT_EQ(read->format, "1.1");
  EXPECT_EQ(read->file_bytes, std::filesystem::file_size(path));
  EXPECT_EQ(read->sha256.size(), 64U);
  EXPECT_EQ(read->sections.size(), 7U);
}

TEST_F(EngineFileTest, WritesTheSameBytesAgain) {
  const auto first = SerializeEngine(MakeTestContents()).value();
  EXPECT_EQ(first, SerializeEngine(MakeTestContents()).value());
  const auto read = ParseEngine(first, nullptr, "first").value();
  EXPECT_EQ(first, SerializeEngine(read).value());
}

TEST_F(EngineFileTest, ConstantsPointIntoTheMapAndOutliveTheContents) {
  const auto path = folder_ / "m.engine";
  ASSERT_TRUE(WriteEngineFile(path, MakeTestContents()).ok());
  std::shared_ptr<const Constant> weight, labels;
  std::span<const std::byte> packed;
  std::shared_ptr<const void> packed_owner;
  {
    auto read = ReadEngineFile(path).value();
    weight = read.graph.value(2).constant;
    labels = read.graph.value(4).constant;
    packed = read.packed;
    packed_owner = read.packed_owner;
    EXPECT_EQ(weight->owner, packed_owner);
    const auto* begin = static_cast<const std::byte*>(weight->data);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 4096, 0U);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(packed.data()) % 4096, 0U);
  }
  EXPECT_EQ(weight->view().as<const float>()[5], 6.0F);
  EXPECT_EQ(labels->view().as<const std::string_view>()[0], "stolen card");
  EXPECT_EQ(labels->view().as<const std::string_view>()[1], "");
  EXPECT_EQ(packed[87], std::byte{0x5A});
}

TEST_F(EngineFileTest, WhatIsNoEngineIsRefusedByItsFirstBytesHoweverLarge) {
  const auto path = folder_ / "large.engine";
  std::ofstream(path) << "something else";
  std::filesystem::resize_file(path, uintmax_t{1} << 43);
  const Status status = ReadEngineFile(path, FileAccess::kRead).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("not an engine file"));
}

TEST_F(EngineFileTest, ReadsBytesAtAnyAddress) {
  const auto file = SerializeEngine(MakeTestContents()).value();
  for (size_t shift : {1, 8, 63}) {
    std::vector<std::byte> moved(shift);
    moved.insert(moved.end(), file.begin(), file.end());
    const auto read = ParseEngine(std::span(moved).subspan(shift), nullptr, "moved");
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read->graph.constant(2)->data) % 64, 0U);
    std::ranges::fill(moved, std::byte{0});
    EXPECT_EQ(read->graph.constant(2)->view().as<const float>()[1], 2.0F);
  }
}

TEST_F(EngineFileTest, AGraphAloneComesBackWithItsProfiles) {
  const EngineContents contents = MakeTestContents();
  const auto file = SerializeGraph(contents.graph, contents.profiles).value();
  const size_t size = AlignUp(file.size(), 64);
  const std::shared_ptr<void> aligned(std::aligned_alloc(64, size), std::free);
  std::memcpy(aligned.get(), file.data(), file.size());
  const std::span bytes(static_cast<const std::byte*>(aligned.get()), file.size());
  const GraphContents read = ParseSerializedGraph(bytes, aligned).value();
  ExpectSameGraph(contents.graph, read.graph);
  ASSERT_EQ(read.profiles.size(), 1U);
  EXPECT_EQ(read.profiles[0].inputs[0].max, contents.profiles[0].inputs[0].max);
  EXPECT_EQ(ParseSerializedGraph(bytes.first(file.size() - 1), aligned).status().code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(ParseSerializedGraph(bytes.subspan(8), aligned).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(ParseEngine(file, nullptr, "graph").status().code() == StatusCode::kDataLoss)
      << "it is no engine";
}

TEST_F(EngineFileTest, LeavesOutWhatNothingReads) {
  EngineContents contents = MakeTestContents();
  const size_t before = SerializeEngine(contents).value().size();
  std::vector<float> values(100'000, 1.0F);
  contents.graph.AddConstant("big", Constant::Of<float>({100'000}, std::span<const float>(values)));
  contents.plan.storage.push_back(11);
  contents.plan.layouts[0].offset.push_back(Layout::kNotInArena);
  contents.plan.layouts[0].capacity.push_back(0);
  EXPECT_LT(SerializeEngine(contents).value().size(), before + 1000);
}

TEST_F(EngineFileTest, RefusesEveryFlippedByte) {
  auto file = SerializeEngine(MakeTestContents()).value();
  ASSERT_TRUE(ParseEngine(file, nullptr, "m").ok());
  for (size_t i = 0; i < file.size(); ++i) {
    const std::byte good = file[i];
    file[i] ^= std::byte(1U << (i % 8));
    const auto read = ParseEngine(file, nullptr, "m");
    ASSERT_FALSE(read.ok()) << "byte " << i;
    file[i] = good;
  }
}

TEST_F(EngineFileTest, RefusesEveryTruncation) {
  const auto file = SerializeEngine(MakeTestContents()).value();
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_FALSE(ParseEngine(std::span(file).first(size), nullptr, "m").ok()) << size;
  }
}

TEST_F(EngineFileTest, NamesTheFileAndTheSection) {
  const auto path = folder_ / "broken.engine";
  auto file = SerializeEngine(MakeTestContents()).value();
  const auto container = ReadContainer(file).value();
  file[container.Find("plan")->offset + 3] ^= std::byte{1};
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  const Status status = ReadEngineFile(path).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("broken.engine"));
  EXPECT_THAT(status.message(), HasSubstr("section 'plan'"));
  EXPECT_EQ(ReadEngineFile(folder_ / "absent.engine").status().code(), StatusCode::kNotFound);
}

TEST_F(EngineFileTest, AcceptsANewerMinorVersionWithSectionsItDoesNotKnow) {
  auto sections = TakeApart(ReadContainer(SerializeEngine(MakeTestContents()).value()).value());
  sections.insert(sections.begin(), {"calibration", 64, false, {std::byte{1}}});
  const auto file = PutTogether(sections, 7);
  const auto read = ParseEngine(file, nullptr, "m");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->format, "1.7");
  ExpectSame(MakeTestContents(), *read);
}

TEST_F(EngineFileTest, RefusesASectionItWouldNeedToKnow) {
  auto sections = TakeApart(ReadContainer(SerializeEngine(MakeTestContents()).value()).value());
  sections.push_back({"sparse", 64, true, {std::byte{1}}});
  const auto file = PutTogether(sections, 7);
  const Status status = ParseEngine(file, nullptr, "m.engine").status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("m.engine: the file (format 1.7) needs section 'sparse'"));
  EXPECT_THAT(status.message(), HasSubstr("upgrade verdict"));
}

TEST_F(EngineFileTest, RefusesAFileWithoutOneOfItsSections) {
  const auto all = TakeApart(ReadContainer(SerializeEngine(MakeTestContents()).value()).value());
  for (size_t i = 0; i < all.size(); ++i) {
    auto sections = all;
    sections.erase(sections.begin() + static_cast<ptrdiff_t>(i));
    const auto file = PutTogether(sections);
    const Status status = ParseEngine(file, nullptr, "m").status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << all[i].name;
    EXPECT_THAT(status.message(), HasSubstr("section '" + all[i].name + "': it is missing"));
  }
}

}  // namespace
}  // namespace verdict
