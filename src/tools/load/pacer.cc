#include "tools/load/pacer.h"

#include <algorithm>

namespace verdict::load {

Pacer Pacer::Closed(int64_t begin_ns, int64_t end_ns, uint64_t limit, int part, int parts) {
  // Of the arrivals only the running index is of use here.
  return {Arrivals::Constant(1, part, parts), true, begin_ns, end_ns, limit};
}

Pacer Pacer::Open(Arrivals arrivals, int64_t begin_ns, int64_t end_ns, uint64_t limit) {
  Pacer pacer(arrivals, false, begin_ns, end_ns, limit);
  pacer.next_ns_ = pacer.arrivals_.Next();
  return pacer;
}

bool Pacer::ended(int64_t now_ns) const {
  return left_ == 0 || (closed_ ? now_ns >= end_ns_ : next_ns_ >= end_ns_);
}

std::optional<Pacer::Due> Pacer::Take(int64_t now_ns) {
  if (ended(now_ns) || (!closed_ && next_ns_ > now_ns)) return std::nullopt;
  Due due;
  if (closed_) {
    arrivals_.Next();
    due = {now_ns, arrivals_.index()};
  } else {
    due = {next_ns_, arrivals_.index()};
    next_ns_ = arrivals_.Next();
  }
  if (due.intended_ns >= begin_ns_) --left_;
  return due;
}

void Pacer::StopAt(int64_t now_ns) { end_ns_ = std::min(end_ns_, now_ns); }

}  // namespace verdict::load
