#pragma once

#include <cstdint>

#include "base/status.h"
#include "runtime/session.h"

namespace verdict {

/// Tries whether the rows of an engine with a batch depend on each other: runs rows together and
/// apart, on the golden vectors and on random inputs. Takes about 100 ms at most, or a few runs of
/// one row if they are longer.
///
/// max_rows: most rows of a run, > 1.
/// Returns: true if a row's outputs had the same bits either way; false if floats differed by
///   rounding (1e-5, relative plus absolute; in up to half of the rows more, where the golden
///   vectors allow more).
/// Errors: kInvalidArgument: they depend on each other, or none of the inputs could be run.
Result<bool> TryRowsApart(Session& session, int64_t max_rows);

}  // namespace verdict
