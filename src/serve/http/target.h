#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// The path of a request target, cut at '/' and percent-decoded. Memory is kept from request to
/// request.
class TargetPath {
 public:
  /// More segments than any endpoint has match none.
  static constexpr size_t kMaxSegments = 8;

  /// target: as in the request line; a query and a "http://host" in front are left off, and one '/'
  /// at the end is allowed. Errors: kInvalidArgument (a '%' that is not followed by two hexadecimal
  /// digits, or that stands for a control character), kNotFound (not a path; too many segments).
  Status Parse(std::string_view target);

  std::span<const std::string> segments() const { return {segments_.data(), count_}; }

  /// True if the path is `pattern`, such as "/v2/models/{model}/infer", where "{…}" stands for any
  /// segment that is not empty; then sets what "{model}", "{version}" and "{region}"
  /// stand for, not others.
  bool Matches(std::string_view pattern, std::string_view* model, std::string_view* version,
               std::string_view* region) const;

 private:
  std::array<std::string, kMaxSegments> segments_;
  size_t count_ = 0;
};

}  // namespace verdict
