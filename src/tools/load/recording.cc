#include "tools/load/recording.h"

#include <simdjson.h>

#include <cmath>

#include "base/file.h"

namespace verdict::load {
namespace {

namespace dom = simdjson::dom;

constexpr double kMaxUs = 86'400e6;
constexpr size_t kMaxLines = size_t{1} << 22;
constexpr size_t kMaxBytes = size_t{1} << 30;
constexpr size_t kMaxDepth = 64;

Result<Recording::Request> ReadRequest(const dom::element& line) {
  Recording::Request request;
  dom::element inputs;
  std::string_view body;
  const bool has_inputs = line["inputs"].get(inputs) == simdjson::SUCCESS;
  const bool has_body = line["body"].get(body) == simdjson::SUCCESS;
  if (has_inputs == has_body) {
    return InvalidArgument("must have either \"inputs\", an array, or \"body\", a string");
  }
  if (has_body) {
    if (body.empty()) return InvalidArgument("\"body\" is empty");
    request.body = body;
    return request;
  }
  VERDICT_ASSIGN_OR_RETURN(request.inputs, ParseJsonInputs(simdjson::minify(inputs)));
  return request;
}

size_t BytesOf(const Recording::Request& request) {
  size_t bytes = request.body.size();
  for (const auto& [name, tensor] : request.inputs) {
    bytes += name.size() + ByteSize(tensor.dtype, tensor.shape).value();
  }
  return bytes;
}

}  // namespace

Result<Recording> ParseRecording(std::string_view text, const std::string& file) {
  Recording recording;
  dom::parser parser;
  if (parser.allocate(1 << 16, kMaxDepth) != simdjson::SUCCESS) {
    return ResourceExhausted("out of memory");
  }
  double first_us = 0;
  double last_us = 0;
  size_t bytes = 0;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string context = file + ", line " + std::to_string(++number);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    dom::element document;
    const simdjson::error_code error = parser.parse(line.data(), line.size()).get(document);
    if (error != simdjson::SUCCESS || !document.is_object()) {
      return InvalidArgument(context + ": not a JSON object" +
                             (error == simdjson::SUCCESS
                                  ? std::string()
                                  : std::string(": ") + simdjson::error_message(error)));
    }
    double at_us = 0;
    if (document["at_us"].get(at_us) != simdjson::SUCCESS) {
      return InvalidArgument(context + ": \"at_us\" must be a number of microseconds");
    }
    if (recording.times_ns.empty()) first_us = last_us = at_us;
    if (at_us < last_us) {
      return InvalidArgument(context + ": \"at_us\" is before the line above; sort the lines");
    }
    last_us = at_us;
    if (at_us - first_us > kMaxUs) {
      return InvalidArgument(context + ": over a day after the first line");
    }
    auto request = ReadRequest(document);
    if (!request.ok()) return request.status().WithContext(context);
    bytes += BytesOf(*request);
    if (recording.requests.size() == kMaxLines || bytes > kMaxBytes) {
      return ResourceExhausted(context +
                               ": over 4 million requests or 1 GiB of them; replay a "
                               "part of the file");
    }
    recording.times_ns.push_back(std::llround((at_us - first_us) * 1e3));
    recording.requests.push_back(*std::move(request));
  }
  if (recording.requests.empty()) return InvalidArgument(file + ": no request in it");
  return recording;
}

Result<Recording> ReadRecording(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  const auto bytes = mapped->bytes();
  return ParseRecording({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

}  // namespace verdict::load
