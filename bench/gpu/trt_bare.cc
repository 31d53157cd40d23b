// TensorRT as its users run it, without Verdict: builds a plan from ONNX with TensorRT's own
// parser, and times it from pinned memory to pinned memory, enqueued and as a CUDA graph.
//
//   trt_bare build --onnx M.onnx --plan M.plan --min x:1x30 --opt x:32x30 --max x:128x30 [--fp16]
//                  [--no-tf32] [--timing-cache FILE]
//   trt_bare time --plan M.plan [--duration S] [--tolerance T] [--streams N,N,…]
//                 --case LABEL --input x:8x30:FILE --expect score:FILE [--case …]
//
// Files hold the raw values of a tensor: float32, int64 or bool as ONNX has them. Outputs are held
// to --expect (float32) before a case is timed. Prints one line of JSON.
//
// Links no library of NVIDIA's; opens libcuda.so.1, libnvinfer.so.8 and libnvonnxparser.so.8. To
// build it against headers of the 8.5 SDK and of the CUDA runtime:
//   g++ -std=c++20 -O2 -Wall -Wextra -Werror -isystem SDK/include -isystem CUDA/include
//       -o trt_bare trt_bare.cc -ldl -pthread
#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using Bytes = std::vector<char>;
using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "trt_bare: %s\n", why.c_str());
  std::exit(1);
}

class Logger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "TensorRT: %s\n", message);
  }
};
Logger logger;

void* Symbol(const char* library, const char* name) {
  // Lazily: the parser names the plugin library, and that one cuDNN, which need not be there.
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_GLOBAL);
  if (handle == nullptr) Fail(::dlerror());
  void* symbol = ::dlsym(handle, name);
  if (symbol == nullptr) Fail(std::string(library) + " has no " + name);
  return symbol;
}

template <typename Function>
Function Load(const char* library, const char* name) {
  return reinterpret_cast<Function>(Symbol(library, name));
}

/// The driver's functions that are needed, under the names that the header's macros give them.
struct Driver {
#define DRIVER_NAME2(name) #name
#define DRIVER_NAME(name) DRIVER_NAME2(name)
#define DRIVER_FUNCTION(member, name) \
  decltype(&name) member = Load<decltype(&name)>("libcuda.so.1", DRIVER_NAME(name))
  DRIVER_FUNCTION(init, cuInit);
  DRIVER_FUNCTION(retain, cuDevicePrimaryCtxRetain);
  DRIVER_FUNCTION(set_current, cuCtxSetCurrent);
  DRIVER_FUNCTION(alloc, cuMemAlloc);
  DRIVER_FUNCTION(host_alloc, cuMemHostAlloc);
  DRIVER_FUNCTION(to_device, cuMemcpyHtoDAsync);
  DRIVER_FUNCTION(to_host, cuMemcpyDtoHAsync);
  DRIVER_FUNCTION(new_stream, cuStreamCreate);
  DRIVER_FUNCTION(wait, cuStreamSynchronize);
  DRIVER_FUNCTION(begin_capture, cuStreamBeginCapture);
  DRIVER_FUNCTION(end_capture, cuStreamEndCapture);
  DRIVER_FUNCTION(instantiate, cuGraphInstantiateWithFlags);
  DRIVER_FUNCTION(launch, cuGraphLaunch);
#undef DRIVER_FUNCTION

  Driver() {
    if (init(0) != CUDA_SUCCESS) Fail("cuInit failed: no GPU or driver");
    if (retain(&context_, 0) != CUDA_SUCCESS) Fail("the GPU gives no context");
    Enter();
  }
  void Enter() const {
    if (set_current(context_) != CUDA_SUCCESS) Fail("the context cannot be entered");
  }

 private:
  CUcontext context_ = nullptr;
};

void Check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS) Fail(std::string(what) + ": CUDA error " + std::to_string(result));
}

Bytes ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(path + " cannot be read");
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

void WriteFile(const std::string& path, const void* data, size_t size) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
  if (!file.flush()) Fail(path + " cannot be written");
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// "8x30".
nvinfer1::Dims ParseDims(const std::string& text) {
  nvinfer1::Dims dims{};
  for (const std::string& part : Split(text, 'x')) dims.d[dims.nbDims++] = std::stoi(part);
  return dims;
}

