// Every operator that has layers, and whole models, on the device against the reference kernels.
// Many small graphs go into one program, since a build takes seconds; where such a program fails,
// each graph is built alone, so that one run shows all failures.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <set>

#include "backends/device/device_plugin.h"
#include "backends/tensorrt/network_cases_test.h"
#include "compile/pipeline.h"
#include "onnx/import.h"
#include "ops/evaluate.h"
#include "ops/infer.h"
#include "ops/op.h"
#include "plan/partition.h"
#include "plan/profile.h"
#include "tools/npz.h"

namespace verdict::tensorrt {
namespace {

/// Opened once; its warnings go to the output.
const Result<std::unique_ptr<Device>>& TheDevice() {
  static const auto* const device = [] {
    DeviceOptions options;
    options.run_timeout_ms = 20000;
    options.log = [](const std::string& line) { std::cout << "  " << line << "\n"; };
    return new Result<std::unique_ptr<Device>>(OpenDevice("tensorrt", "", options));
  }();
  return *device;
}

#define SKIP_WITHOUT_DEVICE() \
  if (!TheDevice().ok()) GTEST_SKIP() << TheDevice().status().ToString()

std::vector<TensorView> Views(std::span<const Constant> constants) {
  std::vector<TensorView> views;
  for (const Constant& constant : constants) views.push_back(constant.view());
  return views;
}

std::string ShapesText(std::span<const TensorView> views) {
  std::string text;
  for (const TensorView& view : views) {
    text +=
        (text.empty() ? "" : ", ") + std::string(DataTypeName(view.dtype)) + ToString(view.shape);
  }
  return text;
}

template <typename T>
std::string CompareNumbers(const TensorView& want, const TensorView& got, double tolerance) {
  const auto a = want.as<const T>(), b = got.as<const T>();
  size_t wrong = 0, first = 0, worst = 0;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double difference = std::fabs(x - y);
    if (difference <= tolerance * (1 + std::fabs(x))) continue;  // false for NaN
    if (wrong++ == 0) first = i;
    if (!(difference <= largest)) {
      largest = difference;
      worst = i;
    }
  }
  if (wrong == 0) return "";
  const auto at = [&](size_t i) {
    return "element " + std::to_string(i) + " is " + std::to_string(b[i]) + ", not " +
           std::to_string(a[i]);
  };
  return std::to_string(wrong) + " of " + std::to_string(a.size()) + " wrong, " + at(first) +
         "; worst " + at(worst) + ", by " + std::to_string(largest);
}

/// "" if they are equal to the tolerance.
std::string Compare(const TensorView& want, const TensorView& got, double tolerance) {
  if (want.dtype != got.dtype || want.shape != got.shape) {
    return std::string(DataTypeName(got.dtype)) + ToString(got.shape) + ", not " +
           std::string(DataTypeName(want.dtype)) + ToString(want.shape);
  }
  switch (want.dtype) {
    case DataType::kFloat32:
      return CompareNumbers<float>(want, got, tolerance);
    case DataType::kInt64:
      return CompareNumbers<int64_t>(want, got, 0);
    case DataType::kInt32:
      return CompareNumbers<int32_t>(want, got, 0);
    case DataType::kBool:
      return CompareNumbers<bool>(want, got, 0);
    default:
      return "outputs of " + std::string(DataTypeName(want.dtype)) + " are not compared";
  }
}

/// From one row (or step) to twice as many as `inputs` have.
Result<Profile> ProfileAround(const Graph& graph, std::span<const TensorView> inputs) {
  NamedShapes min, opt, max;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    Shape least = inputs[i].shape, most = inputs[i].shape;
    for (int axis = 0; axis < least.rank(); ++axis) {
      if (!IsSymbol(value.shape[axis])) continue;
      least[axis] = 1;
      most[axis] *= 2;
    }
    min.emplace_back(value.name, least);
    opt.emplace_back(value.name, inputs[i].shape);
    max.emplace_back(value.name, most);
  }
  return MakeProfile(graph, min, opt, max);
}

