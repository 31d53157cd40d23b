#pragma once

// The classes generated from third_party/onnx/onnx-ml.proto. Only files of this folder include it:
// nothing of protobuf leaves it.
#include "onnx-ml.pb.h"
