#include "release/repository/manifest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "base/json_writer.h"
#include "base/sha256.h"
#include "release/repository/repository.h"

namespace verdict {
namespace {

namespace fs = std::filesystem;
namespace dom = simdjson::dom;

constexpr int64_t kFormat = 1;
constexpr size_t kReadBytes = size_t{256} << 10;

Status Wrong(const std::string& what) { return InvalidArgument("manifest: " + what); }

Status CheckPath(std::string_view path) {
  const std::string quoted = "path '" + std::string(path.substr(0, 64)) + "' ";
  if (path.size() > kMaxManifestPathBytes) return Wrong(quoted + "is too long");
  size_t depth = 0;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    // The rules of models' names: no "..", nothing hidden, nothing empty, no control characters.
    if (!CheckModelName(part).ok()) {
      return Wrong(quoted + "is not one of letters, digits, '.', '_' and '-' below the folder");
    }
    if (++depth > kMaxManifestPathDepth) return Wrong(quoted + "is too deep");
    begin = end + 1;
  }
  return OkStatus();
}

bool IsDigest(std::string_view text) {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool IsTime(std::string_view text) {
  constexpr std::string_view kPattern = "0000-00-00T00:00:00Z";
  return text.size() == kPattern.size() &&
         std::equal(text.begin(), text.end(), kPattern.begin(), [](char c, char pattern) {
           return pattern == '0' ? c >= '0' && c <= '9' : c == pattern;
         });
}

/// The members of an object, each once and all known. Errors: kInvalidArgument.
Result<dom::object> Members(dom::element element, const std::string& what,
                            std::initializer_list<std::string_view> keys) {
  dom::object object;
  if (element.get(object) != simdjson::SUCCESS) return Wrong(what + " is not an object");
  std::set<std::string_view> seen;
  for (const auto& field : object) {
    if (std::ranges::find(keys, field.key) == keys.end()) {
      return Wrong(what + " has the unknown key '" + std::string(field.key.substr(0, 64)) +
                   "'; was it written by a newer verdict?");
    }
    if (!seen.insert(field.key).second) {
      return Wrong(what + " has the key '" + std::string(field.key) + "' twice");
    }
  }
  for (const std::string_view key : keys) {
    if (!seen.contains(key)) return Wrong(what + " has no '" + std::string(key) + "'");
  }
  return object;
}

Result<std::string> TextAt(const dom::object& object, std::string_view key) {
  std::string_view text;
  if (object.at_key(key).get(text) != simdjson::SUCCESS || text.size() > kMaxManifestPathBytes) {
    return Wrong("'" + std::string(key) + "' is not a short text");
  }
  return std::string(text);
}

Result<int64_t> NumberAt(const dom::object& object, std::string_view key) {
  int64_t number = 0;
  if (object.at_key(key).get(number) != simdjson::SUCCESS || number < 0 ||
      number > kMaxManifestFileBytes) {
    return Wrong("'" + std::string(key) + "' is not a number from 0 to " +
                 std::to_string(kMaxManifestFileBytes));
  }
  return number;
}

Result<dom::element> ParseJson(dom::parser& parser, std::string_view text) {
  if (text.size() > kMaxManifestBytes) return Wrong("it is larger than 1 MiB");
  dom::element root;
  auto error = parser.allocate(std::max<size_t>(text.size(), 64), kMaxManifestDepth);
  if (!error) error = parser.parse(text.data(), text.size()).get(root);
  if (error) return Wrong(std::string("it is not valid JSON: ") + simdjson::error_message(error));
  return root;
}

/// An open file below a folder, no part of whose path is a link.
class OpenFile {
 public:
  OpenFile(const fs::path& folder, const std::string& path) {
    fd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t begin = 0; fd_ >= 0 && begin <= path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const std::string part = path.substr(begin, end - begin);
      const int last = end == path.size() ? 0 : O_DIRECTORY;
      const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | last;
      begin = end + 1;
      const int next = ::openat(fd_, part.c_str(), flags);
      const int error = errno;
      ::close(fd_);
      fd_ = next;
      errno = error;
    }
  }
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

/// Opens the file. Returns: its size. Errors: kDataLoss, kUnavailable.
Result<uint64_t> SizeOf(const OpenFile& file, const std::string& name) {
  if (file.get() < 0) {
    const int error = errno;
    if (error == ENOENT) return DataLoss(name + ": is missing; publish the version again");
    if (error == ELOOP || error == ENOTDIR) {
      return DataLoss(name + ": is reached by a link, which is not followed; copy the file there");
    }
    return Unavailable(name + ": cannot be read: " + std::strerror(error));
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return DataLoss(name + ": is no regular file");
  }
  return static_cast<uint64_t>(info.st_size);
}

Result<std::string> DigestOf(const OpenFile& file, const std::string& name) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  VERDICT_CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  std::vector<char> buffer(kReadBytes);
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Unavailable(name + ": cannot be read: " + std::strerror(errno));
    if (count == 0) break;
    VERDICT_CHECK(EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(count)) == 1);
  }
  Sha256Digest digest;
  VERDICT_CHECK(EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                                   nullptr) == 1);
  return ToHex(digest);
}

}  // namespace