/// The program's outputs for the inputs, copied.
Result<std::vector<Constant>> RunOnDevice(const Graph& graph, std::span<const TensorView> inputs) {
  Device& device = **TheDevice();
  VERDICT_ASSIGN_OR_RETURN(const Profile profile, ProfileAround(graph, inputs));
  DeviceBuildOptions options;
  options.tf32 = false;
  options.fp16 = std::ranges::any_of(graph.nodes, [&](const Node& node) {
    return graph.value(node.outputs[0]).dtype == DataType::kFloat16;
  });
  VERDICT_ASSIGN_OR_RETURN(const DeviceBlob blob,
                           device.Build(graph, std::span(&profile, 1), options));
  VERDICT_ASSIGN_OR_RETURN(const auto program,
                           device.Load(blob.bytes, graph, std::span(&profile, 1)));
  VERDICT_ASSIGN_OR_RETURN(const auto runner, program->NewRunner({}));
  VERDICT_ASSIGN_OR_RETURN(const auto outputs, runner->Run(inputs));
  std::vector<Constant> copies;
  for (const TensorView& output : outputs) {
    auto [copy, data] = Constant::Allocate(output.dtype, output.shape);
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(output.dtype, output.shape));
    std::memcpy(data, output.data, bytes);
    copies.push_back(std::move(copy));
  }
  return copies;
}

/// Cases in one graph.
struct Bundle {
  Graph graph;
  std::vector<Constant> inputs;
};

Bundle MakeBundle(std::span<const NetworkCase> cases) {
  Bundle bundle;
  for (size_t i = 0; i < cases.size(); ++i) {
    AddCase(cases[i], "c" + std::to_string(i) + ".", bundle.graph);
    for (const CaseInput& input : cases[i].inputs) {
      if (input.kind == CaseInput::kFree) bundle.inputs.push_back(input.value);
    }
  }
  return bundle;
}

/// Runs the cases as one graph. False, and no failure, where that is refused and there are several.
bool RunBundle(std::span<const NetworkCase> cases) {
  Bundle bundle = MakeBundle(cases);
  const std::string name = cases.size() == 1 ? cases[0].name : "a graph of several";
  if (const Status status = InferShapes(bundle.graph); !status.ok()) {
    ADD_FAILURE() << name << ": the test's graph is wrong: " << status.ToString();
    return true;
  }
  const std::vector<TensorView> inputs = Views(bundle.inputs);
  const auto want = Evaluate(bundle.graph, inputs);
  if (!want.ok()) {
    ADD_FAILURE() << name << ": the reference refuses it: " << want.status().ToString();
    return true;
  }
  const auto got = RunOnDevice(bundle.graph, inputs);
  if (!got.ok() || got->size() != want->size()) {
    if (cases.size() > 1) return false;
    ADD_FAILURE() << name << " (" << ShapesText(inputs)
                  << "): " << (got.ok() ? "too few outputs" : got.status().ToString());
    return true;
  }
  size_t next = 0;
  for (const NetworkCase& each : cases) {
    for (const std::string& output : each.outputs) {
      const TensorView wanted = (*want)[next].view(), had = (*got)[next].view();
      const std::string difference = Compare(wanted, had, each.tolerance);
      EXPECT_EQ(difference, "") << each.name << " -> " << output << " " << ToString(wanted.shape);
      ++next;
    }
  }
  return true;
}

