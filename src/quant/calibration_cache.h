#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// Scales by tensor name, threshold / 127, as TensorRT's calibrators keep them between builds: a
/// header line, then `name: <8 hex digits>`, the bits of the float.
struct CalibrationCache {
  std::map<std::string, float, std::less<>> scales;

  /// The text of a cache file. Its header is TensorRT 8.5.3's for entropy calibration, whatever
  /// found the scales: TensorRT takes no other for them.
  std::string Print() const;
  /// name: of the file, for messages. Errors: kInvalidArgument with the line: another header, no
  /// scale, one that is not finite and above 0, a tensor that comes twice.
  static Result<CalibrationCache> Parse(std::string_view text, const std::string& name);
};

/// FILE.sha256, for the cache FILE.
std::filesystem::path DigestPath(const std::filesystem::path& path);

/// Writes the cache, and beside it FILE.sha256: the digest of the model that it was made for, as
/// `sha256sum` writes it, because TensorRT's reader takes nothing else into the cache itself.
/// model: path of the ONNX file. Each is written atomically. Errors: as WriteFileAtomically;
/// kInvalidArgument for a name with a line break.
Status WriteCalibrationCache(const std::filesystem::path& path, const CalibrationCache& cache,
                             const std::filesystem::path& model, std::string_view model_sha256);

struct LoadedCalibrationCache {
  CalibrationCache cache;
  /// FILE.sha256 names the model; without that file (TensorRT writes none) nothing is known.
  bool is_bound = false;
};

/// Errors: kNotFound; as Parse; kFailedPrecondition if the cache was made for another model.
Result<LoadedCalibrationCache> ReadCalibrationCache(const std::filesystem::path& path,
                                                    std::string_view model_sha256);

}  // namespace verdict