std::string ManifestText(const Manifest& manifest) {
  std::string text = "{\n  \"format\": " + std::to_string(kFormat) + ",\n  \"model\": ";
  AppendJsonString(manifest.model, text);
  text += ",\n  \"version\": " + std::to_string(manifest.version) + ",\n  \"created\": ";
  AppendJsonString(manifest.created, text);
  text += ",\n  \"tool\": ";
  AppendJsonString(manifest.tool, text);
  text += ",\n  \"files\": [";
  const char* separator = "\n";
  for (const ManifestFile& file : manifest.files) {
    text += std::exchange(separator, ",\n");
    text += "    {\"path\": ";
    AppendJsonString(file.path, text);
    text += ", \"size\": " + std::to_string(file.size) + ", \"sha256\": ";
    AppendJsonString(file.sha256, text);
    text += "}";
  }
  return text + "\n  ],\n  \"metadata\": " + manifest.metadata + "\n}\n";
}

Result<Manifest> ParseManifest(std::string_view text) {
  dom::parser parser;
  VERDICT_ASSIGN_OR_RETURN(const dom::element root, ParseJson(parser, text));
  dom::object format;
  int64_t number = kFormat;
  // Before the keys, so that a newer format is named as such.
  if (root.get(format) == simdjson::SUCCESS &&
      format.at_key("format").get(number) == simdjson::SUCCESS && number != kFormat) {
    return Wrong("it is of format " + std::to_string(number) + ", this verdict knows " +
                 std::to_string(kFormat));
  }
  VERDICT_ASSIGN_OR_RETURN(
      const dom::object object,
      Members(root, "it", {"format", "model", "version", "created", "tool", "files", "metadata"}));
  VERDICT_RETURN_IF_ERROR(NumberAt(object, "format").status());
  Manifest manifest;
  VERDICT_ASSIGN_OR_RETURN(manifest.model, TextAt(object, "model"));
  VERDICT_RETURN_IF_ERROR(CheckModelName(manifest.model).WithContext("manifest"));
  if (object.at_key("version").get(manifest.version) != simdjson::SUCCESS ||
      manifest.version <= 0) {
    return Wrong("'version' is not a whole number from 1 up");
  }
  VERDICT_ASSIGN_OR_RETURN(manifest.created, TextAt(object, "created"));
  if (!IsTime(manifest.created)) return Wrong("'created' is no time as 2027-06-30T12:00:00Z");
  VERDICT_ASSIGN_OR_RETURN(manifest.tool, TextAt(object, "tool"));
  dom::element metadata = object.at_key("metadata").value_unsafe();
  if (!metadata.is_object()) return Wrong("'metadata' is not an object");
  manifest.metadata = simdjson::minify(metadata);
  dom::array files;
  if (object.at_key("files").get(files) != simdjson::SUCCESS) {
    return Wrong("'files' is not a list");
  }
  bool has_engine = false;
  std::set<std::string> paths;
  for (const dom::element entry : files) {
    if (paths.size() == kMaxManifestFiles) return Wrong("it names more than 1000 files");
    VERDICT_ASSIGN_OR_RETURN(const dom::object members,
                             Members(entry, "a file", {"path", "size", "sha256"}));
    ManifestFile file;
    VERDICT_ASSIGN_OR_RETURN(file.path, TextAt(members, "path"));
    VERDICT_RETURN_IF_ERROR(CheckPath(file.path));
    VERDICT_ASSIGN_OR_RETURN(const int64_t size, NumberAt(members, "size"));
    file.size = static_cast<uint64_t>(size);
    VERDICT_ASSIGN_OR_RETURN(file.sha256, TextAt(members, "sha256"));
    if (!IsDigest(file.sha256)) return Wrong("'sha256' is not 64 hexadecimal digits");
    if (!paths.insert(file.path).second) return Wrong("it names '" + file.path + "' twice");
    has_engine = has_engine || file.path == kEngineFileName;
    manifest.files.push_back(std::move(file));
  }
  if (!has_engine) return Wrong("it does not name " + std::string(kEngineFileName));
  return manifest;
}