/// Cases that the device declines are listed; builders_test.cc says which ones may be.
std::vector<NetworkCase> Supported(const std::vector<NetworkCase>& cases) {
  std::vector<NetworkCase> supported;
  for (const NetworkCase& each : cases) {
    Bundle bundle = MakeBundle(std::span(&each, 1));
    if (const Status status = InferShapes(bundle.graph); !status.ok()) {
      ADD_FAILURE() << each.name << ": the test's graph is wrong: " << status.ToString();
      continue;
    }
    std::string declined;
    for (const Node& node : bundle.graph.nodes) {
      const Status status = (*TheDevice())->Supports(bundle.graph, node);
      if (!status.ok()) declined += " " + node.op + ": " + status.message();
    }
    if (declined.empty()) {
      supported.push_back(each);
    } else {
      std::cout << "  declined: " << each.name << ":" << declined << "\n";
    }
  }
  return supported;
}

/// Consecutive cases of one kind: as many as one program takes.
struct Bunch {
  std::string name;
  std::vector<NetworkCase> cases;
};
void PrintTo(const Bunch& bunch, std::ostream* out) { *out << bunch.name; }

std::vector<Bunch> Bunches() {
  const struct {
    const char* kind;
    std::vector<NetworkCase> cases;
    size_t at_once;
  } kinds[] = {
      {"Elementwise", ElementwiseCases(), 30},
      {"Movement", MovementCases(), 12},
      {"Features", FeatureCases(), 12},
      {"Layers", LayerCases(), 12},
      {"Recurrent", RecurrentCases(), 6},
      // One by one: an int8 or f16 layer changes how TensorRT computes the others of its network.
      {"Quantized", QuantizedCases(), 1},
  };
  std::vector<Bunch> bunches;
  for (const auto& [kind, cases, at_once] : kinds) {
    for (size_t first = 0; first < cases.size(); first += at_once) {
      const auto begin = cases.begin() + static_cast<ptrdiff_t>(first);
      const auto end =
          cases.begin() + static_cast<ptrdiff_t>(std::min(first + at_once, cases.size()));
      bunches.push_back({kind + std::to_string(first / at_once), {begin, end}});
    }
  }
  return bunches;
}

/// One test a bunch, so that a run may take a part of them: --gtest_filter, GTEST_TOTAL_SHARDS.
class TensorRtNetwork : public testing::TestWithParam<Bunch> {};

TEST_P(TensorRtNetwork, ComputesTheSame) {
  SKIP_WITHOUT_DEVICE();
  const std::vector<NetworkCase> cases = Supported(GetParam().cases);
  std::cout << "  " << cases.size() << " of " << GetParam().cases.size() << " cases run\n";
  if (cases.empty()) GTEST_SKIP() << "the device declines all of them";
  if (RunBundle(cases)) return;
  std::cout << "  one of these is refused, each is built alone\n";
  for (const NetworkCase& each : cases) RunBundle(std::span(&each, 1));
}

INSTANTIATE_TEST_SUITE_P(Cases, TensorRtNetwork, testing::ValuesIn(Bunches()),
                         [](const auto& bunch) { return bunch.param.name; });

