#include <cstdio>
#include <memory>

#include "engine/dump.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

struct Flags {
  std::string file;
  bool json = false;
};

Result<EngineContents> ReadContents(const std::string& file) {
  VERDICT_ASSIGN_OR_RETURN(const bool is_engine, IsEngineFile(file));
  if (is_engine) return ReadEngineFile(file);
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(file));
  EngineContents contents;
  contents.graph = std::move(model.graph);
  contents.metadata = std::move(model.metadata);
  return contents;
}

Status Inspect(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const EngineContents contents, ReadContents(flags.file));
  const std::string text = flags.json ? DumpJson(contents) + "\n" : DumpText(contents);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("file", flags->file, "an ONNX model or an engine")->required()->type_name("FILE");
  app.add_flag("--json", flags->json, "one line of JSON, for programs");
  return [flags] { return Inspect(*flags); };
}

}  // namespace

const Subcommand kInspectCommand = {.name = "inspect",
                                    .summary = "Shows a model's or engine's inputs, nodes, memory.",
                                    .example =
                                        "  verdict inspect m.engine\n"
                                        "  verdict inspect m.engine --json | python3 -m json.tool",
                                    .declare = Declare};

}  // namespace verdict