Result<std::string> CheckMetadata(std::string_view text) {
  dom::parser parser;
  auto root = ParseJson(parser, text);
  if (!root.ok() || !root->is_object()) {
    return InvalidArgument("metadata: it is not a JSON object of at most 1 MiB");
  }
  return std::string(simdjson::minify(*root));
}

Result<std::vector<ManifestFile>> DescribeFiles(const fs::path& folder,
                                                std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end());
  std::vector<ManifestFile> files;
  for (std::string& path : paths) {
    VERDICT_RETURN_IF_ERROR(CheckPath(path));
    const OpenFile opened(folder, path);
    const std::string name = (folder / path).string();
    VERDICT_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(opened, name));
    VERDICT_ASSIGN_OR_RETURN(std::string digest, DigestOf(opened, name));
    files.push_back({std::move(path), size, std::move(digest)});
  }
  return files;
}

Status VerifyFiles(const fs::path& folder, const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files) {
    const std::string name = (folder / file.path).string();
    const OpenFile opened(folder, file.path);
    VERDICT_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(opened, name));
    if (size != file.size) {
      return DataLoss(name + ": has " + std::to_string(size) + " bytes, its manifest says " +
                      std::to_string(file.size) + "; publish the version again");
    }
  }
  for (const ManifestFile& file : manifest.files) {
    const std::string name = (folder / file.path).string();
    const OpenFile opened(folder, file.path);
    VERDICT_RETURN_IF_ERROR(SizeOf(opened, name).status());
    VERDICT_ASSIGN_OR_RETURN(const std::string digest, DigestOf(opened, name));
    if (digest != file.sha256) {
      return DataLoss(name + ": is not what its manifest says (SHA-256 " + digest.substr(0, 16) +
                      "…, not " + file.sha256.substr(0, 16) + "…); publish the version again");
    }
  }
  return OkStatus();
}

Status CheckEngineBytes(const Manifest& manifest, std::span<const std::byte> bytes,
                        const fs::path& path) {
  const std::array<std::span<const std::byte>, 1> parts{bytes};
  const std::string digest = ToHex(Sha256(parts));
  const bool listed = std::ranges::any_of(manifest.files, [&](const ManifestFile& file) {
    return file.path == kEngineFileName && file.sha256 == digest;
  });
  return listed ? OkStatus() : DataLoss(path.string() + ": was exchanged while it was verified");
}

}  // namespace verdict
