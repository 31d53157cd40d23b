// Scores one transaction without a server: score ENGINE FEATURE...
// The engine takes one float32 input of shape [batch, features].

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "runtime/engine.h"
#include "runtime/session.h"

namespace {

int Fail(const verdict::Status& status) {
  std::fprintf(stderr, "score: %s\n", status.ToString().c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: score ENGINE FEATURE...\n");
    return 2;
  }
  std::vector<float> features;
  for (int i = 2; i < argc; ++i) {
    char* end = nullptr;
    features.push_back(std::strtof(argv[i], &end));
    if (end == argv[i] || *end != '\0') {
      std::fprintf(stderr, "score: feature %d: '%s' is not a number\n", i - 1, argv[i]);
      return 2;
    }
  }

  // Once a process: an engine is immutable, and shared by any number of threads.
  const auto engine = verdict::Engine::Load(argv[1]);
  if (!engine.ok()) return Fail(engine.status());
  if (const auto status = verdict::Engine::CheckGolden(*engine); !status.ok()) return Fail(status);

  // Once a thread: a session owns the working memory.
  const auto session = verdict::Session::Create(*engine);
  if (!session.ok()) return Fail(session.status());

  // Once a transaction: nothing is allocated in here.
  const verdict::Shape shape{1, static_cast<verdict::Dim>(features.size())};
  const verdict::TensorView inputs[] = {{verdict::DataType::kFloat32, shape, features.data()}};
  const auto outputs = (*session)->Run(inputs);
  if (!outputs.ok()) return Fail(outputs.status());

  const auto specs = (*engine)->outputs();
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].dtype != verdict::DataType::kFloat32) continue;
    std::printf("%s:", specs[i].name.c_str());
    for (const float value : (*outputs)[i].as<const float>()) std::printf(" %.6f", value);
    std::printf("\n");
  }
  return EXIT_SUCCESS;
}
