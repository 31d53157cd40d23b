// Engine files that earlier versions wrote, kept in tests/data, must load and compute what they did
// then.
#include <gtest/gtest.h>

#include "runtime/engine.h"

namespace verdict {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(VERDICT_SOURCE_DIR) / "tests/data";

TEST(StoredEngines, LoadAndPassTheirGoldenVectors) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".engine") continue;
    SCOPED_TRACE(entry.path().filename().string());
    ++count;
    const auto engine = Engine::Load(entry.path());
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    EXPECT_FALSE((*engine)->contents().golden.empty());
    const Status status = Engine::CheckGolden(*engine);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_GE(count, 3);
}

}  // namespace
}  // namespace verdict
