#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/load/run.h"

namespace verdict::load {

/// What was run, in words, for the summary, the JSON document and the plot.
struct RunDescription {
  std::string target;  // "http://localhost:8000/v2/models/fraud"
  std::string inputs;  // "random, binary tensors, 64 different requests"
  std::vector<std::pair<std::string, std::string>> flags;  // as given, without secrets
};

/// "open loop, Poisson arrivals, 2000/s, seed 1".
std::string LoadText(const RunOptions& options);

/// "16 connections, 1 thread".
std::string ConnectionsText(const RunOptions& options);

/// Successes a second, and those within the deadline.
double Throughput(const RunResult& result, Protocol protocol);
double Goodput(const RunResult& result);

/// Why the figures are to be read with care; empty if there is nothing to say.
std::vector<std::string> Warnings(const RunOptions& options, const RunResult& result);

/// The summary, in the manner of `verdict bench`. Each line ends with a newline.
std::string ReportText(const RunDescription& description, const RunOptions& options,
                       const RunResult& result);

/// Everything: what was run, on which machine, percentiles, histograms, every second.
std::string ReportJson(const RunDescription& description, const RunOptions& options,
                       const RunResult& result);

}  // namespace verdict::load
