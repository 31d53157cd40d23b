// Feeds the engine reader files whose checksums are right, so that the fuzzer gets past them. The
// mutator takes one section out, mutates it and puts the file together again; it needs no seeds.
#include <cstdint>
#include <random>

#include "engine/dump.h"
#include "engine/engine_test.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

/// Gives libFuzzer the sections as one file, close together so that it stays small; 0 if it does
/// not fit.
size_t Give(std::vector<verdict::LooseSection> sections, uint8_t* data, size_t max_size) {
  for (verdict::LooseSection& section : sections) section.alignment = 64;
  const std::vector<std::byte> file = verdict::PutTogether(sections);
  if (file.size() > max_size) return 0;
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

std::vector<verdict::LooseSection> Seed() {
  verdict::EngineContents contents = verdict::MakeTestContents();
  contents.device_plans = {verdict::MakeTestDevicePlan()};
  const auto file = verdict::SerializeEngine(contents).value();
  return verdict::TakeApart(verdict::ReadContainer(file).value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  verdict::Reseal(file);
  const auto contents = verdict::ParseEngine(file, nullptr, "fuzz");
  if (contents.ok()) {
    verdict::DumpText(*contents);
    verdict::DumpJson(*contents);
    // What was accepted can be written again and is accepted again.
    const auto again = verdict::SerializeEngine(*contents);
    VERDICT_CHECK(again.ok() && verdict::ParseEngine(*again, nullptr, "again").ok());
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  std::minstd_rand random(seed);
  if (random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  verdict::Reseal(file);
  const auto container = verdict::ReadContainer(file);
  if (!container.ok() || container->sections.empty()) {
    return Give(Seed(), data, max_size);
  }
  auto sections = verdict::TakeApart(*container);
  auto& section = sections[random() % sections.size()].bytes;
  constexpr size_t kRoom = 256;
  const size_t old_size = section.size();
  section.resize(old_size + kRoom);
  section.resize(
      LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(section.data()), old_size, section.size()));
  return Give(std::move(sections), data, max_size);
}
