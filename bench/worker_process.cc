// What a GPU worker process would cost a request, against running in the server's own process: the
// way there and back between two processes by shared memory, with 1 KiB each way, where the worker
// does nothing. Needs no GPU.
//
// Build and run: c++ -O2 -std=c++20 -pthread bench/worker_process.cc -o worker_process &&
// ./worker_process
//
// Three ways to wait: spinning on both sides (a core each), futex on both sides, and spinning for
// 50 us before the futex, which is what a server would do. "call": the same copies in one process.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBytes = 1024;
constexpr int kWarm = 2000, kRuns = 50000;
constexpr auto kSpin = std::chrono::microseconds(50);

enum class Wait { kSpin, kFutex, kSpinThenFutex };

/// A number that one side raises and the other waits for, and the tensor that goes with it.
struct alignas(64) Direction {
  std::atomic<uint32_t> sequence = 0;
  std::atomic<uint32_t> sleepers = 0;
  alignas(64) unsigned char tensor[kBytes];
};
struct Shared {
  Direction request, answer;
};

void FutexWait(std::atomic<uint32_t>& word, uint32_t seen) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void Await(Direction& direction, uint32_t wanted, Wait wait) {
  const auto there = [&] { return direction.sequence.load(std::memory_order_acquire) == wanted; };
  if (wait != Wait::kFutex) {
    const auto start = Clock::now();
    do {
      for (int i = 0; i < 32; ++i) {
        if (there()) return;
        Relax();
      }
    } while (wait == Wait::kSpin || Clock::now() - start < kSpin);
  }
  direction.sleepers.fetch_add(1);
  while (!there()) FutexWait(direction.sequence, wanted - 1);
  direction.sleepers.fetch_sub(1);
}

void Send(Direction& direction, const unsigned char* tensor, uint32_t number) {
  std::memcpy(direction.tensor, tensor, kBytes);
  direction.sequence.store(number);
  if (direction.sleepers.load() != 0) FutexWake(direction.sequence);
}

[[noreturn]] void Serve(Shared& shared, Wait wait) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  unsigned char tensor[kBytes];
  for (uint32_t number = 1;; ++number) {
    Await(shared.request, number, wait);
    std::memcpy(tensor, shared.request.tensor, kBytes);
    Send(shared.answer, tensor, number);
  }
}

void Print(const char* name, std::vector<double>& micros) {
  std::sort(micros.begin(), micros.end());
  std::printf("%-16s p50 %7.2f us   p99 %7.2f us   p99.9 %7.2f us\n", name,
              micros[micros.size() / 2], micros[micros.size() * 99 / 100],
              micros[micros.size() * 999 / 1000]);
}

/// gap: rests between requests, so that a worker that waits by futex really sleeps.
void Measure(const char* name, Wait wait, std::chrono::microseconds gap, int runs) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  auto* shared = new (memory) Shared;
  const pid_t worker = fork();
  if (worker < 0) {
    std::perror("fork");
    std::exit(1);
  }
  if (worker == 0) Serve(*shared, wait);
  unsigned char sent[kBytes], received[kBytes];
  std::vector<double> micros;
  for (int i = 0; i < kWarm + runs; ++i) {
    const auto number = static_cast<uint32_t>(i + 1);
    std::memset(sent, i, kBytes);
    const auto start = Clock::now();
    Send(shared->request, sent, number);
    Await(shared->answer, number, wait);
    std::memcpy(received, shared->answer.tensor, kBytes);
    const auto end = Clock::now();
    if (std::memcmp(sent, received, kBytes) != 0) {
      std::fprintf(stderr, "another answer came back\n");
      std::exit(1);
    }
    if (i >= kWarm)
      micros.push_back(std::chrono::duration<double, std::micro>(end - start).count());
    if (gap.count() > 0 && i >= kWarm) std::this_thread::sleep_for(gap);
  }
  kill(worker, SIGKILL);
  waitpid(worker, nullptr, 0);
  munmap(memory, sizeof(Shared));
  Print(name, micros);
}

void MeasureCall() {
  std::vector<unsigned char> sent(kBytes), there(kBytes), received(kBytes);
  std::vector<double> micros;
  for (int i = 0; i < kWarm + kRuns; ++i) {
    std::memset(sent.data(), i, kBytes);
    const auto start = Clock::now();
    std::memcpy(there.data(), sent.data(), kBytes);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    std::memcpy(received.data(), there.data(), kBytes);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const auto end = Clock::now();
    if (received != sent) std::exit(1);
    if (i >= kWarm)
      micros.push_back(std::chrono::duration<double, std::micro>(end - start).count());
  }
  Print("call", micros);
}

}  // namespace

int main() {
  using std::chrono::microseconds;
  setvbuf(stdout, nullptr, _IOLBF, 0);  // forked workers inherit no unwritten lines
  std::printf("%u processors\nrequest after request:\n", std::thread::hardware_concurrency());
  MeasureCall();
  Measure("spin", Wait::kSpin, microseconds(0), kRuns);
  Measure("futex", Wait::kFutex, microseconds(0), kRuns);
  Measure("spin, then futex", Wait::kSpinThenFutex, microseconds(0), kRuns);
  std::printf("a request every 500 us:\n");
  Measure("spin", Wait::kSpin, microseconds(500), 5000);
  Measure("futex", Wait::kFutex, microseconds(500), 5000);
  Measure("spin, then futex", Wait::kSpinThenFutex, microseconds(500), 5000);
  return 0;
}