size_t Count(const nvinfer1::Dims& dims) {
  size_t count = 1;
  for (int i = 0; i < dims.nbDims; ++i) count *= static_cast<size_t>(std::max(dims.d[i], 0));
  return count;
}

size_t ElementBytes(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
    case nvinfer1::DataType::kINT32:
      return 4;
    case nvinfer1::DataType::kHALF:
      return 2;
    default:
      return 1;
  }
}

struct Input {
  std::string name;
  nvinfer1::Dims dims;
  Bytes bytes;
};
struct Expected {
  std::string name;
  Bytes bytes;
};
struct Case {
  std::string label;
  std::vector<Input> inputs;
  std::vector<Expected> outputs;
};

struct Flags {
  std::string onnx, plan, timing_cache, min, opt, max;
  bool fp16 = false, tf32 = true;
  double duration_s = 0.5, tolerance = 1e-4;
  std::vector<size_t> streams = {1};
  std::vector<Case> cases;
};

int Build(const Flags& flags) {
  using nvinfer1::OptProfileSelector;
  const auto create = Load<decltype(&createInferBuilder_INTERNAL)>("libnvinfer.so.8",
                                                                   "createInferBuilder_INTERNAL");
  const std::unique_ptr<nvinfer1::IBuilder> builder(
      static_cast<nvinfer1::IBuilder*>(create(&logger, NV_TENSORRT_VERSION)));
  if (!builder) Fail("TensorRT gives no builder");
  const std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(
      1U << static_cast<int>(nvinfer1::NetworkDefinitionCreationFlag::kEXPLICIT_BATCH)));
  const auto create_parser = Load<decltype(&createNvOnnxParser_INTERNAL)>(
      "libnvonnxparser.so.8", "createNvOnnxParser_INTERNAL");
  const std::unique_ptr<nvonnxparser::IParser> parser(static_cast<nvonnxparser::IParser*>(
      create_parser(network.get(), &logger, NV_ONNX_PARSER_VERSION)));
  if (!parser) Fail("TensorRT gives no ONNX parser");
  if (!parser->parseFromFile(flags.onnx.c_str(), 0)) {
    Fail(flags.onnx + ": the parser: " +
         (parser->getNbErrors() > 0 ? parser->getError(0)->desc() : "no reason given"));
  }
  const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  auto* profile = builder->createOptimizationProfile();
  const std::pair<OptProfileSelector, std::string> shapes[] = {
      {OptProfileSelector::kMIN, flags.min},
      {OptProfileSelector::kOPT, flags.opt},
      {OptProfileSelector::kMAX, flags.max}};
  for (const auto& [selector, text] : shapes) {
    for (const std::string& of_input : Split(text, ',')) {
      const size_t colon = of_input.rfind(':');
      profile->setDimensions(of_input.substr(0, colon).c_str(), selector,
                             ParseDims(of_input.substr(colon + 1)));
    }
  }
  if (config->addOptimizationProfile(profile) < 0) Fail("the profile's shapes are not the model's");
  if (flags.fp16) config->setFlag(nvinfer1::BuilderFlag::kFP16);
  if (!flags.tf32) config->clearFlag(nvinfer1::BuilderFlag::kTF32);
  // No cuDNN: none of these models has a convolution, and the library need not be installed.
  config->setTacticSources(1U << static_cast<int>(nvinfer1::TacticSource::kCUBLAS) |
                           1U << static_cast<int>(nvinfer1::TacticSource::kCUBLAS_LT));
  std::unique_ptr<nvinfer1::ITimingCache> cache;
  if (!flags.timing_cache.empty()) {
    const bool exists = std::ifstream(flags.timing_cache).good();
    const Bytes old = exists ? ReadFile(flags.timing_cache) : Bytes();
    cache.reset(config->createTimingCache(old.data(), old.size()));
    if (cache) config->setTimingCache(*cache, false);
  }
  const auto start = Clock::now();
  const std::unique_ptr<nvinfer1::IHostMemory> plan(
      builder->buildSerializedNetwork(*network, *config));
  if (!plan) Fail(flags.onnx + ": TensorRT builds no engine");
  const std::chrono::duration<double> seconds = Clock::now() - start;
  WriteFile(flags.plan, plan->data(), plan->size());
  if (cache) {
    const std::unique_ptr<nvinfer1::IHostMemory> bytes(config->getTimingCache()->serialize());
    if (bytes) WriteFile(flags.timing_cache, bytes->data(), bytes->size());
  }
  std::printf("{\"seconds\": %.2f, \"bytes\": %zu}\n", seconds.count(), plan->size());
  return 0;
}

