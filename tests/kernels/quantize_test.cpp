// q8 and q4: the layouts as quantize.hpp writes them, errors, awkward numbers. The decoders here know the format from
// its description alone.
#include "ocellus/kernels/quantize.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "ocellus/kernels/quantize_search.ipp"

namespace {

using ocellus::f16;

using format = ocellus::weight_format;
constexpr format formats[] = {format::q8, format::q4};

/// A packed matrix, its codes and scales at odd addresses and with bytes behind them that nobody may touch.
struct quantized {
  static constexpr std::size_t slack = 64;
  std::vector<std::byte> codes, scales;
  std::uint32_t n, k;
  format type;
  bool fine = true;

  quantized(format t, const std::vector<float>& weights, std::uint32_t rows, std::uint32_t columns)
      : n(rows), k(columns), type(t) {
    const std::size_t panels = (n + 15) / 16, panel = code_bytes(),
                      group = ocellus::panel_scale_bytes(k).value();
    codes.assign(panels * panel + 1 + slack, std::byte{0xa5});
    scales.assign(panels * group + 1 + slack, std::byte{0xa5});
    for (std::size_t p = 0; p < panels; ++p) {
      const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(16, n - p * 16));
      const auto quantize = type == format::q8 ? ocellus::quantize_panel_q8 : ocellus::quantize_panel_q4;
      fine &= quantize(weights.data() + p * 16 * k, k, count, k, codes.data() + 1 + p * panel,
                       scales.data() + 1 + p * group);
    }
    for (std::size_t i = 0; i < slack; ++i) {
      REQUIRE(codes[codes.size() - 1 - i] == std::byte{0xa5});
      REQUIRE(scales[scales.size() - 1 - i] == std::byte{0xa5});
    }
    REQUIRE(codes[0] == std::byte{0xa5});
    REQUIRE(scales[0] == std::byte{0xa5});
  }
  [[nodiscard]] std::size_t code_bytes() const { return ocellus::panel_bytes(type, k).value(); }
  [[nodiscard]] float at(std::uint32_t row, std::uint32_t column) const {
    return (type == format::q8 ? ocellus::q8_at : ocellus::q4_at)(codes.data() + 1, scales.data() + 1, k, row,
                                                                  column);
  }
  [[nodiscard]] f16 scale(std::uint32_t row, std::uint32_t column) const {
    const std::size_t groups = (k + 63) / 64 * 2;
    f16 v;
    std::memcpy(&v, scales.data() + 1 + ((row / 16 * groups + column / 32) * 16 + row % 16) * 2, 2);
    return v;
  }
  /// The weight, read by the description of the format.
  [[nodiscard]] double described(std::uint32_t row, std::uint32_t column) const {
    static constexpr int levels[16] = {-45, -33, -26, -20, -15, -10, -6, -2, 2, 6, 10, 15, 20, 26, 33, 45};
    const std::size_t padded = (k + 63) / 64 * 64;
    const std::byte* bytes = codes.data() + 1;
    int code;
    if (type == format::q8) {
      code = static_cast<std::int8_t>(
          bytes[((row / 16 * padded / 4 + column / 4) * 16 + row % 16) * 4 + column % 4]);
    } else {
      const auto two = static_cast<unsigned>(
          bytes[((row / 16 * padded / 8 + column / 8) * 16 + row % 16) * 4 + column % 4]);
      code = levels[column % 8 < 4 ? two % 16 : two / 16] + scale(row, column).bits % 16;
    }
    return static_cast<double>(to_f32(scale(row, column))) * code / 64;
  }
};

