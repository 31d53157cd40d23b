#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "tools/load/arrivals.h"

namespace verdict::load {

/// Which request is to be sent next and when, for one thread. In an open loop the requests that are
/// due and not yet sent form a queue: the oldest goes first, and the queue takes no memory, since
/// the arrival process is that far behind. With a deadline the newest goes first: under overload
/// all but the newest have next to nothing left of their time, and a server that gets those first
/// answers everything too late. Threads: one at a time.
class Pacer {
 public:
  struct Due {
    int64_t intended_ns = 0;
    int64_t index = 0;  // position in the order of all threads' requests: which inputs to send
  };

  /// A closed loop: always due until end_ns. `limit` requests from begin_ns on (the warm-up before
  /// it is free), part `part` of `parts`.
  static Pacer Closed(int64_t begin_ns, int64_t end_ns, uint64_t limit, int part, int parts);
  /// An open loop: due when `arrivals` says, until end_ns or `limit` requests from begin_ns on.
  /// deadline_ns: how long after its time a request is still worth sending; 0: always.
  static Pacer Open(Arrivals arrivals, int64_t begin_ns, int64_t end_ns, uint64_t limit,
                    int64_t deadline_ns = 0);

  /// Takes the next request if it is due at now_ns.
  std::optional<Due> Take(int64_t now_ns);
  /// Takes the next request that was due, was not taken and is too late now: it is not to be sent.
  std::optional<Due> TakeExpired(int64_t now_ns);
  /// When the next request will be due; Arrivals::kEnd if there is none, or in a closed loop.
  int64_t next_ns() const;
  /// True if no further request will come.
  bool ended(int64_t now_ns) const;
  /// Nothing more will be due after now_ns: the run was interrupted.
  void StopAt(int64_t now_ns);

 private:
  void Fetch(int64_t now_ns);
  Pacer(Arrivals arrivals, bool closed, int64_t begin_ns, int64_t end_ns, uint64_t limit)
      : arrivals_(arrivals), closed_(closed), begin_ns_(begin_ns), end_ns_(end_ns), left_(limit) {}

  Arrivals arrivals_;
  bool closed_;
  int64_t begin_ns_;
  int64_t end_ns_;
  uint64_t left_;
  int64_t next_ns_ = 0;
  int64_t deadline_ns_ = 0;
  std::deque<Due> waiting_;  // with a deadline: due and not taken, oldest first
};

}  // namespace verdict::load