/// An engine with a context, a stream, and memory for one case at a time.
class Lane {
 public:
  Lane(const Driver& cuda, nvinfer1::IRuntime& runtime, const Bytes& plan) : cuda_(cuda) {
    engine_.reset(runtime.deserializeCudaEngine(plan.data(), plan.size()));
    if (!engine_) Fail("TensorRT does not take the plan");
    context_.reset(engine_->createExecutionContext());
    if (!context_) Fail("TensorRT gives no execution context: too little memory?");
    Check(cuda_.new_stream(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  }

  /// Binds new memory and captures the graph. What earlier cases held is not given back.
  void Prepare(const Case& of_case) {
    buffers_.clear();
    case_ = &of_case;
    for (const Input& input : of_case.inputs) {
      if (!context_->setInputShape(input.name.c_str(), input.dims)) {
        Fail("input " + input.name + ": the shape is not of the profile");
      }
    }
    for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
      const char* name = engine_->getIOTensorName(i);
      Buffer buffer{.name = name,
                    .is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT,
                    .type = engine_->getTensorDataType(name)};
      const nvinfer1::Dims dims = context_->getTensorShape(name);
      buffer.bytes = std::max<size_t>(1, Count(dims) * ElementBytes(buffer.type));
      Check(cuda_.alloc(&buffer.device, buffer.bytes), "cuMemAlloc");
      Check(cuda_.host_alloc(&buffer.host, buffer.bytes, 0), "cuMemHostAlloc");
      if (buffer.is_input) Fill(buffer);
      context_->setTensorAddress(name, reinterpret_cast<void*>(buffer.device));
      buffers_.push_back(buffer);
    }
    Enqueue();  // the first after a change of shapes may not be captured
    CUgraph graph = nullptr;
    Check(cuda_.begin_capture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capture");
    Submit();
    Check(cuda_.end_capture(stream_, &graph), "end of capture");
    Check(cuda_.instantiate(&graph_, graph, 0), "cuGraphInstantiate");
  }

  void Enqueue() {
    Submit();
    Check(cuda_.wait(stream_), "run");
  }
  void Launch() {
    Check(cuda_.launch(graph_, stream_), "cuGraphLaunch");
    Check(cuda_.wait(stream_), "run");
  }
  /// With inputs written anew, as a program has to that gets them from somewhere.
  void FeedAndLaunch() {
    for (const Buffer& buffer : buffers_) {
      if (buffer.is_input) Fill(buffer);
    }
    Launch();
  }

  /// The largest difference from what is expected, relative plus absolute; infinite if an output
  /// is missing or of another size.
  double Difference(const Case& of_case) const {
    double worst = 0;
    for (const Expected& expected : of_case.outputs) {
      const auto found = std::find_if(buffers_.begin(), buffers_.end(), [&](const Buffer& buffer) {
        return buffer.name == expected.name && !buffer.is_input;
      });
      if (found == buffers_.end() || found->type != nvinfer1::DataType::kFLOAT ||
          found->bytes != expected.bytes.size()) {
        return INFINITY;
      }
      const auto* got = static_cast<const float*>(found->host);
      for (size_t i = 0; i < found->bytes / sizeof(float); ++i) {
        float want = 0;
        std::memcpy(&want, expected.bytes.data() + i * sizeof(float), sizeof(float));
        const double off = std::abs(double{got[i]} - want) / (1 + std::abs(want));
        worst = std::isfinite(off) ? std::max(worst, off) : INFINITY;
      }
    }
    return of_case.outputs.empty() ? INFINITY : worst;
  }

 private:
  struct Buffer {
    std::string name;
    bool is_input = false;
    nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
    size_t bytes = 0;
    CUdeviceptr device = 0;
    void* host = nullptr;
  };

  void Fill(const Buffer& buffer) const {
    for (const Input& input : case_->inputs) {
      if (input.name != buffer.name) continue;
      if (input.bytes.size() == 2 * buffer.bytes && buffer.type == nvinfer1::DataType::kINT32) {
        for (size_t i = 0; i < buffer.bytes / sizeof(int32_t); ++i) {  // int64 has become int32
          int64_t value = 0;
          std::memcpy(&value, input.bytes.data() + i * sizeof(value), sizeof(value));
          static_cast<int32_t*>(buffer.host)[i] = static_cast<int32_t>(value);
        }
        return;
      }
      if (input.bytes.size() != buffer.bytes) Fail("input " + input.name + ": not its size");
      std::memcpy(buffer.host, input.bytes.data(), buffer.bytes);
      return;
    }
    Fail("there is no --input for " + buffer.name);
  }

  void Submit() {
    for (const Buffer& buffer : buffers_) {
      if (!buffer.is_input) continue;
      Check(cuda_.to_device(buffer.device, buffer.host, buffer.bytes, stream_), "copy in");
    }
    if (!context_->enqueueV3(reinterpret_cast<cudaStream_t>(stream_))) Fail("enqueueV3 failed");
    for (const Buffer& buffer : buffers_) {
      if (buffer.is_input) continue;
      Check(cuda_.to_host(buffer.host, buffer.device, buffer.bytes, stream_), "copy out");
    }
  }

  const Driver& cuda_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  CUstream stream_ = nullptr;
  CUgraphExec graph_ = nullptr;
  const Case* case_ = nullptr;
  std::vector<Buffer> buffers_;
};

/// Latencies in us of one run after the other, or with pauses between, for the time; a tenth of it
/// to warm up before.
template <typename Run>
std::vector<double> Sample(double duration_s, Run run, std::chrono::microseconds pause = {}) {
  const auto after = [](double seconds) {
    return Clock::now() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  };
  for (const auto end = after(duration_s / 10); Clock::now() < end;) run();
  std::vector<double> samples;
  for (const auto end = after(duration_s); Clock::now() < end || samples.size() < 10;) {
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    const auto start = Clock::now();
    run();
    samples.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  return samples;
}

void PrintSamples(const char* name, std::vector<double> samples) {
  double total = 0;
  for (const double sample : samples) total += sample;
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[std::min(samples.size() - 1, static_cast<size_t>(share * samples.size()))];
  };
  const double count = static_cast<double>(samples.size());
  std::printf(", \"%s\": {\"p50\": %.2f, \"p99\": %.2f, \"mean\": %.2f, \"runs\": %zu}", name,
              at(0.5), at(0.99), total / count, samples.size());
}

/// Between runs at a light load: about what lies between two requests of bench/gpu/served.py.
constexpr std::chrono::microseconds kPause{800};

/// Runs a second of all lanes, each on a thread of its own.
double Throughput(const Driver& cuda, std::vector<std::unique_ptr<Lane>>& lanes, size_t count,
                  double duration_s, void (Lane::*run)()) {
  std::vector<std::thread> threads;
  std::vector<size_t> runs(count);
  for (size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      cuda.Enter();
      runs[i] = Sample(duration_s, [&] { (*lanes[i].*run)(); }).size();
    });
  }
  for (std::thread& thread : threads) thread.join();
  double total = 0;
  for (const size_t of_lane : runs) total += static_cast<double>(of_lane);
  return total / duration_s;
}

