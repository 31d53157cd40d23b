#include "observe/trace/otlp_exporter.h"

#include <curl/curl.h>
#include <simdjson.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "observe/trace/otlp_json.h"

namespace verdict {
namespace {

constexpr std::chrono::milliseconds kPoll{50};
constexpr size_t kMaxPending = 4096;  // records
constexpr size_t kMaxBatch = 512;     // records, about 1 KiB of JSON each
constexpr size_t kMaxAnswerBytes = 64 << 10;

/// libcurl's own global state: once a process, before its first use.
void InitializeCurl() {
  static const CURLcode once = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  VERDICT_CHECK(once == CURLE_OK);
}

Status CheckHeader(const std::string& header) {
  const size_t colon = header.find(':');
  const bool one_line = header.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos;
  if (one_line && colon != std::string::npos && colon > 0) return OkStatus();
  return InvalidArgument("a header for the trace collector must be one line, 'Name: value'");
}

/// How many spans an answer says were rejected (ExportTracePartialSuccess); 0 for what cannot be
/// read.
uint64_t RejectedSpans(std::string_view answer) {
  simdjson::dom::parser parser;
  simdjson::dom::element rejected;
  if (parser.parse(answer.data(), answer.size())["partialSuccess"]["rejectedSpans"].get(rejected) !=
      simdjson::SUCCESS) {
    return 0;
  }
  uint64_t count = 0;
  if (rejected.get(count) == simdjson::SUCCESS) return count;
  std::string_view text;
  if (rejected.get(text) != simdjson::SUCCESS) return 0;
  return std::strtoull(std::string(text).c_str(), nullptr, 10);
}

size_t KeepAnswer(const char* data, size_t size, size_t count, void* user) {
  auto& answer = *static_cast<std::string*>(user);
  const size_t bytes = size * count;
  if (bytes > kMaxAnswerBytes - answer.size()) return 0;  // ends the transfer
  answer.append(data, bytes);
  return bytes;
}

}  // namespace

Status CheckCollectorUrl(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)> parsed(::curl_url(),
                                                                     &::curl_url_cleanup);
  const auto part = [&](CURLUPart which) {
    char* text = nullptr;
    if (::curl_url_get(parsed.get(), which, &text, 0) != CURLUE_OK) return std::string();
    std::string copy = text;
    ::curl_free(text);
    return copy;
  };
  const std::string shape = "must be like http://collector:4318/v1/traces";
  if (url.find_first_of("\r\n ") != std::string::npos ||
      ::curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return InvalidArgument("the URL of the trace collector " + shape);
  }
  const std::string scheme = part(CURLUPART_SCHEME);
  if ((scheme != "http" && scheme != "https") || part(CURLUPART_HOST).empty()) {
    return InvalidArgument("the URL of the trace collector, '" + url + "', " + shape);
  }
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) {
    return InvalidArgument(
        "the URL of the trace collector holds a user or password: send credentials in a header");
  }
  return OkStatus();
}

/// One libcurl handle; it keeps its connection from batch to batch.
struct OtlpExporter::Connection {
  std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> curl{nullptr, &::curl_easy_cleanup};
  std::unique_ptr<curl_slist, decltype(&::curl_slist_free_all)> headers{nullptr,
                                                                        &::curl_slist_free_all};
  std::string answer;
  std::string error;  // of the last attempt
  std::chrono::milliseconds retry_after{0};

  void AddHeader(const std::string& header) {
    curl_slist* const longer = ::curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return;
    (void)headers.release();  // part of the longer list now
    headers.reset(longer);
  }

  Outcome Post(const std::string& body, std::chrono::milliseconds timeout) {
    answer.clear();
    error.clear();
    retry_after = std::chrono::milliseconds(0);
    ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.data());
    ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(body.size()));
    ::curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    const CURLcode result = ::curl_easy_perform(curl.get());
    long code = 0;
    ::curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
    // Once it has said so, what else it sends (or does not) changes nothing.
    if (code >= 200 && code < 300) return Outcome::kTaken;
    error = code != 0 ? "HTTP status " + std::to_string(code) : ::curl_easy_strerror(result);
    curl_off_t seconds = 0;
    ::curl_easy_getinfo(curl.get(), CURLINFO_RETRY_AFTER, &seconds);
    retry_after = std::chrono::seconds(std::clamp<curl_off_t>(seconds, 0, 3600));
    const bool again = code == 0 || code == 429 || code == 502 || code == 503 || code == 504;
    return again ? Outcome::kRetry : Outcome::kRefused;
  }
};

OtlpExporter::OtlpExporter(OtlpOptions options, const Rings& rings, TraceCounters* counters)
    : options_(std::move(options)),
      rings_(rings),
      counters_(*counters),
      connection_(std::make_unique<Connection>()) {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  random_.seed(seed);
}

