#include "tools/load/pacer.h"

#include <algorithm>

namespace verdict::load {

Pacer Pacer::Closed(int64_t begin_ns, int64_t end_ns, uint64_t limit, int part, int parts) {
  // Of the arrivals only the running index is of use here.
  return {Arrivals::Constant(1, part, parts), true, begin_ns, end_ns, limit};
}

Pacer Pacer::Open(Arrivals arrivals, int64_t begin_ns, int64_t end_ns, uint64_t limit,
                  int64_t deadline_ns) {
  Pacer pacer(arrivals, false, begin_ns, end_ns, limit);
  pacer.deadline_ns_ = deadline_ns;
  pacer.next_ns_ = pacer.arrivals_.Next();
  return pacer;
}

int64_t Pacer::next_ns() const {
  if (!waiting_.empty()) return waiting_.front().intended_ns;
  return closed_ || left_ == 0 ? Arrivals::kEnd : next_ns_;
}

bool Pacer::ended(int64_t now_ns) const {
  if (!waiting_.empty()) return false;
  return left_ == 0 || (closed_ ? now_ns >= end_ns_ : next_ns_ >= end_ns_);
}

/// Makes requests wait that are due by now.
void Pacer::Fetch(int64_t now_ns) {
  while (left_ > 0 && next_ns_ < end_ns_ && next_ns_ <= now_ns) {
    waiting_.push_back({next_ns_, arrivals_.index()});
    if (next_ns_ >= begin_ns_) --left_;
    next_ns_ = arrivals_.Next();
  }
}

std::optional<Pacer::Due> Pacer::TakeExpired(int64_t now_ns) {
  if (closed_ || deadline_ns_ == 0) return std::nullopt;
  Fetch(now_ns);
  if (waiting_.empty() || now_ns - waiting_.front().intended_ns < deadline_ns_) return std::nullopt;
  const Due due = waiting_.front();
  waiting_.pop_front();
  return due;
}

std::optional<Pacer::Due> Pacer::Take(int64_t now_ns) {
  if (!closed_ && deadline_ns_ > 0) {
    Fetch(now_ns);
    if (waiting_.empty()) return std::nullopt;
    const Due due = waiting_.back();
    waiting_.pop_back();
    return due;
  }
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
