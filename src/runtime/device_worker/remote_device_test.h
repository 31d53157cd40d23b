#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/device/device_plugin.h"
#include "ir/text.h"
#include "ops/infer.h"
#include "plan/profile.h"
#include "runtime/device_fixture_test.h"
#include "runtime/device_worker/remote_device.h"

namespace verdict {

// For tests: a small graph, and a fake device in a worker.

struct WorkerModel {
  explicit WorkerModel(const char* text = kDeviceMlp) : graph(ParseGraph(text).value()) {
    VERDICT_CHECK(InferShapes(graph).ok());
    profiles.push_back(MakeProfile(graph, ParseShapes("x:1x6").value(),
                                   ParseShapes("x:4x6").value(), ParseShapes("x:32x6").value())
                           .value());
  }

  Graph graph;
  std::vector<Profile> profiles;
};

/// Rows of numbers that depend on `seed`.
inline Constant WorkerInput(Dim rows, float seed) {
  std::vector<float> values(static_cast<size_t>(rows) * 6);
  for (size_t i = 0; i < values.size(); ++i) values[i] = seed + 0.1F * static_cast<float>(i % 17);
  return Constant::Of<float>({rows, 6}, std::span<const float>(values));
}

inline std::vector<float> RunOnce(DeviceRunner& runner, const Constant& input) {
  const TensorView view = input.view();
  const auto outputs = runner.Run(std::span(&view, 1)).value();
  const auto values = outputs[0].as<const float>();
  return {values.begin(), values.end()};
}

/// Lines that a device has logged. Threads: any.
class LogLines {
 public:
  void Add(const std::string& line) {
    const std::scoped_lock lock(mutex_);
    text_ += line + "\n";
  }
  std::string text() const {
    const std::scoped_lock lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

inline Result<std::unique_ptr<Device>> OpenFake(const DeviceOptions& options = {},
                                                const WorkerOptions& worker = {}) {
  return OpenDeviceInWorker("fake", VERDICT_TEST_PLUGINS_FOLDER, options, worker);
}

}  // namespace verdict
