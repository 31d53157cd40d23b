#include "observe/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

namespace verdict {
namespace {

using testing::HasSubstr;

/// "name type label,label" per metric of a scrape; the histograms' own "le" is left out.
std::set<std::string> Names(const std::string& text) {
  std::map<std::string, std::string> types;
  std::map<std::string, std::string> labels;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      std::istringstream words(line.substr(7));
      std::string name, type;
      words >> name >> type;
      types[name] = type;
    } else if (!line.empty() && line[0] != '#') {
      std::string name = line.substr(0, line.find_first_of("{ "));
      for (const char* suffix : {"_bucket", "_sum", "_count"}) {
        const std::string stem = name.substr(0, name.rfind(suffix));
        if (stem != name && types.count(stem) && types[stem] == "histogram") name = stem;
      }
      std::string keys;
      const size_t open = line.find('{');
      for (size_t at = open; at != std::string::npos && line[at] != '}';) {
        const size_t equals = line.find('=', at);
        const std::string key = line.substr(at + 1, equals - at - 1);
        if (key != "le") keys += (keys.empty() ? "" : ",") + key;
        at = line.find('"', equals + 2) + 1;
      }
      labels[name] = keys;
    }
  }
  std::set<std::string> result;
  for (const auto& [name, type] : types) {
    result.insert(name + " " + type + (labels[name].empty() ? "" : " " + labels[name]));
  }
  return result;
}

TEST(Metrics, NamesTypesAndLabelsArePinned) {
  Metrics metrics(1);
  metrics.Model("fraud", "3");
  metrics.CountLoad("fraud", true);
  metrics.AddReloads("clients");
  ServerSample server;
  server.refused = {{"shed", 0}};
  server.certificates = {{"server", 1}};
  server.gpus = {{.uuid = "GPU-0",
                  .utilization = 0,
                  .memory_total_bytes = 0,
                  .memory_used_bytes = 0,
                  .power_watts = 0,
                  .power_limit_watts = 0,
                  .energy_joules = 0,
                  .temperature_celsius = 0,
                  .sm_clock_hertz = 0,
                  .memory_clock_hertz = 0,
                  .corrected_ecc_errors = 0,
                  .uncorrected_ecc_errors = 0,
                  .throttle_reasons = 0}};
  server.device.emplace().models.resize(1);
  server.routes.push_back(
      {.route = "risk", .rungs = {{.model = "fraud", .outcomes = {{"error", 0}}}}});
  std::ifstream file(VERDICT_SOURCE_DIR "/tests/golden/metrics.txt");
  ASSERT_TRUE(file) << "tests/golden/metrics.txt is missing";
  std::set<std::string> pinned;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') pinned.insert(line);
  }
  EXPECT_EQ(Names(metrics.Text(server)), pinned)
      << "dashboards depend on these names: change tests/golden/metrics.txt only on purpose";
}