/// The same of each number of lanes.
void PrintThroughputs(const char* name, const Driver& cuda,
                      std::vector<std::unique_ptr<Lane>>& lanes, const Flags& flags,
                      void (Lane::*run)()) {
  std::printf(", \"%s\": {", name);
  for (const size_t& n : flags.streams) {
    std::printf("%s\"%zu\": %.1f", &n == &flags.streams[0] ? "" : ", ", n,
                Throughput(cuda, lanes, n, flags.duration_s, run));
  }
  std::printf("}");
}

int Time(const Flags& flags) {
  const Driver cuda;
  const auto create = Load<decltype(&createInferRuntime_INTERNAL)>("libnvinfer.so.8",
                                                                   "createInferRuntime_INTERNAL");
  const std::unique_ptr<nvinfer1::IRuntime> runtime(
      static_cast<nvinfer1::IRuntime*>(create(&logger, NV_TENSORRT_VERSION)));
  if (!runtime) Fail("TensorRT gives no runtime");
  const Bytes plan = ReadFile(flags.plan);
  // Each has an engine of its own: below 8.6 contexts cannot share a profile.
  std::vector<std::unique_ptr<Lane>> lanes;
  for (size_t i = 0; i < *std::ranges::max_element(flags.streams); ++i) {
    lanes.push_back(std::make_unique<Lane>(cuda, *runtime, plan));
  }
  std::printf("[");
  for (const Case& of_case : flags.cases) {
    for (const auto& lane : lanes) lane->Prepare(of_case);
    Lane& first = *lanes.front();
    first.Launch();
    const double difference = first.Difference(of_case);
    std::printf("%s{\"case\": \"%s\", \"difference\": %.3g",
                &of_case == &flags.cases[0] ? "" : ", ", of_case.label.c_str(),
                std::min(difference, 1e9));  // JSON has no infinity
    if (difference <= flags.tolerance) {
      PrintSamples("enqueue", Sample(flags.duration_s, [&] { first.Enqueue(); }));
      PrintSamples("graph", Sample(flags.duration_s, [&] { first.Launch(); }));
      PrintThroughputs("streams", cuda, lanes, flags, &Lane::Launch);
      if (lanes.size() > 1) {
        PrintThroughputs("fed", cuda, lanes, flags, &Lane::FeedAndLaunch);
        PrintSamples("spaced", Sample(
                                   flags.duration_s, [&] { first.FeedAndLaunch(); }, kPause));
      }
    }
    std::printf("}");
  }
  std::printf("]\n");
  return 0;
}

