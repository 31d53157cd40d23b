#include "onnx/export.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/terminal_text.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

struct Flags {
  std::string engine, onnx, target;
};

struct Source {
  Graph graph;
  std::map<std::string, std::string> metadata;
};

/// An engine's graph as its passes left it, or a model's as it was imported.
Result<Source> ReadSource(const Flags& flags) {
  if (!flags.engine.empty()) {
    VERDICT_ASSIGN_OR_RETURN(EngineContents contents, ReadEngineFile(flags.engine));
    return Source{std::move(contents.graph), std::move(contents.metadata)};
  }
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  return Source{std::move(model.graph), std::move(model.metadata)};
}

/// What the model's own author wrote into its metadata; the importer marks it so.
std::map<std::string, std::string> Properties(const Source& source) {
  constexpr std::string_view kPrefix = "property.";
  std::map<std::string, std::string> properties;
  for (const auto& [key, value] : source.metadata) {
    if (key.starts_with(kPrefix)) properties[key.substr(kPrefix.size())] = value;
  }
  return properties;
}

Status Export(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const auto target,
                           CheckTarget("--qdq", flags.target,
                                       {{"the engine", flags.engine}, {"the model", flags.onnx}}));
  const std::string& file = flags.engine.empty() ? flags.onnx : flags.engine;
  VERDICT_ASSIGN_OR_RETURN(const Source source, ReadSource(flags));
  const auto bytes = ExportOnnx(
      source.graph, {.producer_version = VERDICT_VERSION, .properties = Properties(source)});
  if (!bytes.ok()) return bytes.status().WithContext(file);
  const std::array<std::span<const std::byte>, 1> parts = {std::as_bytes(std::span(*bytes))};
  VERDICT_RETURN_IF_ERROR(WriteFileAtomically(target, parts));
  const auto quantized =
      std::ranges::count(source.graph.nodes, std::string("QuantizeLinear"), &Node::op);
  std::printf("%s: %zu bytes, ai.onnx 17, %zu nodes of %s, %td of which quantize\n",
              TerminalText(flags.target).c_str(), bytes->size(), source.graph.nodes.size(),
              TerminalText(file).c_str(), quantized);
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("--engine", flags->engine, "an engine file: its graph, after the passes")
      ->type_name("FILE");
  app.add_option("--onnx", flags->onnx, "or a model, as it is imported")->type_name("FILE");
  app.add_option("--qdq", flags->target, "where the ONNX model goes")
      ->required()
      ->type_name("FILE");
  app.parse_complete_callback([flags] {
    if (flags->engine.empty() == flags->onnx.empty()) {
      throw CLI::ValidationError("give either --engine or --onnx");
    }
  });
  return [flags] { return Export(*flags); };
}

}  // namespace

const Subcommand kExportCommand = {.name = "export",
                                   .summary = "Writes an ONNX model, quantization as Q/DQ nodes.",
                                   .example = "  verdict export --engine m.engine --qdq m.qdq.onnx",
                                   .declare = Declare};

}  // namespace verdict