TEST(Metrics, CountsOfAllWorkersAreSummed) {
  Metrics metrics(2);
  auto model = metrics.Model("fraud", "3");
  RequestTimes times;
  times.total_ns = 40'000;
  times.input_ns = 3'000;
  times.queue_ns = 5'000;
  times.infer_ns = 20'000;
  times.output_ns = 2'000;
  model->RecordSuccess(0, {1, 1, true}, 5, times);
  model->RecordSuccess(1, {8, 12, false}, 7, times);
  // A queue that is replaced, as by a reload, has counted on.
  QueueTotals queue;
  queue.waiting = 9;
  queue.sizes[BatchSizes::IndexOf(12)] = {.runs = 3, .rows = 36, .infer_ns = 60'000};
  queue.rejected[static_cast<size_t>(QueueRejection::kTimeout)] = 2;
  queue.sequences_held = 5;
  queue.sequences_evicted = 1;
  model->SetQueue([queue] { return queue; });
  queue.waiting = 4;
  queue.sizes[BatchSizes::IndexOf(12)] = {.runs = 2, .rows = 24, .infer_ns = 40'000};
  model->SetQueue([queue] { return queue; });
  model->RecordFailure(1, FailureReason::kOther, 1'000);
  model->SetLoaded(true, 0.25);
  EXPECT_EQ(model->Sum().last_inference_ms, 7u);
  const BatchSizeTotals twelve = model->Sum().sizes[BatchSizes::IndexOf(12)];
  EXPECT_EQ(twelve.runs, 5U);
  EXPECT_EQ(twelve.rows, 60U);
  EXPECT_EQ(twelve.infer_ns, 100'000U);
  EXPECT_EQ(twelve.input_ns, 3'000U);
  EXPECT_EQ(twelve.output_ns, 2'000U);
  const std::string text = metrics.Text({.ready = true});
  const std::string labels = "{model=\"fraud\",version=\"3\"} ";
  EXPECT_THAT(text, HasSubstr("nv_inference_request_success" + labels + "2\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_count" + labels + "9\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_exec_count" + labels + "6\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_request_duration_us" + labels + "80\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_queue_duration_us" + labels + "10\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_pending_request_count" + labels + "4\n"));
  EXPECT_THAT(text, HasSubstr("verdict_queue_duration_us_count" + labels + "2\n"));
  EXPECT_THAT(text, HasSubstr("verdict_batch_rows_sum" + labels + "61\n"));
  EXPECT_THAT(text, HasSubstr("verdict_sequences" + labels + "5\n"));
  EXPECT_THAT(text, HasSubstr("verdict_sequences_evicted_total" + labels + "2\n"));
  EXPECT_THAT(text, HasSubstr("verdict_queue_rejections_total{model=\"fraud\",version=\"3\","
                              "reason=\"timeout\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_compute_input_duration_us" + labels + "6\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_compute_infer_duration_us" + labels + "40\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_compute_output_duration_us" + labels + "4\n"));
  EXPECT_THAT(text, HasSubstr("verdict_model_ready" + labels + "1\n"));
  EXPECT_THAT(text, HasSubstr("nv_model_load_duration_secs" + labels + "0.25\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "nv_inference_request_failure{model=\"fraud\",version=\"3\",reason=\"OTHER\"} 1\n"));
}

TEST(Metrics, HistogramBoundsAreInclusiveAndMicroseconds) {
  Metrics metrics(1);
  auto model = metrics.Model("m", "1");
  for (uint64_t ns : {10'000, 10'001, 2'000'000'000}) {
    RequestTimes times;
    times.total_ns = ns;
    model->RecordSuccess(0, {1, 1, true}, 0, times);
  }
  const std::string text = metrics.Text({.ready = true});
  const std::string bucket = "verdict_request_duration_us_bucket{model=\"m\",version=\"1\",le=";
  EXPECT_THAT(text, HasSubstr(bucket + "\"10\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"20\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"1000000\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"+Inf\"} 3\n"));
}

TEST(Metrics, RowsOfRunsAreCountedBySize) {
  for (uint64_t rows = 1; rows <= kSizesApart; ++rows) {
    EXPECT_EQ(BatchSizes::IndexOf(rows), rows - 1);
  }
  EXPECT_EQ(BatchSizes::IndexOf(kSizesApart + 1), kSizesApart);
  EXPECT_EQ(BatchSizes::IndexOf(256), kSizesApart);
  EXPECT_EQ(BatchSizes::IndexOf(257), kSizesApart + 1);
  EXPECT_EQ(BatchSizes::IndexOf(1024), kSizesApart + 2);
  EXPECT_EQ(BatchSizes::IndexOf(1025), BatchSizes::kSizes - 1);
  EXPECT_EQ(BatchSizes::IndexOf(UINT64_MAX), BatchSizes::kSizes - 1);
  Metrics metrics(1);
  auto model = metrics.Model("m", "1");
  for (uint64_t rows : {1, 3, 4, 5, 128, 129, 1024, 5000}) {
    model->RecordSuccess(0, {rows, rows, true}, 0, {});
  }
  const std::string text = metrics.Text({.ready = true});
  const std::string bucket = "verdict_batch_rows_bucket{model=\"m\",version=\"1\",le=";
  EXPECT_THAT(text, HasSubstr(bucket + "\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"2\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"4\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"128\"} 5\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"256\"} 6\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"512\"} 6\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"1024\"} 7\n"));
  EXPECT_THAT(text, HasSubstr(bucket + "\"+Inf\"} 8\n"));
  EXPECT_THAT(text, HasSubstr("verdict_batch_rows_sum{model=\"m\",version=\"1\"} 6294\n"));
}

TEST(Metrics, ReloadsRefusalsAndCertificates) {
  Metrics metrics(1);
  metrics.AddReloads("clients");
  EXPECT_THAT(metrics.Text({.ready = true}),
              HasSubstr("verdict_reloads_total{files=\"clients\",result=\"failure\"} 0\n"));
  EXPECT_THAT(metrics.Text({.ready = true}),
              testing::ContainsRegex(
                  "verdict_reload_last_success_timestamp_seconds.files=\"clients\". [1-9]"));
  metrics.CountReload("clients", false);
  metrics.CountReload("clients", true);
  metrics.CountReload("clients", true);
  ServerSample server;
  server.refused = {{"shed", 3}, {"client_rate", 0}};
  server.certificates = {{"server", 1795000000}};
  server.handshakes_failed = 2;
  const std::string text = metrics.Text(server);
  EXPECT_THAT(text, HasSubstr("verdict_reloads_total{files=\"clients\",result=\"success\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("verdict_reloads_total{files=\"clients\",result=\"failure\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("verdict_requests_refused_total{reason=\"shed\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("verdict_requests_refused_total{reason=\"client_rate\"} 0\n"));
  EXPECT_THAT(
      text,
      HasSubstr("verdict_tls_certificate_expiry_timestamp_seconds{use=\"server\"} 1795000000\n"));
  EXPECT_THAT(text, HasSubstr("verdict_http_tls_handshakes_total{result=\"failure\"} 2\n"));
  EXPECT_THAT(metrics.Text({.ready = true}), testing::Not(HasSubstr("tls"))) << "there is none";
}

TEST(Metrics, SameModelGetsTheSameCounters) {
  Metrics metrics(1);
  EXPECT_EQ(metrics.Model("m", "1"), metrics.Model("m", "1"));
  EXPECT_NE(metrics.Model("m", "1"), metrics.Model("m", "2"));
}

TEST(Metrics, LoadsAreCountedByResultAndWhatIsGoneIsForgotten) {
  Metrics metrics(1);
  metrics.CountLoad("m", true);
  metrics.CountLoad("m", false);
  metrics.CountLoad("m", false);
  const auto counters = metrics.Model("m", "1");
  metrics.Model("m", "2");
  EXPECT_THAT(metrics.Text({.ready = true}),
              HasSubstr("verdict_model_loads_total{model=\"m\",result=\"success\"} 1\n"));
  EXPECT_THAT(metrics.Text({.ready = true}),
              HasSubstr("verdict_model_loads_total{model=\"m\",result=\"failure\"} 2\n"));
  metrics.Retire("m", "1");
  EXPECT_THAT(metrics.Text({.ready = true}), testing::Not(HasSubstr("version=\"1\"")));
  EXPECT_THAT(metrics.Text({.ready = true}), HasSubstr("version=\"2\""));
  counters->RecordFailure(0, FailureReason::kOther, 1);  // a request that was under way
  metrics.Retire("m", "2");
  metrics.RetireModel("m");
  EXPECT_THAT(metrics.Text({.ready = true}), testing::Not(HasSubstr("model=")));
}

TEST(Metrics, ConnectionsAndResponses) {
  Metrics metrics(2);
  metrics.http(0).connections_opened.Add(3);
  metrics.http(1).connections_opened.Add(2);
  metrics.http(1).connections_closed.Add(1);
  metrics.http(0).responses[404].Add(2);
  metrics.http(1).responses[404].Add(1);
  metrics.grpc(0).responses[5].Add(1);
  metrics.grpc(1).responses[5].Add(2);
  metrics.CountRefusedConnection();
  const std::string text = metrics.Text({.ready = true});
  EXPECT_THAT(text, HasSubstr("verdict_http_connections 4\n"));
  EXPECT_THAT(text, HasSubstr("verdict_http_connections_total 5\n"));
  EXPECT_THAT(text, HasSubstr("verdict_http_connections_refused_total 1\n"));
  EXPECT_THAT(text, HasSubstr("verdict_http_responses_total{code=\"404\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("verdict_http_responses_total{code=\"200\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("verdict_grpc_responses_total{code=\"NOT_FOUND\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("verdict_grpc_responses_total{code=\"OK\"} 0\n"));
}

TEST(Metrics, ServerReadyIsWhatTheScrapeIsTold) {
  const Metrics metrics(1);
  EXPECT_THAT(metrics.Text({.ready = true}), HasSubstr("verdict_server_ready 1\n"));
  EXPECT_THAT(metrics.Text({.ready = false}), HasSubstr("verdict_server_ready 0\n"));
}

TEST(Metrics, RecordingWhileScrapingLosesNothing) {
  constexpr int kWorkers = 4;
  constexpr int kRequests = 2000;
  Metrics metrics(kWorkers);
  auto model = metrics.Model("m", "1");
  std::vector<std::thread> threads;
  for (int worker = 0; worker < kWorkers; ++worker) {
    threads.emplace_back([&, worker] {
      for (int i = 0; i < kRequests; ++i) model->RecordSuccess(worker, {2, 2, true}, 0, {});
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(metrics.Text({.ready = true}).empty());
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(model->Sum().success, uint64_t{kWorkers} * kRequests);
  EXPECT_EQ(model->Sum().inferences, uint64_t{kWorkers} * kRequests * 2);
}

}  // namespace
}  // namespace verdict
