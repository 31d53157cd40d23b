#include "tools/load/target_url.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

#include "base/terminal_text.h"

namespace verdict::load {

Result<ConnectionOptions> ParseUrl(std::string_view text, uint16_t default_port) {
  const std::string context = "'" + TerminalText(text) + "' ";
  ConnectionOptions options;
  options.port = default_port;
  std::string_view rest = text;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    const std::string_view name = rest.substr(0, scheme);
    if (name != "http" && name != "https" && name != "grpc") {
      return InvalidArgument(context + "has an unknown scheme: write HOST:PORT, or https://…");
    }
    options.tls = name == "https";
    rest.remove_prefix(scheme + 3);
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const bool bracketed = rest.starts_with('[');
  const size_t host_end = bracketed ? rest.find(']') : std::min(rest.find(':'), rest.size());
  if (host_end == std::string_view::npos) return InvalidArgument(context + "has no ']'");
  options.host = rest.substr(bracketed ? 1 : 0, host_end - (bracketed ? 1 : 0));
  rest.remove_prefix(host_end + (bracketed ? 1 : 0));
  const bool plain = std::ranges::none_of(options.host, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == '@' || c == '\x7f';
  });
  if (options.host.empty() || !plain) {
    return InvalidArgument(context + "is not an address: write HOST:PORT, without a path");
  }
  if (rest.empty()) return options;
  rest.remove_prefix(1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  if (error != std::errc() || end != rest.data() + rest.size() || port == 0 || port > 65535) {
    return InvalidArgument(context + "has no port from 1 to 65535 behind the ':'");
  }
  options.port = static_cast<uint16_t>(port);
  return options;
}

Result<std::pair<std::string, std::string>> ParseHeader(std::string_view text) {
  const std::string context = "'" + TerminalText(text) + "' ";
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return InvalidArgument(context + "is not NAME:VALUE");
  }
  const std::string name(text.substr(0, colon));
  std::string_view value = text.substr(colon + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  const auto is_token = [](char c) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    const auto letter = static_cast<unsigned char>(c | 0x20);
    return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  };
  if (!std::ranges::all_of(name, is_token)) {
    return InvalidArgument(context + "has a name with characters that none may have");
  }
  if (std::ranges::any_of(value, [](char c) {
        return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f';
      })) {
    return InvalidArgument(context + "has a control character in its value");
  }
  for (const char* own : {"Host", "Content-Length", "Content-Type", "Transfer-Encoding",
                          "Inference-Header-Content-Length"}) {
    if (::strcasecmp(name.c_str(), own) == 0) {
      return InvalidArgument(context + "is set by the generator itself");
    }
  }
  return std::pair(name, std::string(value));
}

}  // namespace verdict::load
