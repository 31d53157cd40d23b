#include "tools/load/worker.h"

namespace verdict::load {

void Worker::RecordUnsent(Pacer& pacer, Recorder& recorder, int64_t now_ns) {
  // A closed loop is always due, but what it has not sent nobody waits for.
  while (pacer.next_ns() != Arrivals::kEnd) {
    const auto due = pacer.Take(now_ns);
    if (!due) return;
    recorder.Record({due->intended_ns, now_ns, -1, now_ns}, kUnanswered,
                    "no connection was free for it in time", 0);
  }
}

}  // namespace verdict::load
