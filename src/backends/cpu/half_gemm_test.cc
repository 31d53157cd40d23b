// Each instruction set's kernels against sums in double, whatever level the process runs at.
#include "backends/cpu/half_gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "backends/cpu/half_gemm_kernels.h"
#include "backends/cpu/isa.h"
#include "ops/half.h"

namespace verdict::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint16_t Rounded(HalfType type, float value) {
  return type == HalfType::kBFloat16 ? BFloat16::Of(value).bits : Float16::Of(value).bits;
}

float Widened(HalfType type, uint16_t bits) {
  return type == HalfType::kBFloat16 ? BFloat16{bits}.ToFloat() : Float16{bits}.ToFloat();
}

struct Level {
  Isa isa;
  const HalfKernels* kernels;

  auto gemm(HalfType type) const {
    return type == HalfType::kBFloat16 ? kernels->gemm_bfloat16 : kernels->gemm_float16;
  }
  auto round(HalfType type) const {
    return type == HalfType::kBFloat16 ? kernels->round_bfloat16 : kernels->round_float16;
  }
};

constexpr Level kLevels[] = {{Isa::kBaseline, &kHalfBaseline},
#if defined(__x86_64__)
                             {Isa::kAvx2, &kHalfAvx2},
                             {Isa::kAvx512, &kHalfAvx512},
                             {Isa::kAvx512Bf16, &kHalfBf16},
                             {Isa::kAmx, &kHalfAmx}
#endif
};

constexpr HalfType kTypes[] = {HalfType::kBFloat16, HalfType::kFloat16};

class HalfGemmOn : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (GetParam().isa > HardwareIsa()) {
      GTEST_SKIP() << "this processor has no " << IsaName(GetParam().isa);
    }
  }

  /// Those that the level has kernels for; of others it takes the level's before it.
  static std::vector<HalfType> Types() {
    std::vector<HalfType> types;
    for (HalfType type : kTypes) {
      if (GetParam().gemm(type) != nullptr) types.push_back(type);
    }
    return types;
  }
};

INSTANTIATE_TEST_SUITE_P(EachLevel, HalfGemmOn, testing::ValuesIn(kLevels),
                         [](const auto& info) { return std::string(IsaName(info.param.isa)); });

/// A product with everything it needs; packed weights are aligned as the kernels want them.
struct Product {
  Product(HalfType type, int64_t m, int64_t k, int64_t n, float size = 1)
      : type(type), m(m), k(k), n(n) {
    std::mt19937 random(static_cast<uint32_t>(m * 1000003 + k * 1009 + n));
    std::uniform_real_distribution<float> uniform(-1, 1);
    a.resize(static_cast<size_t>(m * HalfRowValues(k)), 0);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t p = 0; p < k; ++p) A(r, p) = Rounded(type, size * uniform(random));
    }
    for (int64_t i = 0; i < k * n; ++i) b.push_back(Rounded(type, uniform(random)));
    bias.resize(static_cast<size_t>(HalfPaddedColumns(n)), 0);
    for (int64_t j = 0; j < n; ++j) bias[static_cast<size_t>(j)] = uniform(random);
  }

  uint16_t& A(int64_t r, int64_t p) { return a[static_cast<size_t>(r * HalfRowValues(k) + p)]; }
  uint16_t& B(int64_t p, int64_t j) { return b[static_cast<size_t>(p * n + j)]; }

  /// c [m, ldc], from `old` where that is added to; ldc > n, what is between rows stays.
  std::vector<float> Run(const Level& level, int64_t first, int64_t rows) {
    std::vector<uint16_t> memory(static_cast<size_t>(HalfPackedValues(k, n) + 32));
    void* packed = memory.data();
    size_t space = memory.size() * 2;
    std::align(64, space - 64, packed, space);
    PackHalf(b.data(), n, 1, k, n, static_cast<uint16_t*>(packed));
    // Its own copy, so that reading past its end is seen by a sanitizer.
    const std::vector<uint16_t> of_rows(a.begin() + first * HalfRowValues(k),
                                        a.begin() + (first + rows) * HalfRowValues(k));
    std::vector<float> c(static_cast<size_t>(rows * (n + 3)), kOld);
    level.gemm(type)({.type = type,
                      .m = rows,
                      .k = k,
                      .n = n,
                      .a = of_rows.data(),
                      .packed = static_cast<const uint16_t*>(packed),
                      .bias = has_bias ? bias.data() : nullptr,
                      .accumulate = accumulate,
                      .relu = relu,
                      .c = c.data(),
                      .ldc = n + 3});
    return c;
  }

  void Check(const Level& level) {
    const std::vector<float> c = Run(level, 0, m);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t j = 0; j < n + 3; ++j) {
        const float got = c[static_cast<size_t>(r * (n + 3) + j)];
        if (j >= n) {
          ASSERT_EQ(got, kOld) << "written past row " << r;
          continue;
        }
        double want = has_bias ? static_cast<double>(bias[static_cast<size_t>(j)]) : 0;
        if (accumulate) want += static_cast<double>(kOld);
        double size = std::fabs(want);
        for (int64_t p = 0; p < k; ++p) {
          const double product = static_cast<double>(Widened(type, A(r, p))) *
                                 static_cast<double>(Widened(type, B(p, j)));
          want += product;
          size += std::fabs(product);
        }
        if (relu && want < 0) want = 0;
        if (!std::isfinite(want)) {
          ASSERT_EQ(std::isnan(want), std::isnan(got)) << r << ", " << j << ": " << got;
          if (!std::isnan(want)) {
            ASSERT_EQ(want, static_cast<double>(got)) << r << ", " << j;
          }
          continue;
        }
        // 1e-36: what is below the least normal number may be taken for zero.
        ASSERT_NEAR(static_cast<double>(got), want, 2e-6 * size + 1e-36) << r << ", " << j;
      }
    }
  }

  static constexpr float kOld = 0.375F;
  HalfType type;
  int64_t m, k, n;
  std::vector<uint16_t> a, b;
  std::vector<float> bias;
  bool has_bias = true, accumulate = false, relu = false;
};

