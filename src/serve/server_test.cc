#include "serve/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "serve/batching/engines_test.h"
#include "serve/batching/recorded_job_test.h"
#include "serve/http_client_test.h"
#include "serve/small_engine_test.h"

namespace verdict {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr char kInfer[] = "/v2/models/m/infer";
std::string Rows(const std::string& value) {
  return R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[)" + value + "," +
         value + "," + value +
         R"(]},{"name":"text","datatype":"BYTES","shape":[1],"data":["t"]}]})";
}
/// A request with a text of so many bytes, whose answer in JSON has six times as many: the
/// character 1 is written \u0001.
std::string LongText(uint32_t length) {
  std::string raw(sizeof(length), '\0');
  std::memcpy(raw.data(), &length, sizeof(length));
  raw.append(length, '\1');
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]},{"name":"text",)"
      R"("datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":)" +
      std::to_string(raw.size()) + "}}]}";
  return Post(kInfer, json + raw,
              "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n");
}
/// What the small engine of step 1 answers for Rows("4"), as version `version` of `model`.
std::string Answer(const std::string& version, const std::string& y) {
  return R"({"model_name":"m","model_version":")" + version +
         R"(","outputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[)" + y +
         R"(]},{"name":"echo","datatype":"BYTES","shape":[1],"data":["t"]}]})";
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    options_.repository =
        std::filesystem::path(testing::TempDir()) / ("serve." + std::to_string(::getpid()));
    std::filesystem::create_directories(options_.repository);
    options_.http_host = "127.0.0.1";
    options_.http_port = 0;
    options_.metrics_port = 0;
    options_.admin_port = 0;
    options_.grpc_host = "127.0.0.1";
    options_.grpc_port = 0;
    options_.io_threads = 2;
    options_.drain = 0ms;
  }
  ~ServerTest() override {
    server_.reset();
    std::filesystem::remove_all(options_.repository);
  }

  /// Starts with versions 1 (y = x + {1, 2, 3}) and 2 (y = x + {2, 4, 6}) of "m", and "broken",
  /// which could not be loaded.
  void Start() {
    auto server = Server::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
    EXPECT_FALSE(server_->WaitUntilLoaded()) << "an empty repository is not ready";
    Service& service = server_->service();
    auto models = std::make_shared<ModelSet>();
    for (const int64_t version : {1, 2}) {
      const ModelHost host{service.workers(), &service.metrics(), &service.scheduler(), {}};
      auto model =
          LoadedModel::FromEngine("m", version, SmallEngine(static_cast<float>(version)), {}, host);
      ASSERT_TRUE(model.ok()) << model.status().ToString();
      models->Put("m", {version, *model, ""});
    }
    models->Put("broken", {1, nullptr, "its checksum is wrong"});
    service.models().Replace(std::move(models));
    service.SetModelsReady(true);
  }
  uint16_t port() const { return PortOf(server_->http_url()); }
  static uint16_t PortOf(const std::string& url) {
    return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }
  Response Ask(const std::string& bytes) { return Client(port()).Ask(bytes); }
  std::string Scrape() { return Client(PortOf(server_->metrics_url())).Ask(Get("/metrics")).body; }

  /// How many responses with that code have been counted.
  int Answered(int code) {
    const std::string scrape = Scrape();
    const std::string name = "verdict_http_responses_total{code=\"" + std::to_string(code) + "\"} ";
    const size_t at = scrape.find(name);
    return at == std::string::npos ? 0 : std::stoi(scrape.substr(at + name.size()));
  }

  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersInJson) {
  Start();
  const Response response = Ask(Post(kInfer, Rows("4")));
  EXPECT_EQ(response.code, 200);
  EXPECT_EQ(response.body, Answer("2", "6,8,10"));
  EXPECT_THAT(response.head, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_EQ(Ask(Post("/v2/models/m/versions/1/infer", Rows("4"))).body, Answer("1", "5,6,7"));
}

TEST_F(ServerTest, AnswersInTheBinaryForm) {
  Start();
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}})"
      R"(,{"name":"text","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}],)"
      R"("outputs":[{"name":"y","parameters":{"binary_data":true}}]})";
  const float x[] = {1, 2, 3};
  std::string raw(reinterpret_cast<const char*>(x), sizeof(x));
  raw.append("\2\0\0\0hi", 6);
  const Response response =
      Ask(Post("/v2/models/m/versions/1/infer", json + raw,
               "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n"));
  ASSERT_EQ(response.code, 200) << response.body;
  const size_t at = response.head.find("Inference-Header-Content-Length: ");
  ASSERT_NE(at, std::string::npos);
  const size_t json_bytes = std::stoul(response.head.substr(at + 33));
  ASSERT_EQ(response.body.size(), json_bytes + 12);
  float y[3];
  std::memcpy(y, response.body.data() + json_bytes, sizeof(y));
  EXPECT_THAT(y, testing::ElementsAre(2, 4, 6));
}

