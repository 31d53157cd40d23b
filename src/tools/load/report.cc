#include "tools/load/report.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/terminal_text.h"
#include "tools/latency_summary.h"

namespace verdict::load {
namespace {

constexpr std::array kPercentiles = {90.0, 95.0, 99.0, 99.9};
constexpr double kNsPerMs = 1e6;

double Ms(double ns) { return ns / kNsPerMs; }
double Ms(int64_t ns) { return static_cast<double>(ns) / kNsPerMs; }

template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::array<char, 512> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, args...);
  return buffer.data();
}

std::string Count(uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

/// `verdict bench`'s line, of a histogram.
std::string Line(const char* name, const Histogram& histogram) {
  LatencySummary summary{.min = Ms(histogram.min_ns()),
                         .max = Ms(histogram.max_ns()),
                         .mean = Ms(histogram.mean_ns()),
                         .median = Ms(histogram.Percentile(50))};
  for (const double percentile : kPercentiles) {
    summary.percentiles.push_back(Ms(histogram.Percentile(percentile)));
  }
  const std::string line = LatencyLine(summary, kPercentiles);
  return name + line.substr(line.find(':')) + "\n";
}

/// "200: 19984, 503: 16".
std::string EndingsText(Protocol protocol, const Measurement& total) {
  std::string text;
  // Statuses before our own endings, which are negative.
  for (const bool own : {false, true}) {
    for (const auto& [ending, count] : total.endings) {
      if ((ending < 0) != own) continue;
      text +=
          (text.empty() ? "" : ", ") + EndingName(protocol, ending) + ": " + std::to_string(count);
    }
  }
  return text.empty() ? "none" : text;
}

std::string CpuText(const ProcessUsage& usage, uint64_t answers) {
  const double scale = answers == 0 ? 0 : 1e6 / static_cast<double>(answers);
  return Format("%.1f us a request (%.1f user + %.1f kernel)",
                (usage.user_s + usage.kernel_s) * scale, usage.user_s * scale,
                usage.kernel_s * scale);
}

}  // namespace

std::string LoadText(const RunOptions& options) {
  switch (options.arrivals) {
    case ArrivalKind::kClosed:
      return "closed loop, " +
             Count(static_cast<uint64_t>(options.worker.concurrency), "request", "requests") +
             " in flight";
    case ArrivalKind::kPoisson:
      return Format("open loop, Poisson arrivals, %g/s, seed %llu", options.rate_per_s,
                    static_cast<unsigned long long>(options.seed));
    case ArrivalKind::kConstant:
      return Format("open loop, constant arrivals, %g/s", options.rate_per_s);
    case ArrivalKind::kReplay:
      break;
  }
  return "open loop, replay of " + Count(options.replay_ns.size(), "request", "requests");
}

std::string ConnectionsText(const RunOptions& options) {
  return Count(static_cast<uint64_t>(options.worker.connections), "connection", "connections") +
         ", " + Count(static_cast<uint64_t>(options.threads), "thread", "threads");
}

double Throughput(const RunResult& result, Protocol protocol) {
  uint64_t count = 0;
  for (const auto& [ending, of_ending] : result.total.endings) {
    if (IsSuccess(protocol, ending)) count += of_ending;
  }
  return static_cast<double>(count) / result.wall_s;
}

double Goodput(const RunResult& result) {
  return static_cast<double>(result.total.in_time) / result.wall_s;
}

