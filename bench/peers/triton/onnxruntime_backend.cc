// A Triton backend that runs <model>/<version>/model.onnx with ONNX Runtime: the peer that Triton's
// own onnxruntime_backend would be, which the package with Triton's binary lacks. One session of
// one thread an instance; requests that Triton hands over together run as one batch. Models have
// float32 inputs and float32 or int64 outputs, the first axis of each being the batch.

#include <cstring>
#include <string>
#include <vector>

#include "onnxruntime_api.h"
#include "triton_api.h"

namespace {

/// Makes the enclosing function return the error of a call to Triton, if it has one.
#define RETURN_IF_TRITON_ERROR(call) \
  if (TRITONSERVER_Error* triton_error = (call); triton_error != nullptr) return triton_error

/// The same of a call to ONNX Runtime.
#define RETURN_IF_ORT_ERROR(call)                     \
  if (std::string message = (call); !message.empty()) \
  return TRITONSERVER_ErrorNew(kTritonInternal, message.c_str())

/// A model's session, and buffers that keep their size from batch to batch.
struct Instance {
  ort::Handle session = nullptr;
  ort::Handle memory_info = nullptr;
  std::vector<const char*> inputs;   // names
  std::vector<const char*> outputs;  // names
  std::vector<std::vector<char>> gathered;
};

/// A value that ONNX Runtime made, released at the end of its scope.
class Value {
 public:
  Value() = default;
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() {
    if (handle != nullptr) ort::Release(ort::kReleaseValue, handle);
  }
  ort::Handle handle = nullptr;
};

struct Tensor {
  char* data = nullptr;
  TRITONSERVER_DataType type = kTritonFp32;
  std::vector<int64_t> shape;
  uint64_t row_bytes = 0;
};

TRITONSERVER_Error* Load(TRITONBACKEND_ModelInstance* triton_instance, Instance* instance) {
  TRITONBACKEND_Model* model = nullptr;
  TRITONBACKEND_ArtifactType type = kTritonFilesystem;
  const char* location = nullptr;
  uint64_t version = 0;
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_ModelInstanceModel(triton_instance, &model));
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_ModelRepository(model, &type, &location));
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_ModelVersion(model, &version));
  const std::string path = std::string(location) + "/" + std::to_string(version) + "/model.onnx";

  // One for the process, as ONNX Runtime asks; it lives as long as the server.
  static ort::Handle env = nullptr;
  if (env == nullptr) {
    RETURN_IF_ORT_ERROR(ort::Call(ort::kCreateEnv, ort::kLogWarning, "triton", &env));
  }
  ort::Handle options = nullptr;
  RETURN_IF_ORT_ERROR(ort::Call(ort::kCreateSessionOptions, &options));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kSetIntraOpNumThreads, options, 1));
  RETURN_IF_ORT_ERROR(
      ort::Call(ort::kCreateSession, env, path.c_str(), options, &instance->session));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kCreateCpuMemoryInfo, ort::kDeviceAllocator,
                                ort::kMemoryDefault, &instance->memory_info));

  ort::Handle allocator = nullptr;
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetAllocatorWithDefaultOptions, &allocator));
  size_t inputs = 0;
  size_t outputs = 0;
  RETURN_IF_ORT_ERROR(ort::Call(ort::kSessionGetInputCount, instance->session, &inputs));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kSessionGetOutputCount, instance->session, &outputs));
  instance->inputs.resize(inputs);
  instance->outputs.resize(outputs);
  instance->gathered.resize(inputs);
  for (size_t i = 0; i < inputs; ++i) {
    RETURN_IF_ORT_ERROR(ort::Call(ort::kSessionGetInputName, instance->session, i, allocator,
                                  &instance->inputs[i]));
  }
  for (size_t i = 0; i < outputs; ++i) {
    RETURN_IF_ORT_ERROR(ort::Call(ort::kSessionGetOutputName, instance->session, i, allocator,
                                  &instance->outputs[i]));
  }
  return nullptr;
}

/// Appends the input's bytes to `gathered`. shape: the first request's; later ones add rows to it.
TRITONSERVER_Error* Gather(TRITONBACKEND_Request* request, const char* name,
                           std::vector<char>* gathered, std::vector<int64_t>* shape,
                           int64_t* rows) {
  TRITONBACKEND_Input* input = nullptr;
  TRITONSERVER_DataType type = kTritonFp32;
  const int64_t* dims = nullptr;
  uint32_t rank = 0;
  uint64_t bytes = 0;
  uint32_t buffers = 0;
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_RequestInput(request, name, &input));
  RETURN_IF_TRITON_ERROR(
      TRITONBACKEND_InputProperties(input, nullptr, &type, &dims, &rank, &bytes, &buffers));
  if (type != kTritonFp32 || rank == 0) {
    return TRITONSERVER_ErrorNew(kTritonInternal, "only float32 inputs with a batch axis");
  }
  *rows = dims[0];
  if (shape->empty()) {
    shape->assign(dims, dims + rank);
  } else {
    (*shape)[0] += dims[0];
  }
  for (uint32_t i = 0; i < buffers; ++i) {
    const void* data = nullptr;
    TRITONSERVER_MemoryType memory = kTritonCpu;
    int64_t memory_id = 0;
    RETURN_IF_TRITON_ERROR(TRITONBACKEND_InputBuffer(input, i, &data, &bytes, &memory, &memory_id));
    const auto* first = static_cast<const char*>(data);
    gathered->insert(gathered->end(), first, first + bytes);
  }
  return nullptr;
}