/// Parts of what the device supports and of what it does not, as large as they can be: golden
/// models are small, and PartitionGraph would leave them on the host.
std::vector<Part> AllSupportedParts(const Graph& graph) {
  std::vector<Part> parts;
  std::set<ValueId> known(graph.inputs.begin(), graph.inputs.end());
  std::vector<bool> done(graph.nodes.size(), false);
  const auto ready = [&](const Node& node) {
    return std::ranges::all_of(node.inputs, [&](ValueId id) {
      return id == kNoValue || graph.constant(id) != nullptr || known.contains(id);
    });
  };
  size_t left = graph.nodes.size();
  for (bool on_device = true; left > 0; on_device = !on_device) {
    Part part{.on_device = on_device, .nodes = {}};
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      if (done[i] || !ready(node)) continue;
      if ((*TheDevice())->Supports(graph, node).ok() != on_device) continue;
      done[i] = true;
      --left;
      known.insert(node.outputs.begin(), node.outputs.end());
      part.nodes.push_back(static_cast<int32_t>(i));
    }
    if (!part.nodes.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

/// The values of a graph for its inputs.
Result<std::vector<Constant>> EvaluateValues(Graph graph, std::span<const ValueId> values,
                                             std::span<const TensorView> inputs) {
  graph.outputs.assign(values.begin(), values.end());
  return Evaluate(graph, inputs);
}

/// Smaller parts are what the cases above have.
constexpr size_t kLeastNodes = 3;

/// Runs the device's parts of one model; returns how many.
int RunModel(const std::filesystem::path& file) {
  const auto model = ImportOnnx(file);
  if (!model.ok()) {
    ADD_FAILURE() << model.status().ToString();
    return 0;
  }
  Graph graph = model->graph;
  const auto passes = RunPasses(graph, {});
  auto path = file;
  const auto arrays = ReadNpz(path.replace_extension(".inputs.npz"));
  if (!passes.ok() || !arrays.ok()) {
    ADD_FAILURE() << (passes.ok() ? arrays.status() : passes.status()).ToString();
    return 0;
  }
  std::vector<TensorView> inputs;
  for (const ValueId id : graph.inputs) {
    const auto found = arrays->find(graph.value(id).name);
    if (found == arrays->end()) {
      ADD_FAILURE() << "no array '" << graph.value(id).name << "'";
      return 0;
    }
    inputs.push_back(found->second.view());
  }
  const bool is_quantized = std::ranges::any_of(
      graph.nodes, [](const Node& node) { return node.op.ends_with("QuantizeLinear"); });
  const std::vector<Part> parts = AllSupportedParts(graph);
  const auto extracted = ExtractParts(graph, parts);
  if (!extracted.ok()) {
    ADD_FAILURE() << extracted.status().ToString();
    return 0;
  }
  int run = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const PartGraph& part = (*extracted)[i];
    if (!parts[i].on_device || part.outputs.empty()) continue;
    if (part.graph.nodes.size() < kLeastNodes) continue;
    const std::string what = "part " + std::to_string(i) + " of " + std::to_string(parts.size()) +
                             ", " + std::to_string(part.graph.nodes.size()) + " nodes";
    SCOPED_TRACE(what);
    const auto given = EvaluateValues(graph, part.inputs, inputs);
    const auto want = EvaluateValues(graph, part.outputs, inputs);
    if (!given.ok() || !want.ok()) {
      ADD_FAILURE() << (given.ok() ? want.status() : given.status()).ToString();
      continue;
    }
    const auto got = RunOnDevice(part.graph, Views(*given));
    if (!got.ok()) {
      ADD_FAILURE() << got.status().ToString();
      continue;
    }
    ++run;
    for (size_t output = 0; output < want->size() && output < got->size(); ++output) {
      // Quantized: a quotient next to a half may be rounded to the other side.
      EXPECT_EQ(Compare((*want)[output].view(), (*got)[output].view(), is_quantized ? 2e-2 : 1e-5),
                "")
          << "'" << graph.value(part.outputs[output]).name << "'";
    }
  }
  return run;
}

std::vector<std::filesystem::path> GoldenModels() {
  auto folder = std::filesystem::path(VERDICT_SOURCE_DIR) / "tests/golden";
  // A program that was carried to the card's machine runs in a checkout there.
  if (!std::filesystem::exists(folder)) folder = "tests/golden";
  std::set<std::filesystem::path> files;
  if (!std::filesystem::exists(folder)) return {};
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".onnx") files.insert(entry.path());
  }
  return {files.begin(), files.end()};
}

/// One test a model.
class TensorRtNetworkModel : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(TensorRtNetworkModel, ComputesTheSame) {
  SKIP_WITHOUT_DEVICE();
  if (RunModel(GetParam()) == 0) GTEST_SKIP() << "no part of it is worth a program";
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TensorRtNetworkModel);
INSTANTIATE_TEST_SUITE_P(Golden, TensorRtNetworkModel, testing::ValuesIn(GoldenModels()),
                         [](const auto& model) { return model.param.stem().string(); });

}  // namespace
}  // namespace verdict::tensorrt
