#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/load/run.h"

namespace verdict::load {

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
