#pragma once

#include <memory>
#include <utility>

#include "tools/samples/row_source.h"

namespace verdict {

/// Opens samples for two graphs and reads all of them twice: the passes must agree, and every
/// tensor must have the shape and the type that its graph takes.
template <typename Open>
void FuzzSamples(const Open& open) {
  Graph mixed;
  const Dim n = mixed.Symbol("N");
  mixed.AddInput("a", DataType::kFloat32, Shape{n, 1});
  mixed.AddInput("s", DataType::kString, Shape{n});
  mixed.AddInput("i", DataType::kInt8, Shape{n, 2});
  mixed.AddInput("t", DataType::kFloat16, Shape{mixed.Symbol("T"), n, 2});
  mixed.outputs.push_back(mixed.AddValue("score", DataType::kFloat32, Shape{n}));
  Graph single;
  single.AddInput("x", DataType::kFloat32, Shape{1, 2});

  for (const Graph* graph : {&mixed, &single}) {
    const SampleOptions options{.label = "label", .allow_nan = graph == &single};
    auto source = open(SampleLayout::Of(*graph).value(), options);
    if (!source.ok()) continue;
    int64_t rows[2] = {0, 0};
    bool ok = true;
    for (int pass = 0; pass < 2 && ok; ++pass) {
      while (true) {
        const auto samples = (*source)->Next(3);
        ok = samples.ok();
        if (!ok || samples->rows == 0) break;
        rows[pass] += samples->rows;
        VERDICT_CHECK(samples->rows <= (graph == &single ? 1 : 3));
        VERDICT_CHECK(samples->labels.size() ==
                      ((*source)->has_labels() ? static_cast<size_t>(samples->rows) : 0));
        VERDICT_CHECK(samples->inputs.size() == graph->inputs.size());
        for (size_t i = 0; i < samples->inputs.size(); ++i) {
          const Constant& tensor = samples->inputs[i];
          const Value& input = graph->value(graph->inputs[i]);
          VERDICT_CHECK(tensor.dtype == input.dtype);
          VERDICT_CHECK(tensor.shape.rank() == input.shape.rank());
          for (int axis = 0; axis < tensor.shape.rank(); ++axis) {
            const Dim extent = input.shape[axis];
            VERDICT_CHECK(extent == n ? tensor.shape[axis] == samples->rows
                                      : IsSymbol(extent) || tensor.shape[axis] == extent);
          }
        }
      }
      if (ok && pass == 0) VERDICT_CHECK((*source)->Rewind().ok());
    }
    VERDICT_CHECK(!ok || rows[0] == rows[1]);
  }
}

}  // namespace verdict