TEST_F(ServerTest, TellsAboutItselfAndItsModels) {
  Start();
  EXPECT_EQ(Ask(Get("/v2/health/live")).code, 200);
  EXPECT_EQ(Ask(Get("/v2/health/ready")).code, 200);
  EXPECT_THAT(Ask(Get("/v2")).body, HasSubstr(R"("name":"verdict")"));
  EXPECT_EQ(Ask(Get("/v2/models/m")).body,
            R"({"name":"m","versions":["1","2"],"platform":"verdict_engine","inputs":[)"
            R"({"name":"x","datatype":"FP32","shape":[-1,3]},)"
            R"({"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[)"
            R"({"name":"y","datatype":"FP32","shape":[-1,3]},)"
            R"({"name":"echo","datatype":"BYTES","shape":[-1]}]})");
  EXPECT_EQ(Ask(Get("/v2/models/m/ready")).code, 200);
  EXPECT_EQ(Ask(Get("/v2/models/m/versions/2/ready")).code, 200);
  EXPECT_EQ(Ask(Get("/v2/models/broken/ready")).code, 503);
  EXPECT_THAT(Ask(Get("/v2/models/m/config")).body, HasSubstr(R"("data_type":"TYPE_STRING")"));
  EXPECT_THAT(Ask(Post("/v2/repository/index", "")).body,
              HasSubstr(R"({"name":"broken","version":"1","state":"UNAVAILABLE",)"
                        R"("reason":"its checksum is wrong"})"));
}

