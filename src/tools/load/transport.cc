#include "tools/load/transport.h"

#include <cctype>
#include <cmath>

#include "base/file.h"
#include "tools/load/byte_stream.h"
#include "tools/load/grpc_message.h"
#include "tools/load/grpc_worker.h"
#include "tools/load/http_worker.h"
#include "tools/load/infer_request_text.h"
#include "tools/load/recording.h"
#include "tools/load/target_url.h"

namespace verdict::load {
namespace {

constexpr int kRandomRequests = 64;
constexpr size_t kMaxPreparedBytes = size_t{1} << 30;
constexpr int kAskTimeoutMs = 10'000;

/// What the requests of a run hold: inputs, or what was recorded.
struct Requests {
  std::vector<RequestInputs> inputs;
  Recording recording;
  std::string text;  // in words
};

Result<ConnectionOptions> ReadConnection(const LoadFlags& flags) {
  const uint16_t default_port = flags.protocol == Protocol::kHttp ? 8000 : 8001;
  auto options = ParseUrl(flags.url, default_port);
  if (!options.ok()) return options.status().WithContext("--url");
  options->tls = options->tls || !flags.tls_ca.empty() || !flags.cert.empty();
  options->ca_file = flags.tls_ca;
  options->cert_file = flags.cert;
  options->key_file = flags.key;
  return options;
}

Result<std::vector<std::pair<std::string, std::string>>> ReadHeaders(const LoadFlags& flags) {
  std::vector<std::pair<std::string, std::string>> headers;
  for (const std::string& text : flags.headers) {
    auto header = ParseHeader(text);
    if (!header.ok()) return header.status().WithContext("--header");
    headers.push_back(*std::move(header));
  }
  if (flags.token_file.empty()) return headers;
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(flags.token_file));
  const auto bytes = file->bytes();
  std::string token(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back()))) token.pop_back();
  const auto header = ParseHeader("Authorization: Bearer " + token);
  // Not the parser's own message: it would quote the token.
  if (!header.ok()) return InvalidArgument("--token-file " + flags.token_file + ": not a token");
  headers.push_back(*header);
  return headers;
}

Result<Requests> ReadReplay(const LoadFlags& flags) {
  Requests requests;
  VERDICT_ASSIGN_OR_RETURN(requests.recording, ReadRecording(flags.replay));
  for (int64_t& time : requests.recording.times_ns) {
    time = std::llround(static_cast<double>(time) / flags.replay_speed);
  }
  requests.text = flags.replay;
  return requests;
}

Result<Requests> MakeRequests(const LoadFlags& flags, const std::vector<InputSpec>& specs) {
  Requests requests;
  if (flags.inputs.empty()) {
    VERDICT_ASSIGN_OR_RETURN(const NamedShapes shapes, ParseShapes(flags.shapes));
    VERDICT_ASSIGN_OR_RETURN(requests.inputs,
                             RandomInputs(specs, shapes, kRandomRequests, flags.seed));
    requests.text = "random";
  } else {
    VERDICT_ASSIGN_OR_RETURN(const NamedTensors tensors, ReadNpz(flags.inputs));
    VERDICT_ASSIGN_OR_RETURN(requests.inputs, CutInputs(specs, tensors, flags.inputs, flags.batch));
    requests.text = flags.inputs;
  }
  return requests;
}

/// "random, binary tensors, 64 different requests".
std::string InputsText(const Requests& requests, const char* form, size_t count) {
  return requests.text + ", " + form + ", " + std::to_string(count) +
         (count == 1 ? " request" : " different requests");
}

/// Writes each request with `write`; fewer than there are inputs where they would take too much
/// memory.
template <typename Write>
Result<std::vector<std::string>> WriteRequests(const Requests& requests, const Write& write) {
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (const RequestInputs& inputs : requests.inputs) {
    VERDICT_ASSIGN_OR_RETURN(std::string text, write(Recording::Request{{}, inputs}));
    bytes += text.size();
    if (bytes > kMaxPreparedBytes && !texts.empty()) break;
    texts.push_back(std::move(text));
  }
  for (const Recording::Request& request : requests.recording.requests) {
    auto text = write(request);
    if (!text.ok()) {
      return text.status().WithContext("--replay: request " + std::to_string(texts.size() + 1));
    }
    bytes += text->size();
    if (bytes > 2 * kMaxPreparedBytes) {
      return ResourceExhausted("--replay: over 2 GiB of requests; replay a part of the file");
    }
    texts.push_back(*std::move(text));
  }
  return texts;
}

