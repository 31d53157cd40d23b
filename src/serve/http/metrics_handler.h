#pragma once

#include "serve/endpoints/service.h"
#include "serve/http/message.h"

namespace verdict {

/// Serves GET /metrics, for Prometheus.
class MetricsHandler : public HttpHandler {
 public:
  explicit MetricsHandler(Service& service) : service_(service) {}

  void Handle(int worker, HttpRequest& request, HttpResponse* response) override;
  // The scrapes themselves are not counted.
  void Count(int, int) override {}
  void CountConnection(int, bool) override {}
  void CountRefused() override {}

 private:
  Service& service_;
};

}  // namespace verdict
