#pragma once

#include <functional>
#include <utility>

#include "serve/endpoints/service.h"
#include "serve/http/message.h"

namespace verdict {

/// Serves GET /metrics, for Prometheus.
class MetricsHandler : public HttpHandler {
 public:
  /// sample: adds what the server knows beside the service; may be empty. Threads: the handler's.
  explicit MetricsHandler(Service& service, std::function<void(ServerSample*)> sample = {})
      : service_(service), sample_(std::move(sample)) {}

  void Handle(int worker, HttpRequest& request, HttpResponse* response) override;
  // The scrapes themselves are not counted.
  void Count(int, int) override {}
  void CountConnection(int, bool) override {}
  void CountRefused() override {}

 private:
  Service& service_;
  std::function<void(ServerSample*)> sample_;
};

}  // namespace verdict
