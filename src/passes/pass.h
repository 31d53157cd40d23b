#pragma once

#include <string_view>

#include "ir/graph.h"

namespace verdict {

/// One rewrite of the graph that keeps what it computes.
struct Pass {
  std::string_view name;     // as --disable-pass takes it
  std::string_view summary;  // one line, for who asks which passes there are
  /// Returns whether anything changed. Types and shapes of new values may be left to shape
  /// inference, which the pipeline runs, with the verifier, after every pass that changed
  /// something.
  Result<bool> (*run)(Graph& graph);
};

// One rewrite a file; compile/pipeline.cc says in which order they run, and why.
extern const Pass kEliminateDeadCode;
extern const Pass kEliminateCommonSubexpressions;
extern const Pass kFoldConstants;
extern const Pass kRemoveNoOps;
extern const Pass kFuseAttention;
extern const Pass kFuseGelu;
extern const Pass kFuseLayerNorm;
extern const Pass kFuseGemmBias;
extern const Pass kFoldBatchNorm;
extern const Pass kFoldScaler;
extern const Pass kFuseGemmActivation;

}  // namespace verdict
