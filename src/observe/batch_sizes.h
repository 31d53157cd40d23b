#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "observe/local_counter.h"

namespace verdict {

/// Rows of a run up to which each number is counted apart; beyond, by bucket.
inline constexpr uint64_t kSizesApart = 128;

/// Upper bounds (inclusive) of the histogram of rows a run. Another one bucket counts larger runs.
inline constexpr std::array<uint64_t, 11> kRowBuckets = {1,  2,   4,   8,   16,  32,
                                                         64, 128, 256, 512, 1024};

/// What has been counted of runs of one size.
struct BatchSizeTotals {
  uint64_t runs = 0;
  uint64_t rows = 0;
  uint64_t input_ns = 0;   // reading the tensors of their requests
  uint64_t infer_ns = 0;   // running the engine
  uint64_t output_ns = 0;  // writing the tensors of their responses

  void Add(const BatchSizeTotals& other) {
    runs += other.runs;
    rows += other.rows;
    input_ns += other.input_ns;
    infer_ns += other.infer_ns;
    output_ns += other.output_ns;
  }
};

/// Counters of runs by their number of rows; one thread at a time adds.
class BatchSizes {
 public:
  /// One a number of rows up to kSizesApart, then one a bucket of kRowBuckets.
  static constexpr size_t kSizes = kSizesApart + 4;
  using Totals = std::array<BatchSizeTotals, kSizes>;

  /// 0 to kSizesApart - 1 for that many rows less one.
  static constexpr size_t IndexOf(uint64_t rows) {
    if (rows <= kSizesApart) return rows == 0 ? 0 : rows - 1;
    const size_t doublings = static_cast<size_t>(std::bit_width((rows - 1) / kSizesApart)) - 1;
    return kSizesApart + (doublings < 3 ? doublings : 3);
  }

  void AddRun(uint64_t rows, uint64_t infer_ns) {
    Counters& size = sizes_[IndexOf(rows)];
    size.runs.Add(1);
    size.rows.Add(rows);
    size.infer_ns.Add(infer_ns);
  }
  /// Of one of a run's requests. rows: the run's.
  void AddRequest(uint64_t rows, uint64_t input_ns, uint64_t output_ns) {
    Counters& size = sizes_[IndexOf(rows)];
    size.input_ns.Add(input_ns);
    size.output_ns.Add(output_ns);
  }
  /// Adds what was counted to *totals. Threads: any.
  void AddTo(Totals* totals) const {
    for (size_t i = 0; i < kSizes; ++i) {
      const Counters& size = sizes_[i];
      (*totals)[i].Add({size.runs.value(), size.rows.value(), size.input_ns.value(),
                        size.infer_ns.value(), size.output_ns.value()});
    }
  }

 private:
  struct Counters {
    LocalCounter runs, rows, input_ns, infer_ns, output_ns;
  };
  std::array<Counters, kSizes> sizes_;
};

}  // namespace verdict