/// "x:8x30:FILE", "score:FILE": the name may hold colons, the file may not.
Input ParseInput(const std::string& text) {
  const size_t file = text.rfind(':');
  const size_t dims = file == std::string::npos ? file : text.rfind(':', file - 1);
  if (dims == std::string::npos) Fail("--input: '" + text + "' is not NAME:DIMS:FILE");
  return {text.substr(0, dims), ParseDims(text.substr(dims + 1, file - dims - 1)),
          ReadFile(text.substr(file + 1))};
}

Expected ParseExpected(const std::string& text) {
  const size_t file = text.rfind(':');
  if (file == std::string::npos) Fail("--expect: '" + text + "' is not NAME:FILE");
  return {text.substr(0, file), ReadFile(text.substr(file + 1))};
}

/// "1,2,6".
std::vector<size_t> ParseCounts(const std::string& text) {
  std::vector<size_t> counts;
  for (const std::string& word : Split(text, ',')) {
    const int count = std::atoi(word.c_str());
    if (count < 1 || count > 64) Fail("--streams: '" + word + "' is not a number of 1 to 64");
    counts.push_back(static_cast<size_t>(count));
  }
  if (counts.empty()) Fail("--streams wants numbers");
  return counts;
}

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--fp16" || flag == "--no-tf32") {
      (flag == "--fp16" ? flags.fp16 : flags.tf32) = flag == "--fp16";
      continue;
    }
    if (i + 1 == argc) Fail(flag + " lacks its value");
    const std::string value = argv[++i];
    if ((flag == "--input" || flag == "--expect") && flags.cases.empty()) {
      Fail(flag + " stands before the first --case");
    }
    if (flag == "--onnx")
      flags.onnx = value;
    else if (flag == "--plan")
      flags.plan = value;
    else if (flag == "--timing-cache")
      flags.timing_cache = value;
    else if (flag == "--min")
      flags.min = value;
    else if (flag == "--opt")
      flags.opt = value;
    else if (flag == "--max")
      flags.max = value;
    else if (flag == "--duration")
      flags.duration_s = std::stod(value);
    else if (flag == "--tolerance")
      flags.tolerance = std::stod(value);
    else if (flag == "--streams")
      flags.streams = ParseCounts(value);
    else if (flag == "--case")
      flags.cases.push_back({value, {}, {}});
    else if (flag == "--input")
      flags.cases.back().inputs.push_back(ParseInput(value));
    else if (flag == "--expect")
      flags.cases.back().outputs.push_back(ParseExpected(value));
    else
      Fail("unknown flag " + flag);
  }
  return flags;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "build") return Build(ParseFlags(argc, argv));
  if (command == "time") return Time(ParseFlags(argc, argv));
  Fail("what to do: build or time");
}
