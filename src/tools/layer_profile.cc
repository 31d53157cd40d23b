#include "tools/layer_profile.h"

#include <algorithm>
#include <cstdio>

#include "base/json_writer.h"
#include "base/terminal_text.h"

namespace verdict {
namespace {

std::string Row(const char* time, const char* average, const char* median, const char* percent,
                const std::string& layer) {
  char columns[96];
  std::snprintf(columns, sizeof columns, "%12s %12s %12s %8s", time, average, median, percent);
  return std::string(columns) + "  " + layer + "\n";
}

std::string Fixed(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

}  // namespace

Result<std::vector<LayerProfile>> ProfileRuns(DeviceEngine& engine,
                                              std::span<const TensorView> inputs, int runs) {
  std::vector<LayerProfile> layers;
  std::vector<std::vector<double>> times;  // per layer and run
  for (int run = 0; run < runs; ++run) {
    VERDICT_ASSIGN_OR_RETURN(const std::vector<LayerTime> profiled, engine.ProfileLayers(inputs));
    if (run == 0) {
      for (const LayerTime& time : profiled) layers.emplace_back().layer = time.layer;
      times.resize(layers.size());
    }
    if (profiled.size() != layers.size()) {
      return Internal("the device names " + std::to_string(profiled.size()) + " layers, before " +
                      std::to_string(layers.size()));
    }
    for (size_t i = 0; i < layers.size(); ++i) times[i].push_back(profiled[i].milliseconds);
  }
  double total_ms = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const double time : times[i]) layers[i].total_ms += time;
    total_ms += layers[i].total_ms;
    std::ranges::sort(times[i]);
    layers[i].median_ms = times[i][times[i].size() / 2];
    layers[i].average_ms = layers[i].total_ms / runs;
  }
  for (LayerProfile& layer : layers) {
    layer.percent = total_ms > 0 ? 100 * layer.total_ms / total_ms : 0;
  }
  return layers;
}

std::string ProfileTable(std::span<const LayerProfile> layers, int runs) {
  std::string text = "=== Profile (" + std::to_string(runs) + " iterations) ===\n";
  text += Row("Time (ms)", "Avg. (ms)", "Median (ms)", "Time %", "Layer");
  double total_ms = 0, average_ms = 0, median_ms = 0;
  const auto add = [&](const LayerProfile& layer, const std::string& name) {
    text += Row(Fixed(layer.total_ms, 3).c_str(), Fixed(layer.average_ms, 5).c_str(),
                Fixed(layer.median_ms, 5).c_str(), Fixed(layer.percent, 1).c_str(), name);
  };
  for (const LayerProfile& layer : layers) {
    add(layer, TerminalText(layer.layer));
    total_ms += layer.total_ms;
    average_ms += layer.average_ms;
    median_ms += layer.median_ms;
  }
  add({"", total_ms, average_ms, median_ms, layers.empty() ? 0.0 : 100.0}, "Total");
  return text;
}

std::string ProfileJson(std::span<const LayerProfile> layers, int runs) {
  JsonWriter json;
  json.BeginArray();
  json.BeginObject().Key("count").Number(static_cast<double>(runs)).EndObject();
  for (const LayerProfile& layer : layers) {
    json.BeginObject().Key("name").String(layer.layer);
    json.Key("timeMs").Number(layer.total_ms).Key("averageMs").Number(layer.average_ms);
    json.Key("medianMs").Number(layer.median_ms);
    json.Key("percentage").Number(layer.percent).EndObject();
  }
  json.EndArray();
  return json.text();
}

}  // namespace verdict
