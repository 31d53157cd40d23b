"""An OpenTelemetry collector of one's own: keeps the spans that are posted to it."""

from __future__ import annotations

import http.server
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def b64_ids(request: dict) -> dict:
    """OTLP's JSON has ids in hexadecimal, where protobuf's has them in base64."""
    import base64

    def walk(value: object) -> object:
        if isinstance(value, list):
            return [walk(v) for v in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode()
            if key in ("traceId", "spanId", "parentSpanId") else walk(inner)
            for key, inner in value.items()}

    return walk(request)


class Collector:
    """Listens on a free port of its own until close()."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.errors: list[str] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                import json

                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = 200
                try:
                    assert self.path == "/v1/traces", self.path
                    assert self.headers["Content-Type"] == "application/json"
                    message = ExportTraceServiceRequest()
                    # Strict: a field that OTLP does not have is an error.
                    json_format.ParseDict(b64_ids(json.loads(body)), message)
                    collector.requests.append(message)
                except Exception as error:  # noqa: BLE001  the test reports it
                    collector.errors.append(repr(error))
                    code = 400
                self.send_response(code)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def spans(self) -> list[Span]:
        assert not self.errors, self.errors
        return [span for request in list(self.requests) for resource in request.resource_spans
                for scope in resource.scope_spans for span in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
