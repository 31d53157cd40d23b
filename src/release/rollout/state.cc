#include "release/rollout/state.h"

#include <fcntl.h>
#include <simdjson.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/json_writer.h"
#include "release/rollout/assignment.h"

namespace verdict {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxNameBytes = 1024;
/// Counts stay exact as doubles, and sums of them in 64 bits.
constexpr uint64_t kMaxCount = uint64_t{1} << 53;

constexpr std::pair<RolloutStatus, std::string_view> kStatusNames[] = {
    {RolloutStatus::kRunning, "running"},
    {RolloutStatus::kPromoted, "promoted"},
    {RolloutStatus::kRolledBack, "rolled_back"},
    {RolloutStatus::kPinned, "pinned"},
};

using Count = std::pair<std::string_view, uint64_t RolloutArm::*>;
constexpr Count kCounts[] = {
    {"requests", &RolloutArm::requests},
    {"errors", &RolloutArm::errors},
    {"timeouts", &RolloutArm::timeouts},
    {"not_a_number", &RolloutArm::not_a_number},
    {"over_threshold", &RolloutArm::over_threshold},
};

void WriteArm(std::string_view key, const RolloutArm& arm, JsonWriter& json) {
  const auto histogram = [&](std::string_view name, std::span<const uint64_t> counts) {
    json.Key(name).BeginArray();
    for (const uint64_t count : counts) json.UInt(count);
    json.EndArray();
  };
  json.Key(key).BeginObject();
  for (const auto& [name, count] : kCounts) json.Key(name).UInt(arm.*count);
  histogram("latencies", arm.latencies);
  histogram("scores", arm.scores);
  json.EndObject();
}

void WriteModel(std::string_view key, const RolloutModel& model, JsonWriter& json) {
  json.Key(key).BeginObject().Key("model").String(model.model);
  json.Key("version").Int(model.version).EndObject();
}

/// An object and the way to it, for messages.
struct Place {
  dom::object object;
  std::string path;

  std::string Of(std::string_view key) const {
    return path.empty() ? std::string(key) : path + "." + std::string(key);
  }
};

template <typename T>
Status Get(const Place& place, std::string_view key, const char* what, T* out) {
  dom::element value;
  if (place.object.at_key(key).get(value) != simdjson::SUCCESS) {
    return InvalidArgument(place.Of(key) + ": missing; it must be " + what);
  }
  if (value.get(*out) != simdjson::SUCCESS) {
    return InvalidArgument(place.Of(key) + ": must be " + what);
  }
  return OkStatus();
}

Result<Place> Inside(const Place& place, std::string_view key) {
  Place inside{{}, place.Of(key)};
  VERDICT_RETURN_IF_ERROR(Get(place, key, "an object", &inside.object));
  return inside;
}

Status GetText(const Place& place, std::string_view key, bool may_be_empty, std::string* out) {
  std::string_view text;
  VERDICT_RETURN_IF_ERROR(Get(place, key, "text", &text));
  if (text.empty() && !may_be_empty) return InvalidArgument(place.Of(key) + ": must not be empty");
  if (text.size() > kMaxNameBytes) {
    return InvalidArgument(place.Of(key) + ": " + std::to_string(text.size()) + " bytes; at most " +
                           std::to_string(kMaxNameBytes) + " are taken");
  }
  *out = text;
  return OkStatus();
}

Status GetCount(const Place& place, std::string_view key, uint64_t most, uint64_t* out) {
  VERDICT_RETURN_IF_ERROR(Get(place, key, "a whole number from 0", out));
  if (*out <= most) return OkStatus();
  return InvalidArgument(place.Of(key) + ": " + std::to_string(*out) + " is more than " +
                         std::to_string(most));
}

Status GetHistogram(const Place& place, std::string_view key, std::span<uint64_t> out) {
  dom::array counts;
  VERDICT_RETURN_IF_ERROR(Get(place, key, "a list of counts", &counts));
  size_t i = 0;
  for (const dom::element value : counts) {
    const std::string where = place.Of(key) + "[" + std::to_string(i) + "]: ";
    if (i == out.size()) {
      return InvalidArgument(where + "one too many of " + std::to_string(out.size()) + " counts");
    }
    if (value.get(out[i]) != simdjson::SUCCESS || out[i] > kMaxCount) {
      return InvalidArgument(where + "must be a whole number from 0 to " +
                             std::to_string(kMaxCount));
    }
    ++i;
  }
  if (i == out.size()) return OkStatus();
  return InvalidArgument(place.Of(key) + ": " + std::to_string(i) + " counts, must be " +
                         std::to_string(out.size()));
}

Status GetArm(const Place& snapshot, std::string_view key, RolloutArm* out) {
  VERDICT_ASSIGN_OR_RETURN(const Place arm, Inside(snapshot, key));
  for (const auto& [name, count] : kCounts) {
    VERDICT_RETURN_IF_ERROR(GetCount(arm, name, kMaxCount, &(out->*count)));
  }
  VERDICT_RETURN_IF_ERROR(GetHistogram(arm, "latencies", out->latencies));
  return GetHistogram(arm, "scores", out->scores);
}

Status GetModel(const Place& root, std::string_view key, RolloutModel* out) {
  VERDICT_ASSIGN_OR_RETURN(const Place model, Inside(root, key));
  VERDICT_RETURN_IF_ERROR(GetText(model, "model", false, &out->model));
  VERDICT_RETURN_IF_ERROR(Get(model, "version", "a whole number from 1", &out->version));
  if (out->version >= 1) return OkStatus();
  return InvalidArgument(model.Of("version") + ": must be a whole number from 1");
}

Status GetStatus(const Place& root, RolloutStatus* out) {
  std::string text;
  VERDICT_RETURN_IF_ERROR(GetText(root, "status", false, &text));
  for (const auto& [status, name] : kStatusNames) {
    if (name != text) continue;
    *out = status;
    return OkStatus();
  }
  return InvalidArgument("status: must be running, promoted, rolled_back or pinned");
}

Status SyncFolder(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (is_synced) return OkStatus();
  return Unavailable(folder.string() + ": cannot sync the folder: " + std::strerror(error) +
                     "; the state is written, but a power cut may lose it");
}

}  // namespace

