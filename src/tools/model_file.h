#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <string>

#include "compile/compile.h"
#include "onnx/import.h"
#include "runtime/engine.h"

namespace verdict {

/// True if the file begins as an engine file does, or is named like one: anything else is taken for
/// ONNX. Errors: kNotFound, kInvalidArgument (not a regular file), kUnavailable.
Result<bool> IsEngineFile(const std::filesystem::path& path);

/// Compiles an imported model. path: of the ONNX file, for messages and metadata. The metadata
/// hold the model's own and what made the engine; nothing that differs between two builds of the
/// same file. Errors: as Compile, naming the file.
Result<CompileResult> CompileImported(ImportedModel model, const std::filesystem::path& path,
                                      const CompileOptions& options);

/// A flag whose value ParseShapes must accept; what it refuses is a usage error.
CLI::Option* AddShapesFlag(CLI::App& app, const std::string& flag, std::string& text,
                           const std::string& description);

/// "x f32[N,30]", fit for a terminal.
std::string TensorText(const Graph& graph, ValueId id);

}  // namespace verdict