TRITONSERVER_Error* Describe(ort::Handle value, Tensor* tensor) {
  ort::Handle info = nullptr;
  int type = 0;
  size_t rank = 0;
  void* data = nullptr;
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetTensorMutableData, value, &data));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetTensorTypeAndShape, value, &info));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetTensorElementType, info, &type));
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetDimensionsCount, info, &rank));
  tensor->shape.resize(rank);
  RETURN_IF_ORT_ERROR(ort::Call(ort::kGetDimensions, info, tensor->shape.data(), rank));
  ort::Release(ort::kReleaseTensorTypeAndShapeInfo, info);
  if (rank == 0 || (type != ort::kFloat && type != ort::kInt64)) {
    return TRITONSERVER_ErrorNew(kTritonInternal,
                                 "only float32 or int64 outputs with a batch axis");
  }
  tensor->data = static_cast<char*>(data);
  tensor->type = type == ort::kFloat ? kTritonFp32 : kTritonInt64;
  tensor->row_bytes = type == ort::kFloat ? 4 : 8;
  for (size_t i = 1; i < rank; ++i) tensor->row_bytes *= tensor->shape[i];
  return nullptr;
}

TRITONSERVER_Error* RunBatch(Instance* instance, TRITONBACKEND_Request** requests, uint32_t count,
                             std::vector<int64_t>* rows, std::vector<Value>* values,
                             std::vector<Tensor>* outputs) {
  std::vector<Value> inputs(instance->inputs.size());
  std::vector<ort::Handle> in(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<char>& gathered = instance->gathered[i];
    gathered.clear();
    std::vector<int64_t> shape;
    for (uint32_t r = 0; r < count; ++r) {
      RETURN_IF_TRITON_ERROR(
          Gather(requests[r], instance->inputs[i], &gathered, &shape, &(*rows)[r]));
    }
    RETURN_IF_ORT_ERROR(ort::Call(ort::kCreateTensorWithData, instance->memory_info,
                                  static_cast<void*>(gathered.data()), gathered.size(),
                                  shape.data(), shape.size(), static_cast<int>(ort::kFloat),
                                  &inputs[i].handle));
    in[i] = inputs[i].handle;
  }
  std::vector<ort::Handle> out(instance->outputs.size());
  RETURN_IF_ORT_ERROR(ort::Call(ort::kRun, instance->session, nullptr, instance->inputs.data(),
                                in.data(), in.size(), instance->outputs.data(), out.size(),
                                out.data()));
  for (size_t i = 0; i < out.size(); ++i) (*values)[i].handle = out[i];
  for (size_t i = 0; i < out.size(); ++i) {
    RETURN_IF_TRITON_ERROR(Describe(out[i], &(*outputs)[i]));
  }
  return nullptr;
}

/// Copies rows [first, first + rows) of the outputs that the request asks for into the response.
TRITONSERVER_Error* Answer(const Instance& instance, TRITONBACKEND_Request* request,
                           TRITONBACKEND_Response* response, const std::vector<Tensor>& outputs,
                           int64_t first, int64_t rows) {
  uint32_t wanted = 0;
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_RequestOutputCount(request, &wanted));
  for (uint32_t i = 0; i < wanted; ++i) {
    const char* name = nullptr;
    RETURN_IF_TRITON_ERROR(TRITONBACKEND_RequestOutputName(request, i, &name));
    for (size_t o = 0; o < outputs.size(); ++o) {
      if (std::strcmp(name, instance.outputs[o]) != 0) continue;
      std::vector<int64_t> shape = outputs[o].shape;
      shape[0] = rows;
      TRITONBACKEND_Output* output = nullptr;
      void* buffer = nullptr;
      TRITONSERVER_MemoryType memory = kTritonCpu;
      int64_t memory_id = 0;
      const uint64_t bytes = outputs[o].row_bytes * rows;
      RETURN_IF_TRITON_ERROR(TRITONBACKEND_ResponseOutput(response, &output, name, outputs[o].type,
                                                          shape.data(), shape.size()));
      RETURN_IF_TRITON_ERROR(
          TRITONBACKEND_OutputBuffer(output, &buffer, bytes, &memory, &memory_id));
      std::memcpy(buffer, outputs[o].data + outputs[o].row_bytes * first, bytes);
    }
  }
  return nullptr;
}

}  // namespace

extern "C" {

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) {
  auto* state = new Instance;
  if (TRITONSERVER_Error* error = Load(instance, state); error != nullptr) return error;
  return TRITONBACKEND_ModelInstanceSetState(instance, state);
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance*) {
  return nullptr;  // the process ends with its models
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* triton_instance,
                                                       TRITONBACKEND_Request** requests,
                                                       const uint32_t count) {
  void* state = nullptr;
  RETURN_IF_TRITON_ERROR(TRITONBACKEND_ModelInstanceState(triton_instance, &state));
  auto* instance = static_cast<Instance*>(state);
  std::vector<int64_t> rows(count, 0);
  std::vector<Value> values(instance->outputs.size());
  std::vector<Tensor> outputs(instance->outputs.size());
  TRITONSERVER_Error* failure = RunBatch(instance, requests, count, &rows, &values, &outputs);
  // An error returned here leaves the requests to Triton, which answers them with it.
  if (failure != nullptr) return failure;
  int64_t first = 0;
  for (uint32_t r = 0; r < count; ++r) {
    TRITONBACKEND_Response* response = nullptr;
    RETURN_IF_TRITON_ERROR(TRITONBACKEND_ResponseNew(&response, requests[r]));
    TRITONSERVER_Error* error = Answer(*instance, requests[r], response, outputs, first, rows[r]);
    RETURN_IF_TRITON_ERROR(TRITONBACKEND_ResponseSend(response, kTritonResponseFinal, error));
    RETURN_IF_TRITON_ERROR(TRITONBACKEND_RequestRelease(requests[r], kTritonReleaseAll));
    first += rows[r];
  }
  return nullptr;
}

}  // extern "C"
