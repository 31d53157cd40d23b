#pragma once

// Small graphs, one or more for each operator that has layers in TensorRT: builders_test.cc asks
// whether they are supported, network_test.cc runs them on the device.
#include <string>
#include <vector>

#include "ir/graph.h"

namespace verdict::tensorrt {

struct CaseInput {
  enum Kind { kNone, kFree, kConstant };
  Kind kind = kNone;
  Constant value;
  int symbol_axis = -1;  // of a free input: the axis whose extent is a symbol; -1: all known
};

/// A graph input whose extent of that axis is the case's symbol.
inline CaseInput X(Constant value, int axis = 0) {
  return {CaseInput::kFree, std::move(value), axis};
}
/// A graph input of a known shape.
inline CaseInput Fixed(Constant value) { return {CaseInput::kFree, std::move(value), -1}; }
inline CaseInput C(Constant value) { return {CaseInput::kConstant, std::move(value), -1}; }
inline CaseInput None() { return {}; }

/// Inputs and outputs by name; "" is left out. The case's inputs are "x0", "x1", ….
struct CaseNode {
  std::string op;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  Attributes attributes;
};

struct NetworkCase {
  std::string name;
  std::vector<CaseInput> inputs;
  std::vector<CaseNode> nodes;
  std::vector<std::string> outputs;
  double tolerance = 1e-5;  // relative and absolute; wider ones say why
};

/// A case of one node.
NetworkCase One(std::string op, std::vector<CaseInput> inputs, Attributes attributes = {},
                size_t num_outputs = 1);
NetworkCase Named(std::string name, NetworkCase network_case);
NetworkCase Within(double tolerance, NetworkCase network_case);

std::vector<NetworkCase> ElementwiseCases();
std::vector<NetworkCase> MovementCases();
std::vector<NetworkCase> FeatureCases();
std::vector<NetworkCase> LayerCases();
std::vector<NetworkCase> RecurrentCases();
std::vector<NetworkCase> QuantizedCases();

/// Adds the case to a graph; `prefix` makes its names unique. Its free inputs become graph inputs,
/// in order, and its outputs graph outputs. Shapes are not inferred yet.
void AddCase(const NetworkCase& network_case, const std::string& prefix, Graph& graph);

}  // namespace verdict::tensorrt
