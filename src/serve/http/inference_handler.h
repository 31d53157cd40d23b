#pragma once

#include <memory>
#include <vector>

#include "observe/logging.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/service.h"
#include "serve/http/message.h"
#include "serve/http/target.h"

namespace verdict {

/// Brings HTTP requests to the endpoints, and their replies back.
class InferenceHandler : public HttpHandler {
 public:
  /// max_body_bytes: also how large a compressed body may become.
  /// listener: on which kind of port its requests come.
  InferenceHandler(Service& service, size_t max_body_bytes, ListenerKind listener);

  bool AdmitsBody(int worker, HttpRequest& request, HttpResponse* response) override;

  void Handle(int worker, HttpRequest& request, HttpResponse* response) override;
  void Count(int worker, int code) override;
  void CountConnection(int worker, bool opened) override;
  void CountRefused() override;

 private:
  class Later;
  class Transport;
  void Answer(const RequestHead& head, const Status& status, Reply reply, HttpResponse* response);
  void FillAnswer(const RequestHead& head, const Status& status, const Reply& reply,
                  HttpResponse* response);
  void LogServerError(const RequestHead& head, const Status& status);

  /// The endpoint of the request's path, with `call` filled from it; null: the response says why.
  const Endpoint* FindEndpoint(int worker, const RequestHead& head, Call* call,
                               HttpResponse* response);
  Caller CallerOf(const HttpRequest& request) const;

  Service& service_;
  size_t max_body_bytes_;
  ListenerKind listener_;
  std::vector<std::unique_ptr<TargetPath>> paths_;  // one a worker
  LogLimit log_limit_;
};

}  // namespace verdict
