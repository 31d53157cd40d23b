#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/status.h"
#include "serve/endpoints/infer_request.h"
#include "serve/routing/route.h"

namespace verdict {

/// A route's constants as the outputs of a request, one for each of its rows.
class LastResort {
 public:
  /// Errors: kInvalidArgument: more values than an answer of constants may have.
  static Result<LastResort> Make(const Route::Signature& signature, const InferRequest& request);
  /// One per output of the signature; valid as long as this.
  std::span<const TensorView> views() const { return views_; }

 private:
  std::deque<std::vector<float>> values_;
  std::vector<TensorView> views_;
};

}  // namespace verdict
