// Feeds the reader of CSV samples: a graph with an input of each kind, then one with a single
// input.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <sstream>
#include <string>

#include "tools/samples/csv_samples.h"
#include "tools/samples/sample_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  verdict::FuzzSamples([&](verdict::SampleLayout layout, const verdict::SampleOptions& options) {
    verdict::TextInput input(std::make_unique<std::istringstream>(text), "fuzz");
    return verdict::OpenCsvSamples(std::move(input), std::move(layout), options);
  });
  return 0;
}
