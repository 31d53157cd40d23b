#include "tools/model_file.h"

#include <array>
#include <cstring>

#include "base/file.h"
#include "base/sha256.h"
#include "base/terminal_text.h"
#include "plan/profile.h"

namespace verdict {

Result<bool> IsEngineFile(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  constexpr std::string_view kMagic("VERDICT\0", 8);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                              file->bytes().size());
  return text.starts_with(kMagic) || path.extension() == ".engine";
}

Result<CompileResult> CompileImported(ImportedModel model, const std::filesystem::path& path,
                                      const CompileOptions& options) {
  auto compiled = Compile(std::move(model.graph), options);
  if (!compiled.ok()) return compiled.status().WithContext(path.string());
  auto& metadata = compiled->contents.metadata;
  metadata = std::move(model.metadata);
  metadata["builder"] = "verdict " VERDICT_VERSION;
  metadata["source"] = path.filename().string();
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const std::array<std::span<const std::byte>, 1> parts = {file->bytes()};
  metadata["source_sha256"] = ToHex(Sha256(parts));
  return compiled;
}

CLI::Option* AddShapesFlag(CLI::App& app, const std::string& flag, std::string& text,
                           const std::string& description) {
  const auto check = [](const std::string& value) {
    const auto shapes = ParseShapes(value);
    return shapes.ok() ? std::string() : shapes.status().message();
  };
  return app.add_option(flag, text, description)->type_name("SHAPES")->check(check);
}

std::string TensorText(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  return TerminalText(value.name + " " + std::string(DataTypeName(value.dtype)) +
                      graph.ShapeText(value.shape));
}

}  // namespace verdict
