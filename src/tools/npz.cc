#include "tools/npz.h"

#include <zip.h>

#include <array>
#include <deque>
#include <memory>
#include <set>

#include "base/file.h"
#include "tools/npy.h"

namespace verdict {
namespace {

constexpr int64_t kMaxMembers = 10'000;
// Deflate cannot do better than 1032:1; a member that claims more lies about its size.
constexpr uint64_t kMaxRatio = 1040;
constexpr uint64_t kRatioSlack = 1024;
constexpr std::string_view kSuffix = ".npy";

using Bytes = std::span<const std::byte>;

struct ZipDiscard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
using Archive = std::unique_ptr<zip_t, ZipDiscard>;
using MemberFile = std::unique_ptr<zip_file_t, ZipDiscard>;
using Source = std::unique_ptr<zip_source_t, ZipDiscard>;

class ZipError {
 public:
  ZipError() { zip_error_init(&error_); }
  ~ZipError() { zip_error_fini(&error_); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
  zip_error_t* get() { return &error_; }
  std::string text() { return zip_error_strerror(&error_); }

 private:
  zip_error_t error_;
};

/// The whole member, with its CRC checked.
Result<std::vector<std::byte>> ReadMember(zip_t* archive, uint64_t index, uint64_t size) {
  const MemberFile file(zip_fopen_index(archive, index, 0));
  if (file == nullptr) {
    return InvalidArgument("it cannot be read: " + std::string(zip_strerror(archive)) +
                           "; write the file with np.savez or np.savez_compressed");
  }
  std::vector<std::byte> bytes(size);
  uint64_t done = 0;
  while (done < size) {
    const zip_int64_t got = zip_fread(file.get(), bytes.data() + done, size - done);
    if (got <= 0) {
      return InvalidArgument("it is damaged: " + std::string(zip_file_strerror(file.get())));
    }
    done += static_cast<uint64_t>(got);
  }
  // libzip compares the CRC when it reaches the end.
  std::byte beyond{};
  if (zip_fread(file.get(), &beyond, 1) != 0) return InvalidArgument("it is damaged");
  return bytes;
}

Result<NamedTensors> Parse(Bytes bytes, uint64_t max_bytes) {
  if (bytes.empty()) return InvalidArgument("the file is empty");  // libzip would not mind
  ZipError error;
  Source source(zip_source_buffer_create(bytes.data(), bytes.size(), 0, error.get()));
  if (source == nullptr) return ResourceExhausted(error.text());
  const Archive archive(zip_open_from_source(source.get(), ZIP_RDONLY, error.get()));
  if (archive == nullptr) {
    return InvalidArgument("not an .npz file (" + error.text() +
                           "); write it with np.savez(file, name=array, …)");
  }
  (void)source.release();  // the archive's now
  const zip_int64_t members = zip_get_num_entries(archive.get(), 0);
  if (members > kMaxMembers) {
    return ResourceExhausted("it has " + std::to_string(members) + " arrays, at most " +
                             std::to_string(kMaxMembers) + " are read");
  }
  NamedTensors tensors;
  uint64_t total = 0;
  for (uint64_t index = 0; index < static_cast<uint64_t>(members); ++index) {
    zip_stat_t info;
    constexpr uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if (zip_stat_index(archive.get(), index, 0, &info) != 0 || (info.valid & kNeeded) != kNeeded) {
      return InvalidArgument("its list of arrays is damaged");
    }
    std::string name = info.name;
    if (!name.ends_with(kSuffix)) {
      return InvalidArgument("member '" + name + "' is not an array (.npy)");
    }
    name.resize(name.size() - kSuffix.size());
    const std::string context = "tensor '" + name + "'";
    if (info.comp_size > bytes.size() || info.size / kMaxRatio > info.comp_size + kRatioSlack) {
      return InvalidArgument(context + ": it claims " + std::to_string(info.size) +
                             " bytes compressed to " + std::to_string(info.comp_size));
    }
    if (info.size > max_bytes - total) {
      return ResourceExhausted(context + ": the file holds more than " + std::to_string(max_bytes) +
                               " bytes; run fewer rows at once");
    }
    const auto member = ReadMember(archive.get(), index, info.size);
    if (!member.ok()) return member.status().WithContext(context);
    auto tensor = ParseNpy(*member, max_bytes - total);
    if (!tensor.ok()) return tensor.status().WithContext(context);
    total += info.size;
    if (tensor->dtype == DataType::kString) {
      total += tensor->view().as<const std::string_view>().size_bytes();
    }
    if (!tensors.emplace(std::move(name), *std::move(tensor)).second) {
      return InvalidArgument(context + " is there twice");
    }
  }
  return tensors;
}

Status ZipFailure(zip_t* archive) {
  return Unavailable("cannot make the .npz file: " + std::string(zip_strerror(archive)));
}

/// The bytes of an archive of `members` (name and contents).
Result<std::vector<std::byte>> Pack(
    const std::deque<std::pair<std::string, std::vector<std::byte>>>& members) {
  ZipError error;
  const Source target(zip_source_buffer_create(nullptr, 0, 0, error.get()));
  if (target == nullptr) return ResourceExhausted(error.text());
  Archive archive(zip_open_from_source(target.get(), ZIP_CREATE | ZIP_TRUNCATE, error.get()));
  if (archive == nullptr) return Unavailable(error.text());
  zip_source_keep(target.get());  // one for the archive, one for us
  for (const auto& [name, bytes] : members) {
    zip_source_t* source = zip_source_buffer(archive.get(), bytes.data(), bytes.size(), 0);
    if (source == nullptr) return ZipFailure(archive.get());
    const zip_int64_t index =
        zip_file_add(archive.get(), (name + std::string(kSuffix)).c_str(), source, 0);
    if (index < 0) {
      zip_source_free(source);
      return ZipFailure(archive.get());
    }
    // As numpy: stored, dated 1980-01-01, so that the same tensors make the same file.
    constexpr uint16_t kJanuary1st1980 = 0x21;
    const auto at = static_cast<uint64_t>(index);
    if (zip_set_file_compression(archive.get(), at, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive.get(), at, 0, kJanuary1st1980, 0) != 0) {
      return ZipFailure(archive.get());
    }
  }
  if (zip_close(archive.get()) != 0) return ZipFailure(archive.get());
  (void)archive.release();  // zip_close has freed it
  zip_stat_t info;
  std::vector<std::byte> file;
  if (zip_source_open(target.get()) != 0) return Unavailable("cannot read the .npz file back");
  if (zip_source_stat(target.get(), &info) == 0) {
    file.resize(info.size);
    if (zip_source_read(target.get(), file.data(), file.size()) !=
        static_cast<zip_int64_t>(file.size())) {
      file.clear();
    }
  }
  zip_source_close(target.get());
  if (file.empty()) return Unavailable("cannot read the .npz file back");
  return file;
}

/// A zip file without members: libzip would rather delete the file than write it.
std::vector<std::byte> EmptyArchive() {
  std::vector<std::byte> file(22);
  constexpr std::array<uint8_t, 4> kEndOfDirectory = {'P', 'K', 5, 6};
  for (size_t i = 0; i < kEndOfDirectory.size(); ++i) file[i] = std::byte{kEndOfDirectory[i]};
  return file;
}

}  // namespace

Result<NamedTensors> ParseNpz(Bytes bytes, const std::string& name, uint64_t max_bytes) {
  auto tensors = Parse(bytes, max_bytes);
  if (!tensors.ok()) return tensors.status().WithContext(name);
  return tensors;
}

Result<NamedTensors> ReadNpz(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  return ParseNpz(file->bytes(), path.string());
}

Status WriteNpz(const std::filesystem::path& path,
                std::span<const std::pair<std::string, TensorView>> tensors) {
  std::deque<std::pair<std::string, std::vector<std::byte>>> members;
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    if (!names.insert(name).second) continue;
    auto bytes = SerializeNpy(tensor);
    if (!bytes.ok()) {
      return bytes.status().WithContext(path.string() + ": tensor '" + name + "'");
    }
    members.emplace_back(name, *std::move(bytes));
  }
  std::vector<std::byte> file = EmptyArchive();
  if (!members.empty()) {
    auto packed = Pack(members);
    if (!packed.ok()) return packed.status().WithContext(path.string());
    file = *std::move(packed);
  }
  const std::array<Bytes, 1> parts = {file};
  return WriteFileAtomically(path, parts);
}

}  // namespace verdict
