#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "serve/admission/token_bucket.h"

namespace verdict {

/// What a client, or all of them together, may ask for; 0 is no limit.
struct RequestLimit {
  double requests_per_s = 0;
  double burst = 0;  // at once, before the rate counts; 0: what one second brings
  int max_in_flight = 0;

  bool any() const { return requests_per_s > 0 || burst > 0 || max_in_flight > 0; }
};

struct LimitOptions {
  RequestLimit client;  // of each client that has none of its own
  std::map<std::string, RequestLimit, std::less<>> named;  // by the principal's name
  RequestLimit total;                                      // of all clients together
  size_t max_clients = 65'536;  // followed at once; the longest idle is forgotten

  bool any() const { return client.any() || total.any() || !named.empty(); }
};

/// Limits what clients ask for: rates and requests in flight, each client and all together. A
/// client of no name is its address. Memory is bounded by max_clients, whoever asks.
/// Threads: any. Cost: about 100 ns; clients share no lock but with those of their shard.
class Limiter {
 public:
  using Clock = std::chrono::steady_clock;
  struct Client;

  /// A request under way; what it took is given back with it. It must not outlive the limiter.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept;
    Ticket& operator=(Ticket&& other) noexcept;
    ~Ticket() { Release(); }
    void Release();

   private:
    friend class Limiter;
    Limiter* limiter_ = nullptr;
    Client* client_ = nullptr;
  };

  enum class Verdict { kAdmitted, kClientRate, kClientInFlight, kTotalRate, kTotalInFlight };

  struct Answer {
    Verdict verdict = Verdict::kAdmitted;
    /// When to come again at the earliest; 0 where that depends on the requests under way.
    std::chrono::nanoseconds wait{0};
    Ticket ticket;
  };

  explicit Limiter(const LimitOptions& options);

  /// One more request. name: the principal's, or empty; address: the peer's, as in ClientAddress.
  Answer Enter(std::string_view name, std::string_view address, Clock::time_point now);

  /// Requests under way. Counted only where something limits their number, or shedding asks.
  int64_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
  const LimitOptions& options() const { return options_; }
  /// Clients that are followed at this moment.
  size_t num_clients() const;

  struct Client {
    std::string key;
    BucketRate rate;
    int max_in_flight = 0;
    int64_t due_ns = 0;             // of the bucket; guarded by the shard's mutex
    std::atomic<int> in_flight{0};  // taken under the shard's mutex, given back without
  };

 private:
  static constexpr size_t kShards = 64;
  struct alignas(64) Shard {
    mutable std::mutex mutex;
    std::list<Client> clients;  // the longest idle last
    std::unordered_map<std::string_view, std::list<Client>::iterator> by_key;
    Client overflow;  // of those who find no room
  };

  /// Threads: with the shard's mutex.
  Client& Find(Shard& shard, std::string_view key, const RequestLimit& limit);
  static void SetLimit(const RequestLimit& limit, Client* client);

  const LimitOptions options_;
  const bool limits_clients_;
  const size_t max_clients_a_shard_;
  SharedBucket total_bucket_;
  alignas(64) std::atomic<int64_t> in_flight_{0};
  std::array<Shard, kShards> shards_;
};

/// The client that an address stands for: "10.0.0.7", or of IPv6 the /64, which one customer has.
///
/// address: as inet_ntop writes it.
std::string ClientAddress(std::string_view address);

}  // namespace verdict
