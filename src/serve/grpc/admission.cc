#include "serve/grpc/admission.h"

#include <string>
#include <vector>

#include "serve/tls/grpc_credentials.h"

namespace verdict {
namespace {

/// The address in "ipv4:127.0.0.1:50000" or "ipv6:%5B::1%5D:50000"; empty for others.
std::string AddressOf(std::string_view peer) {
  if (peer.starts_with("ipv4:")) {
    peer.remove_prefix(5);
    return ClientAddress(peer.substr(0, peer.rfind(':')));
  }
  if (!peer.starts_with("ipv6:")) return {};
  peer.remove_prefix(5);
  for (const std::string_view bracket : {"%5B", "["}) {
    if (peer.starts_with(bracket)) peer.remove_prefix(bracket.size());
  }
  return ClientAddress(peer.substr(0, peer.find_first_of("%]")));
}

}  // namespace

Refusal EnterGate(Gate& gate, const grpc::ServerContextBase& context, Role needed,
                  Gate::Clock::time_point now, Admission* admission) {
  if (needed == Role::kOpen || (needed == Role::kInfer && gate.open())) return {};
  std::vector<std::string> names;
  if (const auto authenticated = context.auth_context(); authenticated != nullptr) {
    names = ClientNamesOf(*authenticated);
  }
  const std::string address = AddressOf(context.peer());
  Caller caller;
  caller.listener = ListenerKind::kInference;
  caller.credentials = {MetadataOf(context, "authorization"), names};
  caller.address = address;
  return gate.Enter(caller, needed, now, admission);
}

void AddRetryHint(std::chrono::milliseconds retry_after, grpc::ServerContextBase* context) {
  if (retry_after.count() <= 0) return;
  context->AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(retry_after.count()));
}

std::string_view MetadataOf(const grpc::ServerContextBase& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto [first, last] = metadata.equal_range(key);
  if (first == last || std::next(first) != last) return {};
  return {first->second.data(), first->second.size()};
}

}  // namespace verdict
