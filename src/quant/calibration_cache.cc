#include "quant/calibration_cache.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/file.h"

namespace verdict {
namespace {

constexpr std::string_view kHeader = "TRT-8503-EntropyCalibration2";
constexpr size_t kHexDigits = 8;
constexpr size_t kSha256Digits = 64;
constexpr size_t kMaxCacheBytes = size_t{64} << 20;
constexpr size_t kMaxDigestBytes = 4096;

/// "TRT-8503-EntropyCalibration2", of any version and calibrator.
bool IsHeader(std::string_view line) {
  if (!line.starts_with("TRT-")) return false;
  const size_t digits = line.find_first_not_of("0123456789", 4);
  return digits != std::string_view::npos && digits > 4 && line[digits] == '-' &&
         line.substr(digits).find("Calibration") != std::string_view::npos;
}

Result<float> ParseScale(std::string_view text) {
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 16);
  if (text.size() != kHexDigits || error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument("'" + std::string(text.substr(0, 40)) +
                           "' is not eight hexadecimal digits");
  }
  const auto scale = std::bit_cast<float>(bits);
  if (!std::isnormal(scale) || scale < 0) {
    return InvalidArgument("a scale of " + std::to_string(scale));
  }
  return scale;
}

Status WriteText(const std::filesystem::path& path, const std::string& text) {
  const std::array parts = {std::as_bytes(std::span(text))};
  return WriteFileAtomically(path, parts);
}

}  // namespace

std::filesystem::path DigestPath(const std::filesystem::path& path) {
  return path.string() + ".sha256";
}

std::string CalibrationCache::Print() const {
  std::string text = std::string(kHeader) + "\n";
  for (const auto& [name, scale] : scales) {
    std::array<char, kHexDigits + 1> hex;
    std::snprintf(hex.data(), hex.size(), "%08x", std::bit_cast<uint32_t>(scale));
    text += name + ": " + hex.data() + "\n";
  }
  return text;
}

Result<CalibrationCache> CalibrationCache::Parse(std::string_view text, const std::string& name) {
  CalibrationCache cache;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string place = name + ", line " + std::to_string(number);
    if (number == 1) {
      if (IsHeader(line)) continue;
      return InvalidArgument(place + ": '" + std::string(line.substr(0, 60)) +
                             "' is not the header of a calibration cache, as " +
                             std::string(kHeader));
    }
    if (line.empty()) continue;
    // The name may hold anything, colons too.
    const size_t colon = line.rfind(": ");
    if (colon == std::string_view::npos || colon == 0) {
      return InvalidArgument(place + ": no 'tensor: scale'");
    }
    const auto scale = ParseScale(line.substr(colon + 2));
    if (!scale.ok()) return scale.status().WithContext(place);
    if (!cache.scales.emplace(line.substr(0, colon), *scale).second) {
      return InvalidArgument(place + ": tensor '" + std::string(line.substr(0, colon)) +
                             "' comes twice");
    }
  }
  if (cache.scales.empty()) return InvalidArgument(name + ": a calibration cache without tensors");
  return cache;
}

Status WriteCalibrationCache(const std::filesystem::path& path, const CalibrationCache& cache,
                             const std::filesystem::path& model, std::string_view model_sha256) {
  for (const auto& [name, scale] : cache.scales) {
    if (name.find_first_of("\r\n") != std::string::npos) {
      return InvalidArgument(
          "a tensor's name has a line break, which a calibration cache cannot hold");
    }
  }
  // In this order a cache never stands beside the digest of another model.
  std::error_code error;
  std::filesystem::remove(DigestPath(path), error);
  VERDICT_RETURN_IF_ERROR(WriteText(path, cache.Print()));
  return WriteText(DigestPath(path),
                   std::string(model_sha256) + "  " + model.filename().string() + "\n");
}

Result<LoadedCalibrationCache> ReadCalibrationCache(const std::filesystem::path& path,
                                                    std::string_view model_sha256) {
  VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxCacheBytes));
  LoadedCalibrationCache loaded;
  VERDICT_ASSIGN_OR_RETURN(loaded.cache, CalibrationCache::Parse(text, path.string()));
  const std::filesystem::path digest_path = DigestPath(path);
  const auto digest = ReadSmallFile(digest_path, kMaxDigestBytes);
  if (digest.status().code() == StatusCode::kNotFound) return loaded;
  VERDICT_RETURN_IF_ERROR(digest.status());
  const std::string made_for = digest->substr(0, kSha256Digits);
  if (made_for != model_sha256) {
    return FailedPrecondition(path.string() +
                              " was made for another model: " + digest_path.string() + " has " +
                              made_for + ", the model is " + std::string(model_sha256) +
                              "; calibrate again, with --calib, or name another file");
  }
  loaded.is_bound = true;
  return loaded;
}

}  // namespace verdict
