#include "onnx/import.h"

// Any bytes are a model or an error. Seeds: tests/golden/*.onnx.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto model = verdict::ImportOnnxBytes(bytes, /*folder=*/"", "fuzz");
  if (!model.ok() && model.status().code() == verdict::StatusCode::kInternal) __builtin_trap();
  return 0;
}
