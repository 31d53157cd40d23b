#pragma once

#include <cstdint>
#include <string>

namespace verdict::load {

/// Where the server is and how to speak to it.
struct ConnectionOptions {
  std::string host;
  uint16_t port = 0;
  bool tls = false;
  std::string ca_file;    // PEM; empty: the system's authorities
  std::string cert_file;  // PEM, the client's own; empty: none
  std::string key_file;
};

}  // namespace verdict::load