TEST_F(ServerTest, ErrorsHaveTheirCodes) {
  options_.limits.max_body_bytes = 5000;
  Start();
  struct Case {
    std::string request;
    int code;
    std::string message;
  };
  const std::string ok = Rows("1");
  const auto with = [&](const std::string& fields) { return Post(kInfer, ok, fields); };
  const Case cases[] = {
      {Get("/nothing"), 404, "no such endpoint"},
      {Get("/v2/models/none"), 404, "unknown model 'none'"},
      {Post("/v2/models/none/infer", ok), 404, "unknown model 'none'"},
      {Post("/v2/models/m/versions/9/infer", ok), 404, "no version 9"},
      {Post("/v2/models/m/versions/x/infer", ok), 400, "'x' is not a version"},
      {Post("/v2/models/broken/infer", ok), 503, "its checksum is wrong"},
      {Get("/v2/models/%zz"), 400, "'%'"},
      {Get(kInfer), 405, "this endpoint takes POST"},
      {Post("/v2", ""), 405, "this endpoint takes GET, HEAD"},
      {Post(kInfer, ""), 400, "no JSON text"},
      {Post(kInfer, "{}"), 400, "field inputs is missing"},
      {Post(kInfer, std::string(5001, ' ')), 413, "5000 bytes"},
      {Post(kInfer, std::string(40'000, ' ')), 413, "5000 bytes"},
      {with("Content-Type: multipart/form-data; boundary=x\r\n"), 415, "Content-Type"},
      {with("Content-Encoding: br\r\n"), 415, "Content-Encoding"},
      {with("Content-Encoding: gzip\r\n"), 400, "Content-Encoding"},
      {with("Inference-Header-Content-Length: 99999999999\r\n"), 400, "the body has"},
      {with("Inference-Header-Content-Length: -1\r\n"), 400, "must be a whole number"},
      {with("Inference-Header-Content-Length: ten\r\n"), 400, "must be a whole number"},
      {with("Inference-Header-Content-Length: 0\r\n"), 400, "no JSON text"},
      {Get("/v2/health/live", "Content-Length: 2\r\n") + "{}", 413, "takes no body"},
      {Get("/v2/health/live", "Content-Length: 9\r\n"), 413, "takes no body"},
      {Post(kInfer, Rows("1e39")), 400, "input 'x': data: element 0 is out of the range"},
      {"BREW /v2 HTTP/1.1\r\nHost: h\r\n\r\n", 405, "GET, HEAD"},
      {"GET /v2 HTTP/3.0\r\n\r\n", 505, "HTTP/1.1"},
  };
  for (const Case& c : cases) {
    const Response response = Ask(c.request);
    EXPECT_EQ(response.code, c.code) << c.request.substr(0, 100) << response.body;
    EXPECT_THAT(response.body, HasSubstr("{\"error\":\"")) << c.request.substr(0, 100);
    EXPECT_THAT(response.body, HasSubstr(c.message)) << c.request.substr(0, 100);
  }
  EXPECT_EQ(Ask(Post(kInfer, ok)).code, 200) << "still serving";
}

TEST_F(ServerTest, TooManyRowsAreRefusedWithTheLimit) {
  Start();
  std::string x = "0", text = "\"\"";
  for (int i = 1; i < 129 * 3; ++i) x += ",0";
  for (int i = 1; i < 129; ++i) text += ",\"\"";
  const Response response =
      Ask(Post(kInfer, R"({"inputs":[{"name":"x","datatype":"FP32","shape":[129,3],"data":[)" + x +
                           R"(]},{"name":"text","datatype":"BYTES","shape":[129],"data":[)" + text +
                           "]}]}"));
  EXPECT_EQ(response.code, 400);
  EXPECT_THAT(response.body, HasSubstr("'x'"));
  EXPECT_THAT(response.body, HasSubstr("128"));
}

TEST_F(ServerTest, HeadIsGetWithoutTheBody) {
  Start();
  Client client(port());
  ASSERT_TRUE(client.Send("HEAD /v2 HTTP/1.1\r\nHost: h\r\n\r\n"));
  const Response head = client.Read(true);
  EXPECT_EQ(head.code, 200);
  const Response get = client.Ask(Get("/v2"));
  EXPECT_EQ(get.code, 200);
  EXPECT_THAT(head.head, HasSubstr("Content-Length: " + std::to_string(get.body.size())));
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  Client client(port());
  std::string all;
  for (int i = 0; i < 300; ++i) all += Post(kInfer, Rows(std::to_string(i)));
  std::thread sender([&] { EXPECT_TRUE(client.Send(all)); });
  for (int i = 0; i < 300; ++i) {
    const Response response = client.Read();
    ASSERT_EQ(response.code, 200);
    ASSERT_EQ(response.body, Answer("2", std::to_string(i + 2) + "," + std::to_string(i + 4) + "," +
                                             std::to_string(i + 6)));
  }
  sender.join();
}

TEST_F(ServerTest, ManyChunksAreOneBody) {
  Start();
  Client client(port());
  const std::string body = Rows("4") + std::string(70'000, ' ');
  std::string request =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char c : body) request += std::string("1\r\n") + c + "\r\n";
  request += "0\r\n\r\n";
  EXPECT_EQ(client.Ask(request).body, Answer("2", "6,8,10"));
}

TEST_F(ServerTest, ContinueIsSaidBeforeTheBodyOrTheBodyIsRefused) {
  options_.limits.max_body_bytes = 5000;
  Start();
  const std::string body = Rows("4");
  const std::string head =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ";
  Client client(port());
  ASSERT_TRUE(client.Send(head + std::to_string(body.size()) + "\r\n\r\n"));
  EXPECT_EQ(client.Read(true).code, 100);
  EXPECT_EQ(client.Ask(body).code, 200);
  Client big(port());
  EXPECT_EQ(big.Ask(head + "5001\r\n\r\n").code, 413);
  EXPECT_TRUE(big.Closed());
}

TEST_F(ServerTest, OverTheConnectionLimitIs503) {
  options_.limits.max_connections = 3;
  Start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    ASSERT_EQ(clients.back()->Ask(Get("/v2")).code, 200);
  }
  Client extra(port());
  EXPECT_EQ(extra.Read().code, 503);
  EXPECT_TRUE(extra.Closed());
  EXPECT_EQ(clients[0]->Ask(Get("/v2")).code, 200) << "the others are served on";
  EXPECT_THAT(Scrape(), HasSubstr("verdict_http_connections_refused_total 1\n"));
}

TEST_F(ServerTest, SlowAndSilentClientsAreCutOff) {
  options_.limits.idle_timeout = 300ms;
  options_.limits.read_timeout = 300ms;
  Start();
  Client silent(port());
  Client slow(port());
  ASSERT_TRUE(slow.Send("GET /v2 HTTP/1.1\r\nA: "));
  // A byte now and then does not buy time.
  std::thread drip([&] {
    for (int i = 0; i < 30 && slow.Send("x"); ++i) std::this_thread::sleep_for(50ms);
  });
  EXPECT_EQ(slow.Read().code, 408);
  EXPECT_TRUE(silent.Closed());
  drip.join();
  EXPECT_EQ(Ask(Get("/v2")).code, 200);
}

TEST_F(ServerTest, SlowBodiesLeaveRoomForSmallRequests) {
  options_.limits.max_held_body_bytes = size_t{1} << 20;
  Start();
  // Unfinished bodies, the large first: what they leave of the budget holds not even a small one.
  std::vector<size_t> sizes = {500'000, 150'000, 50'000};
  sizes.insert(sizes.end(), 8, 20'000);
  sizes.insert(sizes.end(), 300, 3'000);
  std::vector<std::unique_ptr<Client>> clients;
  for (const size_t size : sizes) {
    clients.push_back(std::make_unique<Client>(port()));
    ASSERT_TRUE(clients.back()->Send(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n\r\n" +
        std::string(size, ' ')));
  }
  const std::string big = Post(kInfer, Rows("4") + std::string(900'000, ' '));
  EXPECT_EQ(Ask(big).code, 503);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask(Post(kInfer, Rows("4"))).code, 200);
}

TEST_F(ServerTest, ReadingSteadilyKeepsAConnectionAlive) {
  options_.limits.idle_timeout = 1s;
  Start();
  const uint32_t length = 8'000'000;
  Client client(port());
  client.ReadSteadily();
  const auto start = std::chrono::steady_clock::now();
  const Response response = client.Ask(LongText(length));
  EXPECT_EQ(response.code, 200);
  EXPECT_GT(response.body.size(), 6 * size_t{length});
  EXPECT_GT(std::chrono::steady_clock::now() - start, 2 * options_.limits.idle_timeout);
}

TEST_F(ServerTest, UnreadAnswersAreWithinTheMemoryBudget) {
  options_.limits.max_held_body_bytes = size_t{64} << 20;
  Start();
  // 2 MB in, 12 MB out: more than sockets hold back.
  const uint32_t length = 2'000'000;
  const std::string request = LongText(length);
  const auto is_whole = [&](const Response& response) {
    return response.code == 200 && response.body.size() > 6 * size_t{length};
  };

  constexpr int kClients = 8;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    ASSERT_TRUE(clients.back()->Send(request));
    const auto patience = std::chrono::steady_clock::now() + 20s;
    while (Answered(200) + Answered(503) <= i) {
      ASSERT_LT(std::chrono::steady_clock::now(), patience);
      std::this_thread::sleep_for(1ms);
    }
  }
  // At most five answers fit. The first client's does, and it leaves without reading it.
  int whole = 0;
  for (int i = 1; i < kClients; ++i) whole += is_whole(clients[static_cast<size_t>(i)]->Read());
  EXPECT_GE(whole, 1);
  EXPECT_LT(whole, 5);
  clients.clear();

  // All of it is given back when the clients have gone, and after each answer that is read.
  bool given_back = false;
  for (int i = 0; i < 100 && !given_back; ++i) given_back = is_whole(Ask(request));
  EXPECT_TRUE(given_back);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(is_whole(Ask(request))) << i;
}

TEST_F(ServerTest, ClientsThatDieMidBodyHurtNobody) {
  Start();
  Client other(port());
  for (int i = 0; i < 50; ++i) {
    Client dies(port());
    ASSERT_TRUE(dies.Send(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{\"inp"));
  }
  EXPECT_EQ(other.Ask(Post(kInfer, Rows("4"))).body, Answer("2", "6,8,10"));
}

TEST_F(ServerTest, ManyClientsAtOnceGetTheirOwnAnswers) {
  Start();
  constexpr int kClients = 8;
  constexpr int kRequests = 200;
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([this, c] {
      Client client(port());
      for (int i = 0; i < kRequests; ++i) {
        const int value = c * 1000 + i;
        const int step = i % 2 + 1;
        const Response response =
            client.Ask(Post("/v2/models/m/versions/" + std::to_string(step) + "/infer",
                            Rows(std::to_string(value))));
        ASSERT_EQ(response.body,
                  Answer(std::to_string(step), std::to_string(value + step) + "," +
                                                   std::to_string(value + 2 * step) + "," +
                                                   std::to_string(value + 3 * step)));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const std::string scrape = Scrape();
  for (const char* version : {"1", "2"}) {
    EXPECT_THAT(scrape, HasSubstr("nv_inference_request_success{model=\"m\",version=\"" +
                                  std::string(version) + "\"} 800\n"));
  }
  EXPECT_THAT(Ask(Get("/v2/models/m/versions/1/stats")).body,
              HasSubstr(R"("inference_count":800,"execution_count":800)"));
}

TEST_F(ServerTest, FailuresAreCounted) {
  Start();
  EXPECT_EQ(Ask(Post(kInfer, "{}")).code, 400);
  const std::string scrape = Scrape();
  EXPECT_THAT(scrape,
              HasSubstr("nv_inference_request_failure{model=\"m\",version=\"2\",reason=\"OTHER\"} "
                        "1\n"));
  EXPECT_THAT(scrape, HasSubstr("verdict_http_responses_total{code=\"400\"} 1\n"));
}

TEST_F(ServerTest, WhatJsonCannotCarryIsTheClientsFailure) {
  Start();
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}})"
      R"(,{"name":"text","datatype":"BYTES","shape":[1],"data":["t"]}]})";
  const float x[] = {1, std::numeric_limits<float>::quiet_NaN(), 3};
  const std::string raw(reinterpret_cast<const char*>(x), sizeof(x));
  const Response response =
      Ask(Post(kInfer, json + raw,
               "Inference-Header-Content-Length: " + std::to_string(json.size()) + "\r\n"));
  EXPECT_EQ(response.code, 400);
  EXPECT_THAT(response.body, HasSubstr("output 'y': element 1 is NaN"));
  const std::string failure = "nv_inference_request_failure{model=\"m\",version=\"2\",reason=";
  EXPECT_THAT(Scrape(), HasSubstr(failure + "\"OTHER\"} 1\n"));
  EXPECT_THAT(Scrape(), HasSubstr(failure + "\"BACKEND\"} 0\n"));
}

TEST_F(ServerTest, AnIndexOutOfRangeNamesTheInput) {
  Start();
  Graph graph;
  const Dim rows = graph.Symbol("N");
  const ValueId merchant = graph.AddInput("merchant", DataType::kInt64, {rows});
  const std::vector<float> values = {1, 2, 3, 4};
  const ValueId table =
      graph.AddConstant("table", Constant::Of<float>({4}, std::span<const float>(values)));
  const ValueId y = graph.AddValue("y", DataType::kFloat32, {rows});
  graph.nodes.push_back({"look up", "Gather", {table, merchant}, {y}, {{"axis", int64_t{0}}}});
  graph.outputs = {y};
  auto compiled = Compile(std::move(graph), {});
  ASSERT_TRUE(compiled.ok());
  auto engine = Engine::FromContents(std::move(compiled->contents));
  ASSERT_TRUE(engine.ok());
  Service& service = server_->service();
  const ModelHost host{service.workers(), &service.metrics(), &service.scheduler(), {}};
  auto model = LoadedModel::FromEngine("g", 1, *engine, {}, host);
  ASSERT_TRUE(model.ok());
  auto models = std::make_shared<ModelSet>();
  models->Put("g", {1, *model, ""});
  server_->service().models().Replace(std::move(models));
  const auto ask = [&](const std::string& index) {
    return Ask(Post("/v2/models/g/infer",
                    R"({"inputs":[{"name":"merchant","datatype":"INT64","shape":[1],"data":[)" +
                        index + "]}]}"));
  };
  EXPECT_EQ(ask("3").code, 200);
  const Response response = ask("9");
  EXPECT_EQ(response.code, 400);
  EXPECT_THAT(response.body,
              HasSubstr("input 'merchant': node 'look up' (Gather): index 9 is out"));
}

TEST_F(ServerTest, JsonTextHasALimitOfItsOwn) {
  Start();
  const std::string rows = Rows("4");
  const std::string fits = rows + std::string(kMaxJsonBytes - rows.size(), ' ');
  EXPECT_EQ(Ask(Post(kInfer, fits)).code, 200);
  const Response response = Ask(Post(kInfer, fits + " "));
  EXPECT_EQ(response.code, 413);
  EXPECT_THAT(response.body, HasSubstr("the JSON text is larger than the 8388608 bytes"));
  EXPECT_THAT(response.body, HasSubstr("binary form"));
}

TEST_F(ServerTest, MetricsPortServesMetricsOnly) {
  Start();
  Client client(PortOf(server_->metrics_url()));
  EXPECT_THAT(client.Ask(Get("/metrics")).head, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_EQ(client.Ask(Get("/v2")).code, 404);
  EXPECT_EQ(client.Ask(Post("/metrics", "")).code, 405);
  EXPECT_EQ(Ask(Get("/metrics")).code, 404);
}

TEST_F(ServerTest, ShutdownFailsReadinessFirstAndServesOn) {
  options_.drain = 600ms;
  Start();
  Client kept(port());
  Client half(port());
  Client idle(port());
  ASSERT_EQ(kept.Ask(Get("/v2/health/ready")).code, 200);
  ASSERT_EQ(half.Ask(Get("/v2")).code, 200);
  const std::string request = Post(kInfer, Rows("4"));
  const auto start = std::chrono::steady_clock::now();
  std::thread shutdown([this] { server_->Shutdown(); });
  while (server_->service().ready()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(Ask(Get("/v2/health/ready")).code, 503);
  EXPECT_EQ(Ask(Get("/v2/health/live")).code, 200);
  const Response response = kept.Ask(request);
  EXPECT_EQ(response.body, Answer("2", "6,8,10"));
  EXPECT_THAT(response.head, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(kept.Closed());
  // A request that is under way when the delay ends is answered.
  ASSERT_TRUE(half.Send(request.substr(0, 100)));
  EXPECT_TRUE(idle.Closed());
  EXPECT_GE(std::chrono::steady_clock::now() - start, 600ms);
  EXPECT_EQ(half.Ask(request.substr(100)).body, Answer("2", "6,8,10"));
  shutdown.join();
  EXPECT_FALSE(Client(port()).connected());
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_F(ServerTest, LoadingThatEndsInAShutdownDoesNotMakeItReady) {
  Start();
  EXPECT_THAT(Scrape(), HasSubstr("verdict_server_ready 1\n"));
  server_->service().BeginDrain();
  server_->service().SetModelsReady(true);
  EXPECT_FALSE(server_->service().ready());
  EXPECT_THAT(Scrape(), HasSubstr("verdict_server_ready 0\n"));
}

TEST_F(ServerTest, NobodyIsServedFromWhatHasBeenFreed) {
  options_.models.mode = RepositoryOptions::Mode::kExplicit;
  Start();
  // A run that does not end holds the scheduler, whose end the server waits for.
  Scheduler& scheduler = server_->service().scheduler();
  auto queue = scheduler.Add(DoublingEngine(), {}).value();
  Turnstile turnstile;
  auto job = std::make_shared<RecordedJob>(std::vector<float>(3), Shape{1, 3});
  job->before_finish = [&] { turnstile.Enter(); };
  ASSERT_TRUE(scheduler.Submit(queue, job).ok());
  turnstile.AwaitEntered();
  Client inference(port()), admin(PortOf(server_->admin_url()));
  ASSERT_EQ(inference.Ask(Post(kInfer, Rows("4"))).code, 200);
  ASSERT_EQ(admin.Ask(Post("/v2/repository/models/none/load", "{}")).code, 404);

  std::thread end([this] { server_.reset(); });  // without a Shutdown, as where a start fails
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(inference.Closed());
  EXPECT_TRUE(admin.Closed());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s) << "closed, not waited for in vain";
  turnstile.Open();
  end.join();
}

TEST_F(ServerTest, PortInUseIsSaidSo) {
  Start();
  ServerOptions second = options_;
  second.http_port = port();
  const auto server = Server::Start(second);
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(server.status().message(), HasSubstr("cannot listen on http://127.0.0.1:"));
  EXPECT_THAT(server.status().message(), HasSubstr("choose another port: --set http.port=PORT"));
}

TEST_F(ServerTest, MissingRepositoryIsSaidSo) {
  options_.repository /= "none";
  const auto server = Server::Start(options_);
  EXPECT_EQ(server.status().code(), StatusCode::kNotFound);
}

TEST_F(ServerTest, BrokenModelFilesLeaveTheServerLiveAndNotReady) {
  const auto folder = options_.repository / "bad" / "1";
  std::filesystem::create_directories(folder);
  { std::ofstream(folder / "model.engine") << "not an engine"; }
  auto server = Server::Start(options_);
  ASSERT_TRUE(server.ok());
  server_ = *std::move(server);
  EXPECT_FALSE(server_->WaitUntilLoaded());
  EXPECT_EQ(Ask(Get("/v2/health/live")).code, 200);
  EXPECT_EQ(Ask(Get("/v2/health/ready")).code, 503);
  EXPECT_EQ(Ask(Get("/v2/models/bad/ready")).code, 503);
  EXPECT_THAT(Scrape(), HasSubstr("verdict_model_ready{model=\"bad\",version=\"1\"} 0\n"));
}

}  // namespace
}  // namespace verdict
