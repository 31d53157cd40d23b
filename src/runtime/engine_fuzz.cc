// Loads engine files whose checksums are right and runs their golden vectors: whatever the reader
// accepts must load or be refused, and what loads must run or fail, all within its own memory.
#include <algorithm>

#include "engine/engine_test.h"
#include "runtime/engine.h"

namespace {

/// A larger arena costs time and shows nothing more.
constexpr uint64_t kMaxArenaBytes = uint64_t{16} << 20;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  verdict::Reseal(file);
  auto contents = verdict::ParseEngine(file, nullptr, "fuzz");
  if (!contents.ok()) return 0;
  const auto engine = verdict::Engine::FromContents(*std::move(contents));
  if (!engine.ok()) return 0;
  uint64_t arena_bytes = 0;
  for (const verdict::Layout& layout : (*engine)->plan().layouts) {
    arena_bytes = std::max(arena_bytes, layout.arena_bytes);
  }
  // The status is not looked at: a mutated file may well compute something else.
  if (arena_bytes < kMaxArenaBytes) static_cast<void>(verdict::Engine::CheckGolden(*engine));
  return 0;
}