TEST_P(HalfGemmOn, Shapes) {
  for (HalfType type : Types()) {
    for (int64_t m : {1, 3, 6, 7, 17, 33}) {
      for (int64_t k : {0, 1, 2, 31, 32, 33, 129, 256, 257}) {
        for (int64_t n : {1, 8, 17, 48, 64, 65, 130}) {
          SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n));
          Product product(type, m, k, n);
          product.has_bias = (m + n) % 3 != 0;
          product.accumulate = (m + k) % 2 == 0;
          product.relu = (k + n) % 4 == 0;
          product.Check(GetParam());
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(HalfGemmOn, RowsDoNotDependOnTheirBatch) {
  for (HalfType type : Types()) {
    for (const auto& [k, n] : {std::pair{77, 1}, {77, 20}, {300, 70}, {512, 256}}) {
      Product product(type, 39, k, n);
      product.accumulate = n == 20;
      const std::vector<float> whole = product.Run(GetParam(), 0, 39);
      for (int64_t rows : {1, 2, 5, 6, 16, 23}) {
        for (int64_t first : {int64_t{0}, 39 - rows}) {
          const std::vector<float> some = product.Run(GetParam(), first, rows);
          EXPECT_EQ(0, std::memcmp(some.data(), whole.data() + first * (n + 3),
                                   some.size() * sizeof(float)))
              << rows << " rows from " << first;
        }
      }
    }
  }
}

TEST_P(HalfGemmOn, InfinitiesAndNanSpreadInTheirRowsAndColumnsOnly) {
  for (HalfType type : Types()) {
    for (int64_t m : {1, 20}) {
      for (float odd : {kInfinity, -kInfinity, kNan}) {
        Product product(type, m, 70, 37);
        product.relu = true;
        product.A(m - 1, 68) = Rounded(type, odd);
        product.B(33, 5) = Rounded(type, odd);
        product.Check(GetParam());
      }
    }
  }
}

// Of bfloat16, its instructions may take them for zero; of float16, they are normal as float32.
TEST_P(HalfGemmOn, SubnormalNumbers) {
  for (int64_t m : {1, 20}) {
    for (HalfType type : Types()) {
      Product small(type, m, 33, 20);
      for (uint16_t& value : small.a) value &= type == HalfType::kFloat16 ? 0x83FF : 0x807F;
      small.has_bias = type == HalfType::kBFloat16;
      small.Check(GetParam());
    }
  }
}

// Products that float16 cannot hold, and sums that it cannot.
TEST_P(HalfGemmOn, LargeNumbers) {
  for (HalfType type : Types()) {
    Product(type, 3, 40, 17, 60000).Check(GetParam());
    Product(type, 17, 300, 70, 60000).Check(GetParam());
  }
}

TEST_P(HalfGemmOn, RoundsAsTheConversionsDo) {
  std::mt19937 random(3);
  std::vector<float> values = {0.0F,      -0.0F,    1.0F,     65504.0F, 65519.9F,  65520.0F,
                               kInfinity, -1e30F,   -kNan,    kNan,     1e-40F,    5.9e-8F,
                               2.9e-8F,   -6.1e-5F, 3.39e38F, 3.4e38F,  -kInfinity};
  while (values.size() < 400) {
    const auto bits = static_cast<uint32_t>(random());
    values.push_back(std::bit_cast<float>(bits));
    // Halfway between two bfloat16s, and between two float16s.
    values.push_back(std::bit_cast<float>((bits & 0xFFFF0000U) | 0x8000U));
    values.push_back(std::bit_cast<float>(((bits & 0x0FFFE000U) | 0x30000000U | 0x1000U) ^
                                          (bits & 0x80000000U)));
  }
  for (HalfType type : Types()) {
    const auto round = GetParam().round(type);
    if (round == nullptr) continue;  // the level takes that of the one before it
    for (int64_t k : {0, 1, 2, 7, 8, 15, 16, 17, 33, 400}) {
      std::vector<uint16_t> a(static_cast<size_t>(HalfRowValues(k)) + 1, 0xABCD);
      round(values.data(), k, a.data());
      for (int64_t p = 0; p < k; ++p) {
        const float value = values[static_cast<size_t>(p)];
        const uint16_t got = a[static_cast<size_t>(p)];
        if (std::isnan(value)) {
          EXPECT_TRUE(std::isnan(Widened(type, got))) << p;
        } else {
          EXPECT_EQ(Rounded(type, value), got) << value;
        }
      }
      if (k % 2 == 1) {
        EXPECT_EQ(a[static_cast<size_t>(k)], 0);
      }
      EXPECT_EQ(a.back(), 0xABCD) << "written past the row";
    }
  }
}

TEST(HalfGemm, DispatchedFunctionsAreThoseOfTheLevel) {
  for (HalfType type : kTypes) {
    const Level* of_level = nullptr;
    for (const Level& level : kLevels) {
      if (level.isa <= CurrentIsa() && level.gemm(type) != nullptr) of_level = &level;
    }
    Product product(type, 9, 300, 70);
    const std::vector<float> want = product.Run(*of_level, 0, 9);
    HalfKernels dispatched;
    dispatched.gemm_bfloat16 = dispatched.gemm_float16 = HalfGemm;
    EXPECT_EQ(want, product.Run({CurrentIsa(), &dispatched}, 0, 9)) << IsaName(of_level->isa);
  }
}

TEST(HalfGemm, PackedWeightsArePairsOfRowsInPanels) {
  std::vector<uint16_t> b(3 * 66);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<uint16_t>(i + 1);
  std::vector<uint16_t> packed(static_cast<size_t>(HalfPackedValues(3, 66)), 0xABCD);
  PackHalf(b.data(), 66, 1, 3, 66, packed.data());
  const auto row = [&](size_t p, size_t j) { return b[p * 66 + j]; };
  EXPECT_EQ(packed[0], row(0, 0));
  EXPECT_EQ(packed[1], row(1, 0));
  EXPECT_EQ(packed[2], row(0, 1));
  EXPECT_EQ(packed[128], row(2, 0));
  EXPECT_EQ(packed[129], 0) << "no fourth row";
  EXPECT_EQ(packed[4 * 64], row(0, 64)) << "the second panel";
  EXPECT_EQ(packed[4 * 64 + 4], 0) << "no column 66";
  std::vector<uint16_t> transposed(b.size()), again(packed.size(), 0xABCD);
  for (size_t p = 0; p < 3; ++p) {
    for (size_t j = 0; j < 66; ++j) transposed[j * 3 + p] = row(p, j);
  }
  PackHalf(transposed.data(), 1, 3, 3, 66, again.data());
  EXPECT_EQ(packed, again);
}

}  // namespace
}  // namespace verdict::cpu
