// Faults of models, for drills and tests.
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "serve/endpoints/endpoint.h"
#include "serve/endpoints/json_body.h"
#include "serve/endpoints/json_text.h"

namespace verdict {
namespace {

constexpr const char* kHowTo =
    R"(say which fault: {"kind":"error"}, "nan", "delay" (with "delay_us") or "none"; "share" of )"
    "the runs: 0 to 1, left out for all";
constexpr uint64_t kMaxDelayUs = 60'000'000;

}  // namespace

Status HandleModelFault(Service& service, const Call& call, Reply*) {
  JsonBody body;
  VERDICT_RETURN_IF_ERROR(body.Parse(call.json));
  std::string_view kind;
  double share = 1;
  uint64_t delay_us = 0;
  for (const simdjson::dom::key_value_pair entry : body.object()) {
    simdjson::error_code error = simdjson::SUCCESS;
    if (entry.key == "kind") {
      error = entry.value.get(kind);
    } else if (entry.key == "share") {
      error = entry.value.get(share);
      if (!(share >= 0 && share <= 1)) error = simdjson::NUMBER_OUT_OF_RANGE;
    } else if (entry.key == "delay_us") {
      error = entry.value.get(delay_us);
      if (delay_us > kMaxDelayUs) error = simdjson::NUMBER_OUT_OF_RANGE;
    } else {
      return InvalidArgument("there is no field " + Quoted(entry.key));
    }
    if (error != simdjson::SUCCESS) {
      return InvalidArgument("field " + std::string(entry.key) + ": " + kHowTo);
    }
  }
  FaultPoint::Kind fault = FaultPoint::Kind::kNone;
  if (kind == "error") {
    fault = FaultPoint::Kind::kError;
  } else if (kind == "nan") {
    fault = FaultPoint::Kind::kNotANumber;
  } else if (kind == "delay") {
    fault = FaultPoint::Kind::kDelay;
  } else if (kind != "none") {
    return InvalidArgument(kHowTo);
  }
  if (!service.fault_injection()) {
    return Unavailable(
        "this server takes no faults for drills; start it with fault_injection: true");
  }
  VERDICT_ASSIGN_OR_RETURN(const LoadedModel* const model,
                           service.models().ForWorker(call.worker).Find(call.model, call.version));
  model->queue()->faults().Set(fault, share, std::chrono::microseconds(delay_us));
  spdlog::warn("model {} version {}: fault {} by order", model->name(), model->version_text(),
               kind);
  return OkStatus();
}

}  // namespace verdict
