#include "serve/http/metrics_handler.h"

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
  response->content_type = "text/plain; version=0.0.4; charset=utf-8";
  response->body = service_.metrics().Text(service_.ready());
}

}  // namespace verdict