Result<std::unique_ptr<OtlpExporter>> OtlpExporter::Start(OtlpOptions options, const Rings& rings,
                                                          TraceCounters* counters) {
  InitializeCurl();
  VERDICT_RETURN_IF_ERROR(CheckCollectorUrl(options.url));
  for (const std::string& header : options.headers) VERDICT_RETURN_IF_ERROR(CheckHeader(header));
  std::unique_ptr<OtlpExporter> exporter(new OtlpExporter(std::move(options), rings, counters));
  Connection& connection = *exporter->connection_;
  connection.curl.reset(::curl_easy_init());
  if (connection.curl == nullptr) return ResourceExhausted("no memory for libcurl");
  connection.AddHeader("Content-Type: application/json");
  connection.AddHeader("Expect:");  // no waiting for 100 Continue
  for (const std::string& header : exporter->options_.headers) connection.AddHeader(header);
  CURL* const curl = connection.curl.get();
  ::curl_easy_setopt(curl, CURLOPT_URL, exporter->options_.url.c_str());
  ::curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(curl, CURLOPT_PROXY, "");  // straight there, whatever the environment says
  ::curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(curl, CURLOPT_POST, 1L);
  ::curl_easy_setopt(curl, CURLOPT_HTTPHEADER, connection.headers.get());
  ::curl_easy_setopt(curl, CURLOPT_USERAGENT, "verdict");
  ::curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &KeepAnswer);
  ::curl_easy_setopt(curl, CURLOPT_WRITEDATA, &connection.answer);
  // A stop ends even an attempt under way, at its deadline.
  const curl_xferinfo_callback on_progress = [](void* user, curl_off_t, curl_off_t, curl_off_t,
                                                curl_off_t) {
    const auto deadline = static_cast<OtlpExporter*>(user)->StopDeadline();
    return deadline.has_value() && Clock::now() >= *deadline ? 1 : 0;
  };
  ::curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  ::curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  ::curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exporter.get());
  try {
    exporter->thread_ = std::thread([exporter = exporter.get()] { exporter->Run(); });
  } catch (const std::system_error&) {
    return ResourceExhausted("cannot start the thread that sends traces; raise the process limit");
  }
  return exporter;
}

OtlpExporter::~OtlpExporter() { Stop(std::chrono::milliseconds(0)); }

void OtlpExporter::Stop(std::chrono::milliseconds patience) {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_deadline_ = Clock::now() + patience;
  }
  stopped_.notify_all();
  thread_.join();
}

std::optional<OtlpExporter::Clock::time_point> OtlpExporter::StopDeadline() const {
  std::lock_guard lock(mutex_);
  return stop_deadline_;
}

bool OtlpExporter::WaitFor(Clock::duration duration) {
  const auto until = Clock::now() + duration;
  while (true) {
    Drain();
    const auto now = Clock::now();
    if (now >= until) return true;
    std::unique_lock lock(mutex_);
    const auto step = std::min<Clock::duration>(kPoll, until - now);
    if (stopped_.wait_for(lock, step, [this] { return stop_deadline_.has_value(); })) return false;
  }
}

void OtlpExporter::Drain() {
  const bool was_empty = pending_.empty();
  for (const auto& ring : rings_) {
    StoredSpan span;
    while (pending_.size() < kMaxPending && ring->Pop(&span)) pending_.push_back(std::move(span));
  }
  if (was_empty) oldest_ = Clock::now();
}

void OtlpExporter::Run() {
  while (WaitFor(kPoll)) {
    while (pending_.size() >= kMaxBatch ||
           (!pending_.empty() && Clock::now() - oldest_ >= options_.delay)) {
      SendBatch();
      oldest_ = Clock::now();
    }
  }
  for (Drain(); !pending_.empty(); Drain()) SendBatch();
}

SpanId OtlpExporter::NewSpanId() {
  SpanId id;
  do {
    const uint64_t bits = random_();
    std::memcpy(id.data(), &bits, id.size());
  } while (id == SpanId{});
  return id;
}

void OtlpExporter::SendBatch() {
  const auto end = pending_.begin() + static_cast<ptrdiff_t>(std::min(pending_.size(), kMaxBatch));
  const std::vector<StoredSpan> batch(std::make_move_iterator(pending_.begin()),
                                      std::make_move_iterator(end));
  pending_.erase(pending_.begin(), end);
  uint64_t count = 0;
  for (const StoredSpan& span : batch) count += static_cast<uint64_t>(SpanCount(span.record));
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const std::string body =
      OtlpTraceRequest(batch, options_.service_version,
                       std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch) -
                           std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot),
                       [this] { return NewSpanId(); });

  Connection& connection = *connection_;
  std::chrono::milliseconds pause = options_.first_retry;
  for (int attempt = 1;; ++attempt) {
    std::chrono::milliseconds timeout = options_.timeout;
    const auto deadline = StopDeadline();
    if (deadline.has_value()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      timeout = std::min(timeout, left);
    }
    Outcome outcome = Outcome::kRefused;
    if (timeout.count() > 0) outcome = connection.Post(body, timeout);
    if (outcome == Outcome::kTaken) {
      const uint64_t rejected = std::min(count, RejectedSpans(connection.answer));
      counters_.exported.fetch_add(count - rejected, std::memory_order_relaxed);
      counters_.dropped.fetch_add(rejected, std::memory_order_relaxed);
      return;
    }
    if (outcome == Outcome::kRefused || attempt >= options_.attempts || deadline.has_value()) break;
    // Somewhere in the second half of the pause, so that servers do not all come back at once.
    const auto half = pause / 2;
    auto wait = half + std::chrono::milliseconds(
                           random_() % static_cast<uint64_t>(std::max<int64_t>(1, half.count())));
    wait = std::min(std::max(wait, connection.retry_after), options_.longest_retry);
    (void)WaitFor(wait);  // a stop leaves time for one attempt more
    pause = std::min(2 * pause, options_.longest_retry);
  }
  counters_.dropped.fetch_add(count, std::memory_order_relaxed);
  if (const auto held_back = log_limit_.Pass()) {
    spdlog::warn("{} spans are lost: the trace collector {} did not take them: {}{}", count,
                 options_.url, connection.error.empty() ? "no time left" : connection.error,
                 MoreLikeIt(*held_back));
  }
}

}  // namespace verdict
