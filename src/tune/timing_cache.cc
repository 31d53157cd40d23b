#include "tune/timing_cache.h"

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

#include "base/file.h"

namespace verdict {
namespace {

constexpr std::string_view kHeader = "verdict timing cache 1\n";
constexpr size_t kMaxBytes = size_t{64} << 20;

}  // namespace

Result<TimingCache> TimingCache::Load(const std::filesystem::path& path) {
  TimingCache cache;
  std::error_code unused;
  if (std::filesystem::file_size(path, unused) == 0) return cache;  // as mktemp leaves it
  const auto file = MappedFile::Open(path);
  if (!file.ok()) {
    if (file.status().code() == StatusCode::kNotFound) return cache;
    return file.status();
  }
  const auto bytes = (*file)->bytes();
  if (bytes.size() > kMaxBytes) {
    return ResourceExhausted(path.string() + ": a timing cache of more than 64 MiB; delete it");
  }
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kHeader)) {
    return InvalidArgument(path.string() +
                           ": not a timing cache of this version; delete it or name another file");
  }
  text.remove_prefix(kHeader.size());
  for (size_t line = 2; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    const std::string_view entry = text.substr(0, end);
    double microseconds = 0;
    const auto [stop, error] =
        std::from_chars(entry.data(), entry.data() + entry.size(), microseconds);
    const auto used = static_cast<size_t>(stop - entry.data());
    const bool is_entry = end != std::string_view::npos && error == std::errc() &&
                          std::isfinite(microseconds) && microseconds >= 0 &&
                          used + 1 < entry.size() && entry[used] == ' ';
    if (!is_entry) {
      return InvalidArgument(path.string() + ": line " + std::to_string(line) +
                             " is not '<microseconds> <key>'; delete the file to measure anew");
    }
    cache.entries_.insert_or_assign(std::string(entry.substr(used + 1)), microseconds);
    text.remove_prefix(end + 1);
  }
  return cache;
}

Status TimingCache::Save(const std::filesystem::path& path) const {
  std::string text(kHeader);
  for (const auto& [key, microseconds] : entries_) {
    std::array<char, 40> number;
    const auto end = std::to_chars(number.data(), number.data() + number.size(), microseconds).ptr;
    text.append(number.data(), end);
    text += ' ' + key + '\n';
  }
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  return WriteFileAtomically(path, std::span(&bytes, 1));
}

std::optional<double> TimingCache::Find(std::string_view key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? std::nullopt : std::optional(it->second);
}

void TimingCache::Put(std::string_view key, double microseconds) {
  VERDICT_CHECK(key.find('\n') == std::string_view::npos);
  VERDICT_CHECK(std::isfinite(microseconds) && microseconds >= 0);
  entries_.insert_or_assign(std::string(key), microseconds);
  changed_ = true;
}

}  // namespace verdict
