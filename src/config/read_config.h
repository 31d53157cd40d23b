#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/config_key.h"
#include "config/config_scalar.h"
#include "config/yaml_tree.h"

namespace verdict {

/// What is wrong with a configuration: all of it, so that one look suffices to mend it.
class ConfigProblems {
 public:
  /// file: stands before the line and column in messages.
  explicit ConfigProblems(std::string file) : file_(std::move(file)) {}

  /// "file:line:column: key 'path': what"; without a line where `mark` has none.
  void Add(YamlMark mark, std::string_view path, std::string_view what);
  /// The same at the place of `path` in the file; without a line if it does not stand there.
  void AddAt(const YamlNode& root, std::string_view path, std::string_view what);
  /// A whole line.
  void Add(std::string line);

  bool empty() const { return lines_.empty(); }
  /// At most kMaxLines, then how many more.
  std::vector<std::string> lines() const;
  /// OK, or kInvalidArgument with the first problem and the number of others.
  Status ToStatus() const;

 private:
  static constexpr size_t kMaxLines = 100;
  std::string file_;
  std::vector<std::string> lines_;
  size_t left_out_ = 0;
};

/// Sets what `keys` are bound to from a document; what the document does not name stays as it is.
/// Problems: unknown keys with the nearest known one, wrong types, out of range, what is required
/// and missing.
///
/// quoted: what a value in quotes is taken for; kOverride where numbers may stand in them, as in
/// the JSON of protocol buffers.
void ReadConfig(const YamlNode& root, const ConfigKeys& keys, ConfigProblems* problems,
                ScalarForm quoted = ScalarForm::kQuotedYaml);

/// The names of `keys` that a document may have.
std::vector<std::string> KeyNames(const ConfigKeys& keys);

}  // namespace verdict