std::string WriteRolloutState(const RolloutState& state) {
  JsonWriter json;
  json.BeginObject().Key("format").Int(1);
  json.Key("id").String(state.id).Key("route").String(state.route);
  WriteModel("champion", state.champion, json);
  WriteModel("canary", state.canary, json);
  json.Key("steps").UInt(state.steps);
  for (const auto& [status, name] : kStatusNames) {
    if (status == state.status) json.Key("status").String(name);
  }
  json.Key("reason").String(state.reason).Key("started").Int(state.started);
  json.Key("snapshot").BeginObject().Key("seconds").Number(state.snapshot.seconds);
  WriteArm("champion", state.snapshot.champion, json);
  WriteArm("canary", state.snapshot.canary, json);
  json.EndObject().EndObject();
  return json.text() + "\n";
}

Result<RolloutState> ReadRolloutState(std::string_view json) {
  dom::parser parser(kMaxFileBytes);
  const simdjson::padded_string padded(json);
  dom::element document;
  if (const auto error = parser.parse(padded).get(document); error != simdjson::SUCCESS) {
    return InvalidArgument("not a rollout's state, of " + std::to_string(json.size()) +
                           " bytes: " + simdjson::error_message(error));
  }
  Place root;
  if (document.get(root.object) != simdjson::SUCCESS) {
    return InvalidArgument("not a rollout's state: must be an object");
  }
  RolloutState state;
  int64_t format = 0;
  VERDICT_RETURN_IF_ERROR(Get(root, "format", "1", &format));
  if (format != 1) return InvalidArgument("format: must be 1; a newer server wrote this state");
  VERDICT_RETURN_IF_ERROR(GetText(root, "id", false, &state.id));
  VERDICT_RETURN_IF_ERROR(GetText(root, "route", false, &state.route));
  VERDICT_RETURN_IF_ERROR(GetModel(root, "champion", &state.champion));
  VERDICT_RETURN_IF_ERROR(GetModel(root, "canary", &state.canary));
  uint64_t steps = 0;
  VERDICT_RETURN_IF_ERROR(GetCount(root, "steps", kRolloutSteps, &steps));
  state.steps = static_cast<uint32_t>(steps);
  VERDICT_RETURN_IF_ERROR(GetStatus(root, &state.status));
  VERDICT_RETURN_IF_ERROR(GetText(root, "reason", true, &state.reason));
  VERDICT_RETURN_IF_ERROR(Get(root, "started", "seconds since 1970", &state.started));
  VERDICT_ASSIGN_OR_RETURN(const Place snapshot, Inside(root, "snapshot"));
  VERDICT_RETURN_IF_ERROR(Get(snapshot, "seconds", "a number from 0", &state.snapshot.seconds));
  if (!(state.snapshot.seconds >= 0)) {
    return InvalidArgument("snapshot.seconds: must be a number from 0");
  }
  VERDICT_RETURN_IF_ERROR(GetArm(snapshot, "champion", &state.snapshot.champion));
  VERDICT_RETURN_IF_ERROR(GetArm(snapshot, "canary", &state.snapshot.canary));
  return state;
}

Status SaveRolloutState(const std::filesystem::path& path, const RolloutState& state) {
  const std::string text = WriteRolloutState(state);
  // What could not be read after a restart must not replace what can.
  if (const auto read = ReadRolloutState(text); !read.ok()) {
    return read.status().WithContext(path.string() + ": not written");
  }
  const std::array parts{std::as_bytes(std::span(text))};
  VERDICT_RETURN_IF_ERROR(WriteFileAtomically(path, parts));
  return SyncFolder(path);
}

Result<RolloutState> LoadRolloutState(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxFileBytes));
  Result<RolloutState> state = ReadRolloutState(text);
  if (!state.ok()) return state.status().WithContext(path.string());
  return state;
}

}  // namespace verdict
