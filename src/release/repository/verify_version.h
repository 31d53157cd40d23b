#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "release/repository/manifest.h"
#include "release/repository/signature.h"

namespace verdict {

/// What a version must show before it is served.
struct VersionTrust {
  bool require_manifest = false;
  TrustedKeys keys;  // not empty: each version is signed by one of them

  /// Errors: as TrustedKeys::Load.
  static Result<VersionTrust> Load(bool require_manifest, const std::vector<std::string>& keys);
  bool needs_manifest() const { return require_manifest || !keys.empty(); }
};

struct VerifiedVersion {
  Manifest manifest;
  std::string key_id;  // empty: nobody's signature was asked for
};

/// Checks a version's folder, DIR/<model>/<version>: manifest, signature, sizes, digests, in this
/// order. Returns: nothing if there is no manifest and none is needed. Errors: kFailedPrecondition
/// (no manifest, or no signature), kInvalidArgument (a manifest that is none, or another
/// version's), kPermissionDenied (TrustedKeys::Verify), kDataLoss (VerifyFiles), kUnavailable. Not
/// for a request's thread: reads all files.
Result<std::optional<VerifiedVersion>> VerifyVersion(const std::filesystem::path& folder,
                                                     const VersionTrust& trust);

}  // namespace verdict
