#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "quant/sample_source.h"
#include "tools/samples/text_input.h"

namespace verdict {

inline TextInput TextOf(std::string text, std::string name) {
  return TextInput(std::make_unique<std::istringstream>(std::move(text)), std::move(name));
}

template <typename T>
std::vector<T> Values(const Constant& tensor) {
  const auto values = tensor.view().as<const T>();
  return {values.begin(), values.end()};
}

/// The next samples, which must be good.
inline Samples Take(SampleSource* source, int64_t max_rows = 100) {
  auto samples = source->Next(max_rows);
  EXPECT_TRUE(samples.ok()) << samples.status().ToString();
  return samples.ok() ? *std::move(samples) : Samples{};
}

/// The first error on opening or reading.
inline std::string ErrorOf(const Result<std::unique_ptr<SampleSource>>& source) {
  if (!source.ok()) return source.status().message();
  while (true) {
    const auto samples = (*source)->Next(2);
    if (!samples.ok()) return samples.status().message();
    if (samples->rows == 0) return "none";
  }
}

}  // namespace verdict
