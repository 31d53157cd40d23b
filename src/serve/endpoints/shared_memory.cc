// Triton's shared memory extensions. System shared memory has to be allowed; CUDA's is not offered.

#include "base/json_writer.h"
#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"
#include "serve/shared_memory/region_registry.h"

namespace verdict {
namespace {

Result<uint64_t> ReadSize(const simdjson::dom::object& object, const char* field, bool required) {
  simdjson::dom::element value;
  uint64_t size = 0;
  if (object[field].get(value) != simdjson::SUCCESS) {
    if (!required) return size;
    return InvalidArgument("field " + std::string(field) + " is missing");
  }
  if (value.get(size) == simdjson::SUCCESS) return size;
  return InvalidArgument("field " + std::string(field) +
                         " must be a whole number that is not negative");
}

}  // namespace

Status HandleSystemSharedMemoryStatus(Service& service, const Call& call, Reply* reply) {
  std::vector<std::shared_ptr<const SharedMemoryRegion>> regions;
  if (call.region.empty()) {
    regions = service.shared_memory().All();
  } else {
    VERDICT_ASSIGN_OR_RETURN(auto region, service.shared_memory().Find(call.region));
    regions.push_back(std::move(region));
  }
  JsonWriter json;
  json.BeginArray();
  for (const auto& region : regions) {
    json.BeginObject();
    json.Key("name").String(region->name()).Key("key").String(region->key());
    json.Key("offset").UInt(region->offset()).Key("byte_size").UInt(region->byte_size());
    json.EndObject();
  }
  json.EndArray();
  reply->body = json.text();
  return OkStatus();
}

Status HandleSystemSharedMemoryRegister(Service& service, const Call& call, Reply*) {
  JsonBody body;
  VERDICT_RETURN_IF_ERROR(body.Parse(call.json));
  std::string_view key;
  if (body.object()["key"].get(key) != simdjson::SUCCESS) {
    return InvalidArgument("field key is missing, or is not a string");
  }
  VERDICT_ASSIGN_OR_RETURN(const uint64_t offset, ReadSize(body.object(), "offset", false));
  VERDICT_ASSIGN_OR_RETURN(const uint64_t byte_size, ReadSize(body.object(), "byte_size", true));
  return service.shared_memory().Register(call.region, key, offset, byte_size);
}

Status HandleSystemSharedMemoryUnregister(Service& service, const Call& call, Reply*) {
  if (call.region.empty()) {
    service.shared_memory().UnregisterAll();
  } else {
    service.shared_memory().Unregister(call.region);
  }
  return OkStatus();
}

Status HandleCudaSharedMemoryStatus(Service&, const Call& call, Reply* reply) {
  if (!call.region.empty()) {
    return NotFound("CUDA shared memory region " + Quoted(call.region) + " is not registered");
  }
  reply->body = "[]";
  return OkStatus();
}

Status HandleCudaSharedMemoryRegister(Service&, const Call&, Reply*) {
  return Unimplemented(
      "CUDA shared memory is not offered: models run on the CPU here; use system shared memory, or "
      "send tensors in the binary form");
}

Status HandleCudaSharedMemoryUnregister(Service&, const Call&, Reply*) { return OkStatus(); }

}  // namespace verdict
