#include "observe/trace/tracer.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <simdjson.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "observe/trace/otlp_json.h"

namespace verdict {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kUnsampled[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A collector on a free port: every request gets what `answer` makes of its number, from 0.
class Collector {
 public:
  explicit Collector(std::function<std::string(int)> answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ::ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Collector() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1/traces"; }
  std::vector<std::string> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Serve() {
    for (int number = 0;; ++number) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      std::string request;
      char buffer[4096];
      size_t wanted = std::string::npos;
      while (request.size() < wanted) {
        const ssize_t got = ::recv(client, buffer, sizeof(buffer), 0);
        if (got <= 0) break;
        request.append(buffer, static_cast<size_t>(got));
        const size_t end = request.find("\r\n\r\n");
        const size_t length = request.find("Content-Length: ");
        if (end != std::string::npos && length < end) {
          wanted = end + 4 + std::stoul(request.substr(length + 16));
        }
      }
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      const std::string answer = answer_(number);
      (void)::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(client);
    }
  }

  std::function<std::string(int)> answer_;
  int listener_ = -1;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

std::string Answer(int code, const std::string& body = "{}", const std::string& fields = "") {
  return "HTTP/1.1 " + std::to_string(code) + " X\r\nConnection: close\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

OtlpOptions QuickOptions(const std::string& url) {
  OtlpOptions options;
  options.url = url;
  options.service_version = "1.2.3";
  options.delay = 10ms;
  options.timeout = 300ms;
  options.first_retry = 10ms;
  options.longest_retry = 50ms;
  options.attempts = 3;
  return options;
}

constexpr TraceSettings kAll{.timestamps = true, .rate = 1};

/// A request that went through all phases: five spans.
SpanRecord Whole(const RequestTrace& trace) {
  SpanRecord span = trace.Span();
  span.model = "fraud";
  span.version = "3";
  span.rows = 2;
  span.received = SpanRecord::Clock::now();
  span.parsed = span.received + 10us;
  span.started = span.received + 30us;
  span.computed = span.received + 60us;
  span.done = span.received + 100us;
  return span;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

TEST(Tracer, IsOffWithoutACollector) {
  TraceCounters counters;
  Tracer tracer(1, &counters);
  EXPECT_FALSE(tracer.Begin(0, "m", ParseTraceContext(kParent, "")).sampled);
  const Status status = tracer.Update("", {.timestamps = true});
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("tracing.endpoint"));
  EXPECT_TRUE(tracer.Update("", {.rate = 7}).ok());
  EXPECT_EQ(tracer.Settings("m").rate, 7u);
}

TEST(Tracer, FollowsTheCallersDecision) {
  TraceCounters counters;
  Tracer tracer(1, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions("http://127.0.0.1:1/"), {true, 1'000'000'000}).ok());
  const RequestTrace trace = tracer.Begin(0, "m", ParseTraceContext(kParent, "a=b"));
  ASSERT_TRUE(trace.sampled);
  EXPECT_EQ(HexText(trace.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(HexText(trace.parent_id), "00f067aa0ba902b7");
  EXPECT_NE(trace.span_id, trace.parent_id);
  EXPECT_EQ(trace.tracestate, "a=b");
  const auto out = trace.Traceparent();
  EXPECT_EQ(std::string(out.data(), out.size()),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-" + HexText(trace.span_id) + "-01");
  ASSERT_TRUE(tracer.Update("", {.rate = 1}).ok());
  EXPECT_FALSE(tracer.Begin(0, "m", ParseTraceContext(kUnsampled, "")).sampled);
}

TEST(Tracer, BeginsOneTraceInSoManyRequests) {
  TraceCounters counters;
  Tracer tracer(1, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions("http://127.0.0.1:1/"), {true, 10}).ok());
  int sampled = 0;
  for (int i = 0; i < 10'000; ++i) sampled += tracer.Begin(0, "m", {}).sampled ? 1 : 0;
  EXPECT_GT(sampled, 700);  // 10 standard deviations
  EXPECT_LT(sampled, 1300);
}

TEST(Tracer, IdsDiffer) {
  TraceCounters counters;
  Tracer tracer(2, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions("http://127.0.0.1:1/"), kAll).ok());
  std::map<std::string, int> ids;
  for (int i = 0; i < 100; ++i) {
    const RequestTrace trace = tracer.Begin(i % 2, "m", {});
    ASSERT_TRUE(trace.sampled);
    EXPECT_EQ(trace.parent_id, SpanId{});
    ++ids[HexText(trace.trace_id)];
    ++ids[HexText(trace.span_id)];
  }
  EXPECT_EQ(ids.size(), 200u);
}

TEST(Tracer, AModelsSettingsComeBeforeThoseOfAll) {
  TraceCounters counters;
  Tracer tracer(1, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions("http://127.0.0.1:1/"), {false, 5}).ok());
  ASSERT_TRUE(tracer.Update("m", {.timestamps = true, .rate = 1}).ok());
  EXPECT_TRUE(tracer.Begin(0, "m", {}).sampled);
  EXPECT_FALSE(tracer.Begin(0, "other", {}).sampled);
  EXPECT_EQ(tracer.Settings("m"), (TraceSettings{true, 1, -1}));
  EXPECT_EQ(tracer.Settings("other"), (TraceSettings{false, 5, -1}));
  // What a model has not set follows all others; what is cleared does again.
  ASSERT_TRUE(tracer.Update("", {.count = 9}).ok());
  EXPECT_EQ(tracer.Settings("m").count, 9);
  ASSERT_TRUE(tracer.Update("m", {.rate = std::optional<uint64_t>()}).ok());
  EXPECT_EQ(tracer.Settings("m").rate, 5u);
  ASSERT_TRUE(tracer.Update("m", {.timestamps = std::optional<bool>()}).ok());
  EXPECT_FALSE(tracer.Begin(0, "m", {}).sampled);
}

TEST(Tracer, ACountEnds) {
  TraceCounters counters;
  Tracer tracer(1, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions("http://127.0.0.1:1/"), {true, 1, 2}).ok());
  const auto sampled = [&](int requests) {
    int count = 0;
    for (int i = 0; i < requests; ++i) count += tracer.Begin(0, "m", {}).sampled ? 1 : 0;
    return count;
  };
  EXPECT_EQ(sampled(1), 1);
  EXPECT_EQ(tracer.Settings("").count, 1);
  ASSERT_TRUE(tracer.Update("other", {.rate = 3}).ok());  // gives nothing back
  EXPECT_EQ(sampled(5), 1);
  EXPECT_EQ(tracer.Settings("").count, 0);
  ASSERT_TRUE(tracer.Update("", {.count = 3}).ok());
  EXPECT_EQ(sampled(5), 3);
  EXPECT_FALSE(tracer.Update("", {.count = -2}).ok());
  EXPECT_FALSE(tracer.Update("", {.rate = 0}).ok());
}

TEST(Tracer, SpansReachTheCollector) {
  Collector collector([](int) { return Answer(200); });
  TraceCounters counters;
  Tracer tracer(1, &counters);
  OtlpOptions options = QuickOptions(collector.url());
  options.headers = {"Authorization: Bearer s3cret"};
  ASSERT_TRUE(tracer.Start(options, kAll).ok());
  const RequestTrace trace = tracer.Begin(0, "fraud", ParseTraceContext(kParent, "a=b"));
  const auto before = std::chrono::system_clock::now().time_since_epoch();
  tracer.Record(0, Whole(trace));
  ASSERT_TRUE(WaitUntil([&] { return counters.exported == 5; }));
  const std::string request = collector.requests().at(0);
  EXPECT_THAT(request, HasSubstr("POST /v1/traces HTTP/1.1\r\n"));
  EXPECT_THAT(request, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(request, HasSubstr("Authorization: Bearer s3cret\r\n"));
  simdjson::dom::parser parser;
  simdjson::dom::array spans;
  const simdjson::padded_string body(request.substr(request.find("\r\n\r\n") + 4));
  ASSERT_EQ(parser.parse(body)["resourceSpans"].at(0)["scopeSpans"].at(0)["spans"].get(spans),
            simdjson::SUCCESS);
  ASSERT_EQ(spans.size(), 5u);
  const auto text = [&](size_t span, const char* key) {
    return std::string(std::string_view(spans.at(span)[key]));
  };
  EXPECT_EQ(text(0, "traceId"), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(text(0, "spanId"), HexText(trace.span_id));
  EXPECT_EQ(text(0, "parentSpanId"), "00f067aa0ba902b7");
  EXPECT_EQ(text(0, "traceState"), "a=b");
  const uint64_t start = std::stoull(text(0, "startTimeUnixNano"));
  EXPECT_NEAR(static_cast<double>(start),
              static_cast<double>(std::chrono::nanoseconds(before).count()), 10e9);
  EXPECT_EQ(std::stoull(text(0, "endTimeUnixNano")) - start, 100'000u);
  const std::vector<std::string> names = {"parse", "queue", "compute", "serialise"};
  const std::vector<uint64_t> ends_us = {10, 30, 60, 100};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(text(i + 1, "name"), names[i]);
    EXPECT_EQ(text(i + 1, "parentSpanId"), HexText(trace.span_id));
    EXPECT_EQ(std::stoull(text(i + 1, "startTimeUnixNano")) - start,
              i == 0 ? 0 : ends_us[i - 1] * 1000);
    EXPECT_EQ(std::stoull(text(i + 1, "endTimeUnixNano")) - start, ends_us[i] * 1000);
  }
}

TEST(Tracer, ARequestThatFailedEndsInThePhaseItReached) {
  SpanRecord span = Whole(RequestTrace{.sampled = true, .trace_id = {1}, .span_id = {2}});
  span.computed = {};
  span.status = StatusCode::kInternal;
  EXPECT_EQ(SpanCount(span), 4);  // no serialise
  StoredSpan stored;
  stored.Assign(span);
  const std::string json = OtlpTraceRequest({&stored, 1}, "1", 0ns, [] { return SpanId{9}; });
  EXPECT_THAT(json, HasSubstr(R"("status":{"code":2})"));
  EXPECT_THAT(json, HasSubstr(R"({"key":"verdict.status","value":{"stringValue":"INTERNAL"}})"));
  EXPECT_THAT(json, testing::Not(HasSubstr("parentSpanId\":\"0000000000000000")));
  span.status = StatusCode::kInvalidArgument;  // the client's mistake
  stored.Assign(span);
  EXPECT_THAT(OtlpTraceRequest({&stored, 1}, "1", 0ns, [] { return SpanId{9}; }),
              testing::Not(HasSubstr(R"("status":{)")));
}

TEST(Tracer, ABusyCollectorIsAskedAgain) {
  Collector collector([](int number) {
    return number == 0 ? Answer(503, "{}", "Retry-After: 3600\r\n") : Answer(200);
  });
  TraceCounters counters;
  Tracer tracer(1, &counters);
  ASSERT_TRUE(tracer.Start(QuickOptions(collector.url()), kAll).ok());
  tracer.Record(0, Whole(tracer.Begin(0, "m", {})));
  ASSERT_TRUE(WaitUntil([&] { return counters.exported == 5; }));
  EXPECT_EQ(counters.dropped, 0u);
  EXPECT_EQ(collector.requests().size(), 2u);
}

TEST(Tracer, WhatTheCollectorDoesNotTakeIsDroppedAndCounted) {
  struct Case {
    const char* what;
    std::function<std::string(int)> answer;
    size_t requests;
  };
  const Case cases[] = {
      {"refuses", [](int) { return Answer(400); }, 1},
      {"redirects", [](int) { return Answer(307, "", "Location: http://127.0.0.1:1/\r\n"); }, 1},
      {"is always busy", [](int) { return Answer(503); }, 3},
      {"is no HTTP server", [](int) { return std::string("\x15\x03\x01"); }, 3},
      {"closes", [](int) { return std::string(); }, 3},
      {"cuts its answer", [](int) { return std::string("HTTP/1.1 50"); }, 3},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.what);
    Collector collector(bad.answer);
    TraceCounters counters;
    Tracer tracer(1, &counters);
    ASSERT_TRUE(tracer.Start(QuickOptions(collector.url()), kAll).ok());
    tracer.Record(0, Whole(tracer.Begin(0, "m", {})));
    EXPECT_TRUE(WaitUntil([&] { return counters.dropped == 5; }));
    EXPECT_EQ(counters.exported, 0u);
    EXPECT_EQ(collector.requests().size(), bad.requests);
  }
}

TEST(Tracer, AnAnswerThatLiesHarmsNobody) {
  const std::string partial = R"({"partialSuccess":{"rejectedSpans":"2","errorMessage":"x"}})";
  const std::string absurd = R"({"partialSuccess":{"rejectedSpans":"99999999999999999999"}})";
  const std::pair<std::string, uint64_t> cases[] = {
      {Answer(200, partial), 2},
      {Answer(200, absurd), 5},
      {Answer(200, R"({"partialSuccess":{"rejectedSpans":-1}})"), 0},
      {Answer(200, std::string(1 << 20, '[')), 0},
      {Answer(200, "no JSON"), 0},
      {"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{", 0},
  };
  for (const auto& [answer, rejected] : cases) {
    SCOPED_TRACE(answer.substr(0, 120));
    Collector collector([&](int) { return answer; });
    TraceCounters counters;
    Tracer tracer(1, &counters);
    ASSERT_TRUE(tracer.Start(QuickOptions(collector.url()), kAll).ok());
    tracer.Record(0, Whole(tracer.Begin(0, "m", {})));
    ASSERT_TRUE(WaitUntil([&] { return counters.exported + counters.dropped == 5; }));
    EXPECT_EQ(counters.dropped, rejected);
  }
}

TEST(Tracer, ACollectorThatIsSlowNeverHoldsARequestUp) {
  std::atomic<bool> release{false};
  Collector collector([&](int) {
    (void)WaitUntil([&] { return release.load(); });
    return Answer(200);
  });
  TraceCounters counters;
  Tracer tracer(1, &counters);
  OtlpOptions options = QuickOptions(collector.url());
  options.timeout = 60s;
  ASSERT_TRUE(tracer.Start(options, kAll).ok());
  constexpr uint64_t kRequests = 20'000;  // more than there is room for
  for (uint64_t i = 0; i < kRequests; ++i) tracer.Record(0, Whole(tracer.Begin(0, "m", {})));
  EXPECT_GT(counters.dropped, 0u);
  const auto start = std::chrono::steady_clock::now();
  tracer.Stop(50ms);  // nor a shutdown
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_EQ(counters.exported + counters.dropped, 5 * kRequests);
  release = true;
}

TEST(Tracer, StopSendsWhatIsLeft) {
  Collector collector([](int) { return Answer(200); });
  TraceCounters counters;
  Tracer tracer(2, &counters);
  OtlpOptions options = QuickOptions(collector.url());
  options.delay = 1h;
  options.timeout = 10s;
  ASSERT_TRUE(tracer.Start(options, kAll).ok());
  tracer.Record(0, Whole(tracer.Begin(0, "m", {})));
  tracer.Record(1, Whole(tracer.Begin(1, "m", {})));
  tracer.Stop(10s);
  EXPECT_EQ(counters.exported, 10u);
  EXPECT_FALSE(tracer.Begin(0, "m", {}).sampled);
  ASSERT_TRUE(tracer.Update("", {.rate = 2}).ok());
  EXPECT_FALSE(tracer.Begin(0, "m", ParseTraceContext(kParent, "")).sampled);
}

TEST(Tracer, WorkersAndChangesOfSettingsDoNotDisturbEachOther) {
  Collector collector([](int) { return Answer(200); });
  TraceCounters counters;
  constexpr int kWorkers = 4;
  Tracer tracer(kWorkers, &counters);
  OtlpOptions options = QuickOptions(collector.url());
  options.timeout = 10s;
  ASSERT_TRUE(tracer.Start(options, kAll).ok());
  std::atomic<uint64_t> sampled{0};
  std::vector<std::thread> workers;
  for (int worker = 0; worker < kWorkers; ++worker) {
    workers.emplace_back([&, worker] {
      for (int i = 0; i < 2000; ++i) {
        const RequestTrace trace = tracer.Begin(worker, i % 2 == 0 ? "a" : "b", {});
        if (!trace.sampled) continue;
        sampled += 5;
        tracer.Record(worker, Whole(trace));
      }
    });
  }
  for (uint64_t rate = 1; rate < 50; ++rate) {
    EXPECT_TRUE(tracer.Update(rate % 2 == 0 ? "a" : "", {.rate = 1 + rate % 3}).ok());
    (void)tracer.Settings("a");
  }
  for (std::thread& worker : workers) worker.join();
  tracer.Stop(20s);
  EXPECT_GT(sampled, 0u);
  EXPECT_EQ(counters.exported + counters.dropped, sampled);
}

TEST(Tracer, CollectorsThatCannotBeAreRefused) {
  for (const char* url :
       {"", "collector:4318", "ftp://h/x", "file:///etc/passwd", "http://",
        "http://user:secret@h/v1/traces", "http://h/\r\nX: y", "http://h:99999/"}) {
    TraceCounters counters;
    Tracer tracer(1, &counters);
    const Status status = tracer.Start(QuickOptions(url), kAll);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(status.message(), testing::Not(HasSubstr("secret")));
  }
  for (const char* header : {"", "no colon", ": x", "A: b\r\nC: d"}) {
    TraceCounters counters;
    Tracer tracer(1, &counters);
    OtlpOptions options = QuickOptions("http://h/");
    options.headers = {header};
    EXPECT_EQ(tracer.Start(options, kAll).code(), StatusCode::kInvalidArgument) << header;
  }
}

}  // namespace
}  // namespace verdict
