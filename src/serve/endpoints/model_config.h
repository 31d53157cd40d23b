#pragma once

#include <string>

#include "serve/models/loaded_model.h"

namespace verdict {

/// Appends the configuration in effect of a model, as Triton's model configuration in JSON. Where
/// the model has a max_batch_size, the batch extent is left out of the dims of its tensors. Sent
/// back with a call to load (ParseSentModelConfig), it changes nothing.
void AppendModelConfig(std::string* out, const LoadedModel& model);

}  // namespace verdict
