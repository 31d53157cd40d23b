#include "serve/http/metrics_handler.h"

#include <memory>

#include "serve/http/refusal.h"

namespace verdict {

void MetricsHandler::Handle(int, HttpRequest& request, HttpResponse* response) {
  const std::string_view target = request.head.target;
  if (target.substr(0, target.find('?')) != "/metrics") {
    return SetError(404, "the metrics are at /metrics", response);
  }
  if (request.head.method != Method::kGet && request.head.method != Method::kHead) {
    SetError(405, "this endpoint takes GET, HEAD", response);
    response->allow = "GET, HEAD";
    return;
  }
  const Caller caller{.listener = ListenerKind::kMetrics,
                      .credentials = {request.head.authorization, request.peer.certificate_names},
                      .address = request.peer.address,
                      .from_browser = request.head.from_browser};
  std::shared_ptr<const Principal> principal;
  if (const Refusal refusal = service_.gate().Identify(caller, Role::kMetrics, &principal);
      !refusal.status.ok()) {
    return SetRefusal(refusal, response);
  }
  response->content_type = "text/plain; version=0.0.4; charset=utf-8";
  ServerSample sample;
  sample.ready = service_.ready();
  for (size_t i = 0; i < kNumDenied; ++i) {
    const auto reason = static_cast<Denied>(i);
    sample.refused.emplace_back(DeniedName(reason), service_.gate().denied(reason));
  }
  if (sample_) sample_(&sample);
  response->body = service_.metrics().Text(sample);
}

}  // namespace verdict