class HttpTransport : public Transport {
 public:
  Status Prepare(const LoadFlags& flags, const ConnectionOptions& connection,
                 std::vector<std::pair<std::string, std::string>> headers) {
    VERDICT_ASSIGN_OR_RETURN(endpoint_, Endpoint::Make(connection));
    const std::string target = ModelTarget(flags.model, flags.version);
    const HttpRequestOptions options{.host = endpoint_->authority(),
                                     .target = target + "/infer",
                                     .json = flags.json,
                                     .has_deadline = flags.deadline_us > 0,
                                     .priority = flags.priority,
                                     .headers = std::move(headers)};
    Requests requests;
    if (flags.replay.empty()) {
      VERDICT_ASSIGN_OR_RETURN(const auto specs, AskSpecs(target, options));
      VERDICT_ASSIGN_OR_RETURN(requests, MakeRequests(flags, specs));
    } else {
      VERDICT_ASSIGN_OR_RETURN(requests, ReadReplay(flags));
    }
    VERDICT_ASSIGN_OR_RETURN(
        texts_, WriteRequests(requests, [&](const Recording::Request& request) {
          return request.body.empty() ? InferRequestText(request.inputs, options)
                                      : Result<std::string>(RawRequestText(request.body, options));
        }));
    replay_ns_ = std::move(requests.recording.times_ns);
    description_ = {
        .target = std::string(connection.tls ? "https://" : "http://") + options.host + target,
        .inputs =
            InputsText(requests, flags.json ? "JSON tensors" : "binary tensors", texts_.size()),
        .flags = flags.given};
    return OkStatus();
  }

  std::unique_ptr<Worker> MakeWorker(const WorkerOptions& options, Pacer pacer,
                                     Recorder& recorder) const override {
    return std::make_unique<HttpWorker>(*endpoint_, texts_, options, std::move(pacer), recorder);
  }

 private:
  Result<std::vector<InputSpec>> AskSpecs(const std::string& target,
                                          const HttpRequestOptions& options) const {
    VERDICT_ASSIGN_OR_RETURN(const BlockingAnswer answer,
                             AskOnce(*endpoint_, GetRequestText(target, options), kAskTimeoutMs));
    if (answer.code != 200) {
      constexpr size_t kMaxText = 512;
      return FailedPrecondition("the server answered " + std::to_string(answer.code) + " to GET " +
                                target + ": " + answer.body.substr(0, kMaxText));
    }
    return ParseModelMetadata(answer.body);
  }

  std::unique_ptr<Endpoint> endpoint_;
  std::vector<std::string> texts_;
};

class GrpcTransport : public Transport {
 public:
  Status Prepare(const LoadFlags& flags, const ConnectionOptions& connection,
                 std::vector<std::pair<std::string, std::string>> headers) {
    is_stream_ = flags.protocol == Protocol::kGrpcStream;
    VERDICT_ASSIGN_OR_RETURN(target_, GrpcTarget::Make(connection, std::move(headers)));
    Requests requests;
    if (flags.replay.empty()) {
      VERDICT_ASSIGN_OR_RETURN(const auto specs,
                               target_->AskMetadata(flags.model, flags.version, kAskTimeoutMs));
      VERDICT_ASSIGN_OR_RETURN(requests, MakeRequests(flags, specs));
    } else {
      VERDICT_ASSIGN_OR_RETURN(requests, ReadReplay(flags));
    }
    const GrpcRequestOptions options{
        .model = flags.model, .version = flags.version, .priority = flags.priority};
    VERDICT_ASSIGN_OR_RETURN(
        const std::vector<std::string> messages,
        WriteRequests(requests, [&](const Recording::Request& request) -> Result<std::string> {
          if (!request.body.empty()) {
            return InvalidArgument("has a \"body\", which is HTTP's: gRPC replays \"inputs\"");
          }
          return GrpcInferRequest(request.inputs, options);
        }));
    for (const std::string& message : messages) messages_.push_back(ToByteBuffer(message));
    replay_ns_ = std::move(requests.recording.times_ns);
    description_ = {
        .target = std::string(connection.tls ? "grpcs://" : "grpc://") + target_->authority() +
                  (is_stream_ ? kModelStreamInferMethod : kModelInferMethod) + ", model " +
                  flags.model + (flags.version.empty() ? "" : ", version " + flags.version),
        .inputs = InputsText(requests, "raw tensors", messages_.size()),
        .flags = flags.given};
    return OkStatus();
  }

  std::unique_ptr<Worker> MakeWorker(const WorkerOptions& options, Pacer pacer,
                                     Recorder& recorder) const override {
    return std::make_unique<GrpcWorker>(*target_, messages_, is_stream_, options, std::move(pacer),
                                        recorder);
  }

 private:
  std::unique_ptr<GrpcTarget> target_;
  std::vector<grpc::ByteBuffer> messages_;
  bool is_stream_ = false;
};

template <typename T>
Result<std::unique_ptr<Transport>> Prepared(
    const LoadFlags& flags, const ConnectionOptions& connection,
    std::vector<std::pair<std::string, std::string>> headers) {
  auto transport = std::make_unique<T>();
  VERDICT_RETURN_IF_ERROR(transport->Prepare(flags, connection, std::move(headers)));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace

Result<std::unique_ptr<Transport>> MakeTransport(const LoadFlags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const ConnectionOptions connection, ReadConnection(flags));
  VERDICT_ASSIGN_OR_RETURN(auto headers, ReadHeaders(flags));
  return flags.protocol == Protocol::kHttp
             ? Prepared<HttpTransport>(flags, connection, std::move(headers))
             : Prepared<GrpcTransport>(flags, connection, std::move(headers));
}

}  // namespace verdict::load
