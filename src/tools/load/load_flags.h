#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/load/recorder.h"

namespace verdict::load {

/// What the command line says, checked one by one and together.
struct LoadFlags {
  std::string model, version, url = "localhost";
  Protocol protocol = Protocol::kHttp;
  std::string shapes, inputs, replay, arrivals = "poisson";
  std::string tls_ca, cert, key, token_file, allowed, json_out, plot;
  std::vector<std::string> headers;
  bool json = false, spin = false;
  double rate = 0, duration_s = 10, replay_speed = 1;
  std::optional<double> warmup_s;
  std::optional<int> connections, concurrency;
  uint64_t seed = 1, requests = UINT64_MAX, priority = 0;
  int64_t batch = 1, deadline_us = 0, timeout_ms = 10'000;
  int threads = 1, server_pid = 0;
  bool has_duration = false;
  std::vector<std::pair<std::string, std::string>> given;  // for the JSON document
};

}  // namespace verdict::load
