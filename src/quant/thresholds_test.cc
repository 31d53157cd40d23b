#include "quant/thresholds.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include "quant/histogram.h"

namespace verdict {
namespace {

using ::testing::HasSubstr;

struct Golden {
  std::string name;
  float amax = 0;
  double entropy = 0, p999 = 0, p9999 = 0, p99999 = 0, mse = 0;
  std::vector<uint64_t> histogram = std::vector<uint64_t>(AbsHistogram::kBins);
};

std::vector<Golden> ReadGolden() {
  std::ifstream file(std::string(VERDICT_SOURCE_DIR) + "/src/quant/thresholds_golden.txt");
  std::vector<Golden> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Golden golden;
    size_t filled = 0;
    words >> golden.name >> golden.amax >> golden.entropy >> golden.p999 >> golden.p9999 >>
        golden.p99999 >> golden.mse >> filled;
    for (; filled > 0; --filled) {
      size_t bin = 0;
      char colon = 0;
      uint64_t count = 0;
      words >> bin >> colon >> count;
      golden.histogram.at(bin) = count;
    }
    EXPECT_TRUE(words) << golden.name;
    all.push_back(std::move(golden));
  }
  return all;
}

TEST(Thresholds, AreThoseOfAnotherImplementation) {
  const auto all = ReadGolden();
  ASSERT_GE(all.size(), 7u);
  for (const Golden& golden : all) {
    SCOPED_TRACE(golden.name);
    // Less than half a bin: the same bin.
    const double bin = static_cast<double>(golden.amax) / AbsHistogram::kBins;
    const auto expect = [&](Observer observer, double want) {
      const auto got = Threshold(observer, golden.histogram, golden.amax);
      ASSERT_TRUE(got.ok()) << got.status().ToString();
      EXPECT_NEAR(*got, want, 0.01 * bin) << ObserverName(observer);
    };
    expect(Observer::kEntropy, golden.entropy);
    expect(Observer::kPercentile999, golden.p999);
    expect(Observer::kPercentile9999, golden.p9999);
    expect(Observer::kPercentile99999, golden.p99999);
    expect(Observer::kMse, golden.mse);
    expect(Observer::kMinMax, static_cast<double>(golden.amax));
  }
}

TEST(Thresholds, OneOutlierIsClipped) {
  std::vector<uint64_t> histogram(AbsHistogram::kBins);
  for (size_t bin = 0; bin < 200; ++bin) {
    const double place = static_cast<double>(bin) / 60;
    histogram[bin] = static_cast<uint64_t>(10'000 * std::exp(-place * place / 2));
  }
  histogram.back() = 1;
  for (Observer observer :
       {Observer::kEntropy, Observer::kPercentile999, Observer::kPercentile9999}) {
    EXPECT_LT(Threshold(observer, histogram, 2048.0F).value(), 300.0F) << ObserverName(observer);
  }
  EXPECT_EQ(Threshold(Observer::kMinMax, histogram, 2048.0F).value(), 2048.0F);
}

TEST(Thresholds, RefuseWhatIsNoHistogram) {
  const std::vector<uint64_t> empty(AbsHistogram::kBins);
  std::vector<uint64_t> one = empty;
  one[5] = 1;
  for (Observer observer : {Observer::kEntropy, Observer::kMse, Observer::kPercentile999}) {
    EXPECT_THAT(Threshold(observer, empty, 1.0F).status().message(), HasSubstr("empty"));
    for (float amax : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
      EXPECT_THAT(Threshold(observer, one, amax).status().message(), HasSubstr("finite number"));
    }
  }
}

TEST(Observers, HaveNames) {
  for (const char* name : {"auto", "entropy", "minmax", "mse", "percentile-99.9",
                           "percentile-99.99", "percentile-99.999"}) {
    EXPECT_EQ(ObserverName(ParseObserver(name).value()), name);
  }
  EXPECT_THAT(ParseObserver("kl").status().message(), HasSubstr("entropy, minmax"));
}

TEST(AbsHistogram, CountsSizesInEqualBins) {
  std::vector<uint64_t> counts(AbsHistogram::kBins);
  const std::vector<float> values = {0.0F, -0.0F, 1.0F, -1.0F, 0.5F, 0.4999F, 2.0F};
  AbsHistogram::Add(values, 1.0F, counts);
  EXPECT_EQ(counts[0], 2u);
  EXPECT_EQ(counts[1024], 1u);
  EXPECT_EQ(counts[1023], 1u);
  EXPECT_EQ(counts[2047], 3u) << "the largest, and what rounding puts beyond it";
}

}  // namespace
}  // namespace verdict
