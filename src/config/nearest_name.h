#pragma once

#include <span>
#include <string>
#include <string_view>

namespace verdict {

/// " (did you mean 'max_batch_size'?)": the name of `names` that `text` was most likely meant to
/// be, by edit distance; empty if none is near. Threads: pure.
std::string DidYouMean(std::string_view text, std::span<const std::string> names);

}  // namespace verdict
