#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// What candidates took when they were measured, by a one-line key that names this version of
/// Verdict, the processor and its instruction set, the tactic, the operator with its attributes,
/// and the shapes. A text file: a header line, then "<microseconds> <key>" a line, sorted.
class TimingCache {
 public:
  /// Reads a file; one that does not exist yet, or is empty, is an empty cache.
  /// Errors: kInvalidArgument with the line (not a timing cache, or a line that is not one);
  /// kResourceExhausted over 64 MiB.
  static Result<TimingCache> Load(const std::filesystem::path& path);

  /// Writes the file, atomically. Errors: as WriteFileAtomically.
  Status Save(const std::filesystem::path& path) const;

  std::optional<double> Find(std::string_view key) const;
  /// key: without line breaks. microseconds: finite, >= 0.
  void Put(std::string_view key, double microseconds);

  size_t size() const { return entries_.size(); }
  bool changed() const { return changed_; }

 private:
  std::map<std::string, double, std::less<>> entries_;
  bool changed_ = false;
};

}  // namespace verdict
