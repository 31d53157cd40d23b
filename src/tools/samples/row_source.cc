#include "tools/samples/row_source.h"

#include <utility>

namespace verdict {

Result<Samples> RowSource::Next(int64_t max_rows) {
  VERDICT_CHECK(max_rows > 0);
  const int64_t limit = layout_.one_a_run() ? 1 : max_rows;
  SampleRows rows(layout_, options_.allow_nan);
  int64_t count = 0;
  for (; count < limit; ++count) {
    VERDICT_ASSIGN_OR_RETURN(const bool more, NextRow(&rows));
    if (!more) break;
  }
  return std::move(rows).Finish(count);
}

}  // namespace verdict
