#pragma once

#include "observe/metrics.h"
#include "serve/http/message.h"

namespace verdict {

/// Serves GET /metrics, for Prometheus.
class MetricsHandler : public HttpHandler {
 public:
  explicit MetricsHandler(const Metrics& metrics) : metrics_(metrics) {}

  void Handle(int worker, HttpRequest& request, HttpResponse* response) override;
  // The scrapes themselves are not counted.
  void Count(int, int) override {}
  void CountConnection(int, bool) override {}
  void CountRefused() override {}

 private:
  const Metrics& metrics_;
};

}  // namespace verdict
