#include "tools/load/worker.h"

#include <algorithm>

namespace verdict::load {

void Worker::RecordDropped(Pacer& pacer, Recorder& recorder, int64_t now_ns) {
  while (const auto late = pacer.TakeExpired(now_ns)) {
    recorder.Record({late->intended_ns, now_ns, -1, now_ns}, kDropped,
                    "its deadline passed before a connection was free for it", 0);
  }
}

int64_t Worker::BudgetUs(int64_t deadline_ns, int64_t intended_ns, int64_t now_ns) {
  return std::max<int64_t>((intended_ns + deadline_ns - now_ns) / 1000, 1);
}

void Worker::RecordUnsent(Pacer& pacer, Recorder& recorder, int64_t now_ns) {
  RecordDropped(pacer, recorder, now_ns);
  // A closed loop is always due, but what it has not sent nobody waits for.
  while (pacer.next_ns() != Arrivals::kEnd) {
    const auto due = pacer.Take(now_ns);
    if (!due) return;
    recorder.Record({due->intended_ns, now_ns, -1, now_ns}, kUnanswered,
                    "no connection was free for it in time", 0);
  }
}

}  // namespace verdict::load
