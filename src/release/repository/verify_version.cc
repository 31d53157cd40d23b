#include "release/repository/verify_version.h"

#include <utility>

#include "base/file.h"

namespace verdict {
namespace {

constexpr size_t kMaxSignatureBytes = 1024;

}  // namespace

Result<VersionTrust> VersionTrust::Load(bool require_manifest,
                                        const std::vector<std::string>& keys) {
  VersionTrust trust;
  trust.require_manifest = require_manifest;
  VERDICT_ASSIGN_OR_RETURN(trust.keys, TrustedKeys::Load(keys));
  return trust;
}

Result<std::optional<VerifiedVersion>> VerifyVersion(const std::filesystem::path& folder,
                                                     const VersionTrust& trust) {
  const std::string place = folder.string();
  const auto text = ReadSmallFile(folder / kManifestFileName, kMaxManifestBytes);
  if (text.status().code() == StatusCode::kNotFound) {
    if (!trust.needs_manifest()) return std::optional<VerifiedVersion>();
    return FailedPrecondition(place + ": has no " + std::string(kManifestFileName) +
                              ", which the server asks for (is it still being written?); publish "
                              "versions by `verdict repository publish`");
  }
  if (!text.ok()) return text.status();
  VerifiedVersion verified;
  if (!trust.keys.empty()) {  // before the manifest is believed in anything
    const auto signature = ReadSmallFile(folder / kSignatureFileName, kMaxSignatureBytes);
    if (signature.status().code() == StatusCode::kNotFound) {
      return FailedPrecondition(place +
                                ": is not signed, and repository.trusted_keys is set; "
                                "publish it with --sign-key");
    }
    if (!signature.ok()) return signature.status();
    auto key = trust.keys.Verify(*text, *signature);
    if (!key.ok()) return key.status().WithContext(place);
    verified.key_id = *std::move(key);
  }
  auto manifest = ParseManifest(*text);
  if (!manifest.ok()) return manifest.status().WithContext(place);
  verified.manifest = *std::move(manifest);
  const Manifest& says = verified.manifest;
  if (says.model != folder.parent_path().filename() ||
      std::to_string(says.version) != folder.filename()) {
    return InvalidArgument(place + ": its manifest is that of model '" + says.model + "' version " +
                           std::to_string(says.version) + "; publish it under its own name");
  }
  VERDICT_RETURN_IF_ERROR(VerifyFiles(folder, verified.manifest));
  return std::optional<VerifiedVersion>(std::move(verified));
}

}  // namespace verdict
