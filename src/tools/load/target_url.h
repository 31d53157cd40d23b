#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "tools/load/connection_options.h"

namespace verdict::load {

/// Reads "host", "host:port", "[::1]:port" or "http://host:port" into host and port; "https://"
/// also sets tls. default_port: where none is given. Errors: kInvalidArgument that quotes the text:
/// no host, a port out of range, another scheme, a path.
Result<ConnectionOptions> ParseUrl(std::string_view text, uint16_t default_port);

/// Reads "Name: value". Errors: kInvalidArgument if it could not stand in a request as one field,
/// or the generator sets that field itself.
Result<std::pair<std::string, std::string>> ParseHeader(std::string_view text);

}  // namespace verdict::load
