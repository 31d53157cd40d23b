#include "release/gates/precision_report.h"

#include <gmock/gmock.h>

namespace verdict {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

PrecisionReport Report(const std::string& model = "m.onnx") {
  const std::vector<float> labels = {0, 1, 0, 1, 1, 0, 0, 1};
  const std::vector<float> baseline = {.1F, .8F, .3F, .3F, .9F, .05F, .8F, .2F};
  const std::vector<float> candidate = {.2F, .8F, .3F, .2F, .9F, .05F, .7F, .6F};
  return {.model = model,
          .precision = "int8",
          .passed = true,
          .max_auc_drop = 0.001,
          .scores = CompareScores(baseline, candidate, labels, {}).value(),
          .layers = {{.name = "dense0",
                      .op = "FusedGemm",
                      .precision = "int8",
                      .observer = "entropy",
                      .threshold = 3.5,
                      .auc_drop = 0.00012},
                     {.name = "dense1",
                      .op = "FusedGemm",
                      .precision = "float32",
                      .auc_drop = 0.25,
                      .reason = "it costs too much"}}};
}

TEST(PrecisionReport, TableEndsWithTheVerdict) {
  const std::string table = ToTable(Report());
  EXPECT_THAT(table,
              EndsWith("PASSED: the ROC-AUC rises by 0.03125, a fall of 0.001 is allowed\n"));
  EXPECT_THAT(table, HasSubstr("the interval reaches beyond what is allowed"));
  EXPECT_THAT(table, HasSubstr("float32 0.75000  int8 0.78125"));
  EXPECT_THAT(table, HasSubstr("dense1: float32, alone it loses 0.25000: it costs too much"));
  EXPECT_THAT(table, HasSubstr("so few frauds show little"));
  EXPECT_THAT(table, Not(HasSubstr("  engine ")));
  PrecisionReport kept = Report();
  kept.engine = "float32 is kept: int8 is slower";
  EXPECT_THAT(ToTable(kept), HasSubstr("engine               float32 is kept: int8 is slower"));
  EXPECT_THAT(ToHtml(kept), HasSubstr("float32 is kept: int8 is slower"));
  EXPECT_THAT(ToJson(kept), HasSubstr("\"engine\":\"float32 is kept: int8 is slower\""));
  PrecisionReport failed = Report();
  failed.passed = false;
  EXPECT_THAT(ToTable(failed), HasSubstr("\nFAILED: "));
}

TEST(PrecisionReport, LinesOfNumbersFitATerminal) {
  PrecisionReport report = Report();
  report.layers.clear();
  const std::string table = ToTable(report);
  for (size_t begin = 0; begin < table.size();) {
    const size_t end = std::min(table.find('\n', begin), table.size());
    EXPECT_LE(end - begin, 100u) << table.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(PrecisionReport, JsonHasEveryFigure) {
  const std::string json = ToJson(Report());
  for (const char* part :
       {"\"verdict\":\"passed\"", "\"auc_drop\":-0.03125", "\"float32\":0.75,\"int8\":0.78125",
        "\"ks\":0.125", "\"name\":\"dense0\"", "\"observer\":\"entropy\"",
        "\"reason\":\"it costs too much\"", "\"row\":7"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
}

TEST(PrecisionReport, PageShowsPlotsAndEscapesNames) {
  const std::string page = ToHtml(Report("<script>alert(\"x\")</script>.onnx"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(page, HasSubstr("Scores of the same rows"));
  EXPECT_THAT(page, HasSubstr("Distribution of the scores"));
  EXPECT_THAT(page, HasSubstr("What each layer loses alone"));
  EXPECT_THAT(page, EndsWith("</html>\n"));
}

}  // namespace
}  // namespace verdict
