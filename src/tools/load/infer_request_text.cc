#include "tools/load/infer_request_text.h"

#include "serve/endpoints/datatype.h"
#include "serve/endpoints/infer_response.h"
#include "serve/endpoints/json_text.h"
#include "serve/endpoints/tensor_binary.h"

namespace verdict::load {
namespace {

constexpr std::string_view kDeadlineField = "Verdict-Deadline-Us: ";
/// Room for its digits; what is not needed of it stays blank.
constexpr size_t kDeadlineDigits = 10;

/// The request line and the fields that do not depend on the body.
std::string Head(std::string_view method, std::string_view target,
                 const HttpRequestOptions& options) {
  std::string text(method);
  text.append(" ").append(target).append(" HTTP/1.1\r\nHost: ").append(options.host);
  text += "\r\n";
  for (const auto& [name, value] : options.headers) {
    text.append(name).append(": ").append(value).append("\r\n");
  }
  return text;
}

std::string PostHead(const HttpRequestOptions& options, size_t body_bytes) {
  std::string text = Head("POST", options.target, options);
  if (options.has_deadline) {
    text.append(kDeadlineField).append(kDeadlineDigits, ' ').append("\r\n");
  }
  return text + "Content-Length: " + std::to_string(body_bytes) + "\r\n";
}

}  // namespace

std::string ModelTarget(std::string_view model, std::string_view version) {
  const auto escaped = [](std::string_view text) {
    constexpr std::string_view kPlain = "-._~";
    constexpr char kHex[] = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      const bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
      if (letter || (byte >= '0' && byte <= '9') || kPlain.find(c) != std::string_view::npos) {
        result.push_back(c);
      } else {
        result += {'%', kHex[byte >> 4], kHex[byte & 15]};
      }
    }
    return result;
  };
  std::string target = "/v2/models/" + escaped(model);
  if (!version.empty()) target += "/versions/" + escaped(version);
  return target;
}

Result<std::string> InferRequestText(const RequestInputs& inputs,
                                     const HttpRequestOptions& options) {
  std::string json = "{";
  std::string binary;
  if (options.priority > 0 || !options.json) {
    json += "\"parameters\":{";
    if (!options.json) json += "\"binary_data_output\":true";
    if (options.priority > 0) {
      json +=
          (options.json ? "\"priority\":" : ",\"priority\":") + std::to_string(options.priority);
    }
    json += "},";
  }
  json += "\"inputs\":[";
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& [name, tensor] = inputs[i];
    json += i > 0 ? ",{\"name\":" : "{\"name\":";
    AppendJsonString(&json, name);
    json += ",\"datatype\":\"" + std::string(WireTypeName(tensor.dtype)) + "\",\"shape\":";
    AppendJsonShape(&json, tensor.shape.dims());
    if (options.json) {
      json += ",\"data\":[";
      if (!AppendJsonElements(&json, tensor.view()).ok()) {
        return InvalidArgument("input '" + name +
                               "' has values that JSON does not carry (NaN, infinity, FP16, BF16 "
                               "or text that is not UTF-8); leave out --json");
      }
      json += "]}";
    } else {
      const size_t before = binary.size();
      VERDICT_RETURN_IF_ERROR(AppendRawTensor(&binary, tensor.view()));
      json +=
          ",\"parameters\":{\"binary_data_size\":" + std::to_string(binary.size() - before) + "}}";
    }
  }
  json += "]}";
  std::string text = PostHead(options, json.size() + binary.size());
  if (options.json) {
    text += "Content-Type: application/json\r\n\r\n";
  } else {
    text += "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: " +
            std::to_string(json.size()) + "\r\n\r\n";
  }
  return text + json + binary;
}

size_t DeadlineOffset(std::string_view request) {
  const size_t field = request.rfind(kDeadlineField, request.find("\r\n\r\n"));
  VERDICT_CHECK(field != std::string_view::npos);
  return field + kDeadlineField.size();
}

void SetDeadline(std::string* request, size_t offset, int64_t us) {
  const std::string digits = std::to_string(us);
  const size_t count = std::min(digits.size(), kDeadlineDigits);
  request->replace(offset + kDeadlineDigits - count, count, digits, 0, count);
}

std::string RawRequestText(std::string_view body, const HttpRequestOptions& options) {
  std::string text = PostHead(options, body.size()) + "Content-Type: application/json\r\n\r\n";
  return text.append(body);
}

std::string GetRequestText(std::string_view target, const HttpRequestOptions& options) {
  return Head("GET", target, options) + "\r\n";
}

}  // namespace verdict::load
