#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"

extern "C" {
using SSL_CTX = struct ssl_ctx_st;
}

namespace verdict {

/// Whether clients show a certificate.
enum class ClientAuth {
  kNone,
  kOptional,  // one that is shown must be good
  kRequired,
};

enum class TlsVersion { k12, k13 };

/// All files are PEM.
struct TlsOptions {
  std::filesystem::path certificate_chain;  // the server's own certificate first
  std::filesystem::path private_key;        // not encrypted
  std::filesystem::path client_ca;          // who signs clients' certificates; for client_auth
  ClientAuth client_auth = ClientAuth::kNone;
  TlsVersion min_version = TlsVersion::k12;
  std::chrono::seconds reload{30};  // between two looks at the files

  bool enabled() const { return !certificate_chain.empty(); }
  /// Those that are named, for a Reloader.
  std::vector<std::filesystem::path> files() const;
};

/// What a server needs to speak TLS, made of files that may be replaced while it runs.
class TlsContext {
 public:
  /// alpn: the application protocols spoken, best first, as {"http/1.1"}; a client that offers only
  /// others is refused.
  ///
  /// Errors, with the file's name: kNotFound, kUnavailable (cannot be read), kInvalidArgument (not
  /// PEM, an encrypted key, too weak, key and certificate do not belong together, options that
  /// contradict each other), kFailedPrecondition (expired, or not valid yet).
  static Result<std::shared_ptr<TlsContext>> Load(const TlsOptions& options,
                                                  std::vector<std::string> alpn);

  /// Reads the files again. New connections use the new ones, those that are open keep theirs.
  /// Errors: as Load; then everything stays as it was. Threads: any.
  Status Reload();

  /// For a new connection; a connection may keep it. Never null. Threads: any.
  std::shared_ptr<SSL_CTX> Current() const;

  /// When the server's certificate ends, as Unix time. Threads: any.
  int64_t expires_s() const;

  /// When the first of the certificates that sign clients' ends, of those that were valid when they
  /// were read; 0: there are none. Threads: any.
  int64_t client_ca_expires_s() const;

  const TlsOptions& options() const { return options_; }

  /// For metrics. Threads: any.
  void CountHandshake(bool succeeded) {
    (succeeded ? succeeded_ : failed_).fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t handshakes_succeeded() const { return succeeded_.load(std::memory_order_relaxed); }
  uint64_t handshakes_failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  struct Loaded {
    std::shared_ptr<SSL_CTX> context;
    int64_t expires_s = 0;
    int64_t client_ca_expires_s = 0;
  };
  TlsContext(const TlsOptions& options, std::vector<std::string> alpn);
  Result<Loaded> Read() const;

  const TlsOptions options_;
  std::vector<unsigned char> alpn_;  // as the protocol writes it: lengths and names
  mutable std::mutex mutex_;         // guards loaded_
  Loaded loaded_;
  std::atomic<uint64_t> succeeded_{0};
  std::atomic<uint64_t> failed_{0};
};

}  // namespace verdict