/// Numbers of a distribution with deviation 0.02: 0 normal, 1 Laplace, 2 Student t with 4 degrees.
std::vector<float> numbers(int kind, std::size_t count, std::uint32_t seed) {
  std::mt19937 bits(seed);
  const auto uniform = [&] { return (static_cast<double>(bits()) + 0.5) / 4294967296.0; };
  const auto normal = [&] {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  };
  std::vector<float> all(count);
  for (float& v : all) {
    double x = normal();
    if (kind == 1) x = -std::log(uniform()) * (bits() & 1 ? 1 : -1) / std::sqrt(2.0);
    if (kind == 2) {
      double squares = 0;
      for (int i = 0; i < 4; ++i) squares += std::pow(normal(), 2);
      x /= std::sqrt(squares / 4) * std::sqrt(2.0);
    }
    v = static_cast<float>(x * 0.02);
  }
  return all;
}

double relative_error(const quantized& q, const std::vector<float>& weights) {
  double error = 0, all = 0;
  for (std::uint32_t r = 0; r < q.n; ++r) {
    for (std::uint32_t c = 0; c < q.k; ++c) {
      const double w = static_cast<double>(weights[r * q.k + c]);
      error += std::pow(w - static_cast<double>(q.at(r, c)), 2);
      all += w * w;
    }
  }
  return std::sqrt(error / all);
}

}  // namespace

TEST_CASE("quantize: q8 takes 8.5 bits a weight and q4 4.5, padding included") {
  CHECK(ocellus::panel_bytes(format::q8, 2560).value() == 16 * 2560);
  CHECK(ocellus::panel_bytes(format::q4, 2560).value() == 16 * 2560 / 2);
  CHECK(ocellus::panel_scale_bytes(2560).value() == 16 * 2560 / 32 * 2);
  CHECK(ocellus::panel_bytes(format::q8, 588).value() == 16 * 640);
  CHECK(ocellus::panel_bytes(format::q4, 1).value() == 16 * 32);
  CHECK(ocellus::panel_scale_bytes(65).value() == 16 * 4 * 2);
  CHECK(ocellus::panel_bytes(format::q8, 0xffffffff).value() == 16ull << 32);
}

