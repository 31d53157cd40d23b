#include "serve/admission/limiter.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace verdict {
namespace {

bool Limits(const RequestLimit& limit) {
  return limit.requests_per_s > 0 || limit.max_in_flight > 0;
}

BucketRate RateOf(const RequestLimit& limit) {
  return limit.requests_per_s > 0 ? BucketRate(limit.requests_per_s, limit.burst) : BucketRate();
}

bool LimitsClients(const LimitOptions& options) {
  return Limits(options.client) ||
         std::any_of(options.named.begin(), options.named.end(),
                     [](const auto& entry) { return Limits(entry.second); });
}

}  // namespace

Limiter::Ticket::Ticket(Ticket&& other) noexcept
    : limiter_(std::exchange(other.limiter_, nullptr)),
      client_(std::exchange(other.client_, nullptr)) {}

Limiter::Ticket& Limiter::Ticket::operator=(Ticket&& other) noexcept {
  if (this != &other) {
    Release();
    limiter_ = std::exchange(other.limiter_, nullptr);
    client_ = std::exchange(other.client_, nullptr);
  }
  return *this;
}

void Limiter::Ticket::Release() {
  if (limiter_ == nullptr) return;
  // Once its number is 0 the client may be forgotten: it is not touched after that.
  if (client_ != nullptr) client_->in_flight.fetch_sub(1, std::memory_order_release);
  limiter_->in_flight_.fetch_sub(1, std::memory_order_relaxed);
  limiter_ = nullptr;
  client_ = nullptr;
}

Limiter::Limiter(const LimitOptions& options)
    : options_(options),
      limits_clients_(LimitsClients(options)),
      max_clients_a_shard_(std::max<size_t>(options.max_clients / kShards, 1)),
      total_bucket_(RateOf(options.total)) {
  for (Shard& shard : shards_) SetLimit(options_.client, &shard.overflow);
}

void Limiter::SetLimit(const RequestLimit& limit, Client* client) {
  client->rate = RateOf(limit);
  client->max_in_flight = limit.max_in_flight;
}

Limiter::Client& Limiter::Find(Shard& shard, std::string_view key, const RequestLimit& limit) {
  const auto found = shard.by_key.find(key);
  if (found != shard.by_key.end()) {
    shard.clients.splice(shard.clients.begin(), shard.clients, found->second);
    return *found->second;
  }
  if (shard.clients.size() >= max_clients_a_shard_) {
    constexpr int kTries = 8;
    auto oldest = std::prev(shard.clients.end());
    for (int i = 0; i < kTries && oldest->in_flight.load(std::memory_order_acquire) > 0; ++i) {
      if (oldest == shard.clients.begin()) break;
      --oldest;
    }
    if (oldest->in_flight.load(std::memory_order_acquire) > 0) return shard.overflow;
    shard.by_key.erase(oldest->key);
    shard.clients.erase(oldest);
  }
  Client& client = shard.clients.emplace_front();
  client.key = key;
  SetLimit(limit, &client);
  shard.by_key.emplace(client.key, shard.clients.begin());
  return client;
}

Limiter::Answer Limiter::Enter(std::string_view name, std::string_view address,
                               Clock::time_point now) {
  const int64_t now_ns = std::chrono::nanoseconds(now.time_since_epoch()).count();
  Answer answer;
  Client* client = nullptr;
  Shard* shard = nullptr;
  if (limits_clients_) {
    char buffer[128];  // the first character tells names from addresses
    const std::string_view text = name.empty() ? address : name;
    const size_t length = std::min(text.size(), sizeof(buffer) - 1);
    buffer[0] = name.empty() ? 'a' : 'n';
    std::memcpy(buffer + 1, text.data(), length);
    const std::string_view key(buffer, length + 1);
    const auto named = name.empty() ? options_.named.end() : options_.named.find(name);
    const RequestLimit& limit = named == options_.named.end() ? options_.client : named->second;
    shard = &shards_[std::hash<std::string_view>()(key) % kShards];
    std::lock_guard lock(shard->mutex);
    Client& found = Find(*shard, key, limit);
    if (found.max_in_flight > 0 &&
        found.in_flight.load(std::memory_order_relaxed) >= found.max_in_flight) {
      answer.verdict = Verdict::kClientInFlight;
      return answer;
    }
    if (const int64_t wait = found.rate.Take(now_ns, &found.due_ns); wait > 0) {
      answer.verdict = Verdict::kClientRate;
      answer.wait = std::chrono::nanoseconds(wait);
      return answer;
    }
    found.in_flight.fetch_add(1, std::memory_order_relaxed);
    client = &found;
  }
  const int64_t before = in_flight_.fetch_add(1, std::memory_order_relaxed);
  answer.ticket.limiter_ = this;
  answer.ticket.client_ = client;
  if (options_.total.max_in_flight > 0 && before >= options_.total.max_in_flight) {
    answer.verdict = Verdict::kTotalInFlight;
  } else if (const int64_t wait = total_bucket_.Take(now_ns); wait > 0) {
    answer.verdict = Verdict::kTotalRate;
    answer.wait = std::chrono::nanoseconds(wait);
  } else {
    return answer;
  }
  if (client != nullptr) {  // what the client did not get does not count against it
    std::lock_guard lock(shard->mutex);
    client->due_ns -= client->rate.interval_ns();
  }
  answer.ticket.Release();
  return answer;
}

size_t Limiter::num_clients() const {
  size_t count = 0;
  for (const Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    count += shard.clients.size();
  }
  return count;
}

std::string ClientAddress(std::string_view address) {
  std::string text(address.substr(0, address.find('%')));  // without the interface
  in6_addr v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6) != 1) return text;
  char buffer[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    ::inet_ntop(AF_INET, v6.s6_addr + 12, buffer, sizeof(buffer));
    return buffer;
  }
  std::fill(v6.s6_addr + 8, v6.s6_addr + 16, uint8_t{0});
  ::inet_ntop(AF_INET6, &v6, buffer, sizeof(buffer));
  return std::string(buffer) + "/64";
}

}  // namespace verdict