std::vector<std::string> Warnings(const RunOptions& options, const RunResult& result) {
  std::vector<std::string> warnings;
  const CpuUse& cpu = result.cpu;
  const double busy =
      cpu.wall_s > 0 ? (cpu.self.user_s + cpu.self.kernel_s) / (cpu.wall_s * options.threads) : 0;
  constexpr double kBusy = 0.9;
  if (busy > kBusy && !options.worker.spin) {  // one that never sleeps is always busy
    warnings.push_back(
        Format("the generator was the bottleneck: its %d thread(s) were busy for %.0f %% of the "
               "time; raise --threads, or take a faster machine for it",
               options.threads, 100 * busy));
  }
  const int64_t lag_ns = result.total.lag.Percentile(99);
  const int64_t median_ns = result.total.latency.Percentile(50);
  constexpr int64_t kLagNs = 1'000'000;
  if (options.arrivals != ArrivalKind::kClosed && lag_ns > std::max(kLagNs, median_ns / 2)) {
    warnings.push_back(
        Format("the generator sent late: 1 %% of the requests left %.1f ms or more after their "
               "time though a connection was free; raise --threads, or give it a processor of its "
               "own (taskset)",
               Ms(lag_ns)));
  }
  const uint64_t requests = result.total.requests();
  constexpr uint64_t kOneIn = 100;
  if (result.total.queued > requests / kOneIn) {
    warnings.push_back(
        Format("%.1f %% of the requests waited for a free connection, which is part of their "
               "latency: the server is slower than the load, or --connections is too low",
               100 * static_cast<double>(result.total.queued) / static_cast<double>(requests)));
  }
  if (result.interrupted) warnings.emplace_back("interrupted: the run was shorter than asked for");
  return warnings;
}

std::string ReportText(const RunDescription& description, const RunOptions& options,
                       const RunResult& result) {
  const Measurement& total = result.total;
  std::string text = "=== Load summary ===\n";
  text += "Target: " + TerminalText(description.target) + "\n";
  text += "Inputs: " + TerminalText(description.inputs) + "\n";
  text += "Load: " + LoadText(options) + "; " + ConnectionsText(options) + "\n";
  text += "Measured: " + Count(total.requests(), "request", "requests") + " in " +
          FiveDigits(result.wall_s) + " s, after " +
          FiveDigits(static_cast<double>(options.warmup_ns) / 1e9) + " s of warm-up\n";
  text += "Answers: " + EndingsText(options.protocol, total) + "\n";
  text += "Throughput: " + FiveDigits(Throughput(result, options.protocol)) + " qps\n";
  if (options.deadline_ns > 0) {
    const uint64_t requests = std::max<uint64_t>(total.requests(), 1);
    text +=
        "Goodput: " + FiveDigits(Goodput(result)) + " qps within " +
        FiveDigits(Ms(options.deadline_ns)) + " ms, " +
        Format("%.2f", 100 * static_cast<double>(total.in_time) / static_cast<double>(requests)) +
        " % of the requests\n";
    if (const auto dropped = total.endings.find(kDropped); dropped != total.endings.end()) {
      text +=
          "Dropped: " + Count(dropped->second, "request", "requests") +
          Format(
              ", %.2f %% of them, never sent: the deadline passed before a connection was free\n",
              100 * static_cast<double>(dropped->second) / static_cast<double>(requests));
    }
  }
  if (total.latency.count() > 0) text += Line("Latency", total.latency);
  if (total.service.count() > 0 && options.arrivals != ArrivalKind::kClosed) {
    text += Line("Service", total.service);
  }
  if (total.rejected.count() > 0) text += Line("Rejection", total.rejected);
  const CpuUse& cpu = result.cpu;
  if (cpu.server) {
    constexpr double kMiB = 1 << 20;
    text += "Server CPU: " + CpuText(*cpu.server, cpu.answers) +
            Format(", %.0f %% of one core; resident %.1f MiB at the beginning, %.1f at the end\n",
                   100 * (cpu.server->user_s + cpu.server->kernel_s) / cpu.wall_s,
                   static_cast<double>(cpu.server_resident_before) / kMiB,
                   static_cast<double>(cpu.server->resident_bytes) / kMiB);
  }
  if (cpu.wall_s > 0) {
    text +=
        "Generator CPU: " + CpuText(cpu.self, cpu.answers) +
        Format(", %.0f %% of one core", 100 * (cpu.self.user_s + cpu.self.kernel_s) / cpu.wall_s);
    if (options.arrivals != ArrivalKind::kClosed) {
      text += "; sent late by " + FiveDigits(Ms(total.lag.Percentile(50))) + " ms (median), " +
              FiveDigits(Ms(total.lag.Percentile(99))) + " ms (99%)";
    }
    text += "\n";
  }
  if (total.reconnects > 0) {
    text += "Connections made again: " + std::to_string(total.reconnects) + "\n";
  }
  for (const std::string& warning : Warnings(options, result))
    text += "Warning: " + warning + ".\n";
  return text;
}

}  // namespace verdict::load