TEST_CASE("quantize: weights that a group can hold come back exactly, where the description puts them") {
  for (format type : formats) {
    // Every group its own scale and, in q4, its own offset of both signs; its ends and middles all occur.
    const std::uint32_t n = 33, k = 64 * 3;
    std::vector<float> weights(n * k);
    for (std::uint32_t r = 0; r < n; ++r) {
      for (std::uint32_t c = 0; c < k; ++c) {
        const std::uint32_t group = r * 6 + c / 32, place = (c * 7 + r) % 32;
        const f16 scale{static_cast<std::uint16_t>(0x2000 + group * 16 + group % 16)};
        int code = type == format::q8 ? static_cast<int>(place) * 4 - 60 : ocellus::q4_levels[place % 16];
        if (type == format::q8 && place == 31) code = group % 2 == 0 ? 127 : -127;
        if (type == format::q4) code += static_cast<int>(group % 16);
        if (type == format::q4 && group / 16 % 2 == 1) code = -code;
        weights[r * k + c] = to_f32(scale) * static_cast<float>(code) / 64;
      }
    }
    const quantized q(type, weights, n, k);
    REQUIRE(q.fine);
    std::size_t wrong = 0;
    for (std::uint32_t r = 0; r < n; ++r) {
      for (std::uint32_t c = 0; c < k; ++c) {
        wrong += q.at(r, c) != weights[r * k + c];
        wrong += q.described(r, c) != static_cast<double>(weights[r * k + c]);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("quantize: the search finds the same bits, whatever vectors it was compiled for") {
  // What is called here is compiled for this file's flags; pack_panel may choose another compilation of it.
  for (int kind = 0; kind < 3; ++kind) {
    const std::uint32_t k = 640;
    const std::vector<float> weights = numbers(kind, 16 * k, 23);
    for (format type : formats) {
      const quantized q(type, weights, 16, k);
      REQUIRE(q.fine);
      std::size_t wrong = 0;
      for (std::uint32_t first = 0; first < k; first += 32) {
        ocellus::detail::quant_block block = {};
        for (std::uint32_t c = 0; c < 32; ++c) {
          for (std::uint32_t r = 0; r < 16; ++r) block.x[c][r] = weights[r * k + first + c];
        }
        ocellus::detail::quant_codes codes;
        f16 scales[16];
        REQUIRE((type == format::q8 ? ocellus::detail::quant_block_q8(block, codes, scales)
                                    : ocellus::detail::quant_block_q4(block, codes, scales)));
        for (std::uint32_t r = 0; r < 16; ++r) {
          wrong += scales[r].bits != q.scale(r, first).bits;
          for (std::uint32_t c = 0; c < 32; ++c) {
            const float weight = type == format::q8
                                     ? ocellus::q8_weight(static_cast<std::int8_t>(codes[c][r]), scales[r])
                                     : ocellus::q4_weight(codes[c][r], scales[r]);
            wrong += weight != q.at(r, first + c);
          }
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("quantize: the error is below that of Q8_0 and of Q4_K on the same distributions") {
  // llama.cpp's relative errors on normal, Laplace and t (4 degrees): Q8_0 .00536 .00672 .00735, Q4_K .0714 .0847 .0870
  const double of_q8[3] = {.0048, .0061, .0068}, of_q4[3] = {.0677, .0738, .0783};
  for (int kind = 0; kind < 3; ++kind) {
    const std::uint32_t n = 16, k = 2560;
    const std::vector<float> weights = numbers(kind, n * k, 17);
    for (format type : formats) {
      const quantized q(type, weights, n, k);
      REQUIRE(q.fine);
      CHECK(relative_error(q, weights) < (type == format::q8 ? of_q8 : of_q4)[kind]);
    }
  }
}

TEST_CASE(
    "quantize: no group of q8 is worse than rounding to its largest weight, and every weight has its best "
    "code") {
  const std::uint32_t n = 16, k = 1024;
  for (int kind = 0; kind < 3; ++kind) {
    const std::vector<float> weights = numbers(kind, n * k, 5);
    const quantized q(format::q8, weights, n, k), q4(format::q4, weights, n, k);
    for (std::uint32_t r = 0; r < n; ++r) {
      for (std::uint32_t first = 0; first < k; first += 32) {
        const float* w = weights.data() + r * k + first;
        float largest = 0;
        for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(w[i]));
        const double plain = static_cast<double>(to_f32(ocellus::to_f16(largest / 127 * 64))) / 64;
        double rounded = 0, ours = 0, codes = 0, given = 0;
        for (std::uint32_t i = 0; i < 32; ++i) {
          const double x = static_cast<double>(w[i]);
          rounded += std::pow(x - plain * std::clamp(std::nearbyint(x / plain), -127.0, 127.0), 2);
          ours += std::pow(x - static_cast<double>(q.at(r, first + i)), 2);
          const f16 scale = q4.scale(r, first);
          double nearest = 1e9;
          for (std::uint32_t bits = 0; bits < 16; ++bits) {
            nearest = std::min(nearest, std::abs(x - static_cast<double>(ocellus::q4_weight(bits, scale))));
          }
          codes += nearest * nearest;
          given += std::pow(x - static_cast<double>(q4.at(r, first + i)), 2);
        }
        CHECK(ours <= rounded * (1 + 1e-5));
        CHECK(given <= codes * (1 + 1e-5));
      }
    }
  }
}

TEST_CASE("quantize: rows and columns beyond the matrix are 0, or meet a scale of 0") {
  for (format type : formats) {
    for (std::uint32_t n : {1u, 15u, 16u, 17u}) {
      for (std::uint32_t k : {1u, 31u, 32u, 33u, 64u, 65u, 588u}) {
        // Exactly n * k floats: a sanitizer sees a read beyond them.
        const std::vector<float> weights = numbers(0, n * k, n * 1000 + k);
        const quantized q(type, weights, n, k);
        REQUIRE(q.fine);
        CHECK(relative_error(q, weights) < (type == format::q8 ? 0.01 : 0.12));
        const std::uint32_t padded_n = (n + 15) / 16 * 16, padded_k = (k + 63) / 64 * 64;
        for (std::uint32_t r = 0; r < padded_n; ++r) {
          for (std::uint32_t c = 0; c < padded_k; ++c) {
            if (r >= n || c >= (k + 31) / 32 * 32) {
              CHECK(q.scale(r, c).bits == 0);
              CHECK(q.described(r, c) == 0.0);
            }
            if (type == format::q8 && (r >= n || c >= k)) CHECK(q.described(r, c) == 0.0);
          }
        }
      }
    }
  }
}

TEST_CASE("quantize: groups of zeros have scale 0, also among others") {
  for (format type : formats) {
    std::vector<float> weights = numbers(0, 16 * 128, 3);
    for (std::uint32_t r = 0; r < 16; ++r) {
      for (std::uint32_t c = 32; c < 64; ++c) weights[r * 128 + c] = c % 2 == 0 ? 0.0f : -0.0f;
    }
    const quantized q(type, weights, 16, 128);
    REQUIRE(q.fine);
    for (std::uint32_t r = 0; r < 16; ++r) {
      CHECK(q.scale(r, 32).bits == 0);
      CHECK(q.scale(r, 0).bits != 0);
      for (std::uint32_t c = 32; c < 64; ++c) CHECK(q.described(r, c) == 0.0);
    }
  }
}

TEST_CASE("quantize: tiny and huge groups keep their error relative until f16 ends") {
  for (format type : formats) {
    for (int power = -150; power <= 15; ++power) {
      // The largest weight of every group is about 2^power.
      std::vector<float> weights = numbers(0, 16 * 64, 11);
      for (float& v : weights) v = std::ldexp(std::clamp(v / 0.06f, -1.0f, 1.0f), power);
      const quantized q(type, weights, 16, 64);
      REQUIRE(q.fine);
      double largest_error = 0;
      for (std::uint32_t r = 0; r < 16; ++r) {
        for (std::uint32_t c = 0; c < 64; ++c) {
          const double got = q.described(r, c);
          REQUIRE(std::isfinite(got));
          REQUIRE(got == static_cast<double>(q.at(r, c)));
          largest_error = std::max(largest_error, std::abs(got - static_cast<double>(weights[r * 64 + c])));
        }
      }
      // Half of the widest gap between codes, and a little for a clipped end.
      const double gap = type == format::q8 ? 0.006 : 0.2;
      CHECK(largest_error <= std::ldexp(gap, power) + (type == format::q8 ? 0x1p-24 : 0x1p-20));
      if (power > -16) CHECK(relative_error(q, weights) < (type == format::q8 ? 0.006 : 0.075));
    }
  }
}

TEST_CASE("quantize: a power of two in the weights is one in the scales and changes nothing else") {
  for (format type : formats) {
    const std::vector<float> weights = numbers(2, 16 * 256, 23);
    std::vector<float> larger = weights;
    for (float& v : larger) v *= 1024;
    const quantized a(type, weights, 16, 256), b(type, larger, 16, 256);
    CHECK(a.codes == b.codes);
    for (std::uint32_t r = 0; r < 16; ++r) {
      for (std::uint32_t c = 0; c < 256; c += 32) CHECK(b.scale(r, c).bits - a.scale(r, c).bits == 10 << 10);
    }
  }
}

TEST_CASE("quantize: NaN, infinity and weights beyond 32768 are refused wherever they stand, 32768 is not") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float bad[] = {infinity,
                       -infinity,
                       std::numeric_limits<float>::quiet_NaN(),
                       -std::nanf("1"),
                       std::nextafter(32768.0f, infinity),
                       -65504.0f,
                       std::numeric_limits<float>::max()};
  std::vector<std::byte> codes(128), scales(128);
  for (format type : formats) {
    const auto row = type == format::q8 ? ocellus::quantize_row_q8 : ocellus::quantize_row_q4;
    for (std::uint32_t place : {0u, 31u, 32u, 15u * 70 + 69}) {
      std::vector<float> weights = numbers(0, 16 * 70, 2);
      for (float v : bad) {
        weights[place] = v;
        CHECK_FALSE(quantized(type, weights, 16, 70).fine);
        if (place < 70) CHECK_FALSE(row(weights.data(), 70, codes.data(), scales.data()));
      }
      for (float v : {32768.0f, -32768.0f}) {
        weights[place] = v;
        const quantized q(type, weights, 16, 70);
        CHECK(q.fine);
        CHECK(std::abs(q.described(place / 70, place % 70) - static_cast<double>(v)) < 32768 * 0.02);
      }
    }
  }
}

TEST_CASE("quantize: a group's codes depend on the group alone, in panels as in rows") {
  const std::uint32_t k = 1000, padded = 1024;
  const std::vector<float> weights = numbers(1, 5 * k, 9);
  for (format type : formats) {
    const quantized q(type, weights, 5, k), again(type, weights, 5, k);
    CHECK(q.codes == again.codes);
    CHECK(q.scales == again.scales);
    for (std::uint32_t r = 0; r < 5; ++r) {
      const std::size_t bytes = type == format::q8 ? padded : padded / 2;
      std::vector<std::byte> codes(bytes + 2, std::byte{0xa5}), scales(padded / 32 * 2 + 2, std::byte{0xa5});
      const auto quantize = type == format::q8 ? ocellus::quantize_row_q8 : ocellus::quantize_row_q4;
      REQUIRE(quantize(weights.data() + r * k, k, codes.data() + 1, scales.data() + 1));
      CHECK(codes.front() == std::byte{0xa5});
      CHECK(codes.back() == std::byte{0xa5});
      CHECK(scales.back() == std::byte{0xa5});
      std::vector<float> row(k);
      const auto dequantize = type == format::q8 ? ocellus::dequantize_row_q8 : ocellus::dequantize_row_q4;
      dequantize(codes.data() + 1, scales.data() + 1, k, row.data());
      std::size_t wrong = 0;
      for (std::uint32_t c = 0; c < k; ++c) {
        wrong += row[c] != q.at(r, c);
        f16 scale;
        std::memcpy(&scale, scales.data() + 1 + c / 32 * 2, 2);
        wrong += scale.bits != q.scale(r, c).bits;
        const auto byte = static_cast<unsigned>(codes[1 + (type == format::q8 ? c : c / 2)]);
        const float described = type == format::q8
                                    ? ocellus::q8_weight(static_cast<std::int8_t>(byte), scale)
                                    : ocellus::q4_weight(c % 2 == 0 ? byte % 16 : byte / 16, scale);
        wrong += row[c] != described;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("quantize: groups of one value, of one sign and of one weight among zeros") {
  for (format type : formats) {
    std::vector<float> weights(16 * 64);
    for (std::uint32_t r = 0; r < 16; ++r) {
      const float sign = r % 2 == 0 ? 1.0f : -1.0f;
      for (std::uint32_t c = 0; c < 32; ++c) {
        const auto i = static_cast<float>(c);
        weights[r * 64 + c] = sign * (r < 4    ? 0.37f
                                      : r < 8  ? 1 + i / 32
                                      : r < 12 ? i / 31
                                      : c == r ? 0.5f
                                               : 0.0f);
      }
      weights[r * 64 + 40] = sign * 3;
    }
    const quantized q(type, weights, 16, 64);
    REQUIRE(q.fine);
    for (std::uint32_t r = 0; r < 16; ++r) {
      for (std::uint32_t c = 0; c < 64; ++c) {
        const double w = static_cast<double>(weights[r * 64 + c]);
        const double most = c >= 32 ? 3 : r < 4 ? 0.37 : r < 8 ? 2 : 1;
        CHECK(std::abs(q.described(r, c) - w) < (type == format::q8 ? 0.005 : 0.12) * most);
      }
    }
  }
}
