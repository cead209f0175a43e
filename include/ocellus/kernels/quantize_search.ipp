// The search for the scales of q8 and q4 (see quantize.hpp), 16 groups at a time: inner loops run over the groups and
// have no branches, so that compilers make vectors of them. Conversion runs it over every weight of a model.
#ifndef OCELLUS_KERNELS_QUANTIZE_SEARCH_IPP
#define OCELLUS_KERNELS_QUANTIZE_SEARCH_IPP

#include <bit>

#include "ocellus/kernels/quantize.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Groups that are searched together, one in each lane of the arrays below.
inline constexpr std::uint32_t quant_lanes = 16;

/// The weights of 16 groups, column by column, and what the searches start from.
struct quant_block {
  float x[quant_group][quant_lanes];
  float highest[quant_lanes];
  float lowest[quant_lanes];
  float sum[quant_lanes];
};

/// The best that a search has found. scale is |f16 scale| / 64, so that weight = scale * code; offset has the sign of
/// the f16 scale instead.
struct quant_best {
  float error[quant_lanes];  // sum of squares
  float scale[quant_lanes];
  float offset[quant_lanes];
};

/// What a q4 try leaves for the least-squares step: sums over the group of code, code^2 and weight * code.
struct q4_sums {
  float code[quant_lanes];
  float code_squared[quant_lanes];
  float product[quant_lanes];
};

/// The codes of a block as they are stored: int8, or 4 bits in the low half.
using quant_codes = std::uint8_t[quant_group][quant_lanes];

/// Rounds to the nearest integer, halves away from 0. |v| < 2^31.
inline std::int32_t quant_round(float v) noexcept {
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(v) & 0x80000000u;
  return static_cast<std::int32_t>(v + std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(0.5f)));
}

inline float quant_abs(float v) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & 0x7fffffffu);
}

/// The scale / 64 nearest to `wanted` >= 0 whose f16 pattern is not negative, is finite and ends in `low_bits` bits
/// equal to `low`. Written without branches, f16 arithmetic done in f32.
inline float quant_scale(float wanted, std::uint32_t low_bits, std::int32_t low) noexcept {
  const float scale = wanted * 64.0f;
  // Normal in f16: the pattern is that of the f32, less 13 bits of the mantissa.
  const std::uint32_t lattice = 1u << (13 + low_bits), fixed = static_cast<std::uint32_t>(low) << 13;
  std::uint32_t pattern = std::bit_cast<std::uint32_t>(scale) - fixed + lattice / 2;
  pattern = (pattern & ~(lattice - 1)) + fixed;
  const std::uint32_t most = ((0x477fe000u) & ~(lattice - 1)) + fixed;  // f16's 65504 with these low bits
  pattern = pattern < most ? pattern : most;
  const float normal = std::bit_cast<float>(pattern);
  // Subnormal: multiples of 2^-24.
  const float step = static_cast<float>(1u << low_bits);
  const float bottom = static_cast<float>(low);
  const float steps = (scale * 0x1p24f - bottom) / step;
  const float limited = steps < 0 ? 0.0f : steps > 2048.0f ? 2048.0f : steps;
  const float subnormal = (static_cast<float>(quant_round(limited)) * step + bottom) * 0x1p-24f;
  return (scale < 0x1p-14f ? subnormal : normal) * quant_unit;
}

/// Highest (or 0), lowest (or 0) and sum of each lane; false if a weight is NaN, infinite or too large.
inline bool quant_prepare(quant_block& b) noexcept {
  for (std::uint32_t l = 0; l < quant_lanes; ++l) b.highest[l] = b.lowest[l] = b.sum[l] = 0;
  bool fine = true;
  for (const auto& column : b.x) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      const float v = column[l];
      fine &= (std::bit_cast<std::uint32_t>(v) & 0x7fffffffu) <= std::bit_cast<std::uint32_t>(quant_largest);
      b.highest[l] = v > b.highest[l] ? v : b.highest[l];
      b.lowest[l] = v < b.lowest[l] ? v : b.lowest[l];
      b.sum[l] += v;
    }
  }
  return fine;
}

/// Scale 0: every weight becomes 0. What every try has to beat.
inline void quant_start(const quant_block& b, quant_best& best) noexcept {
  best = {};
  for (const auto& column : b.x) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) best.error[l] += column[l] * column[l];
  }
}

inline void quant_keep(const float* error, const float* scale, const float* offset,
                       quant_best& best) noexcept {
  for (std::uint32_t l = 0; l < quant_lanes; ++l) {
    const bool better = error[l] < best.error[l];
    best.error[l] = better ? error[l] : best.error[l];
    best.scale[l] = better ? scale[l] : best.scale[l];
    best.offset[l] = better ? offset[l] : best.offset[l];
  }
}

/// 1 / scale, and 0 for 0.
inline void quant_invert(const float* scale, float* inverse) noexcept {
  for (std::uint32_t l = 0; l < quant_lanes; ++l) {
    const float safe = scale[l] > 0 ? scale[l] : 1.0f;
    inverse[l] = scale[l] > 0 ? 1.0f / safe : 0.0f;
  }
}

/// The q8 code of weight / scale.
inline std::int32_t q8_code(float v) noexcept {
  const std::int32_t code = quant_round(v);
  return code > q8_largest_code ? q8_largest_code : code < -q8_largest_code ? -q8_largest_code : code;
}

inline void q8_try(const quant_block& b, const float* scale, quant_best& best) noexcept {
  float inverse[quant_lanes], error[quant_lanes] = {}, none[quant_lanes] = {};
  quant_invert(scale, inverse);
  for (const auto& column : b.x) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      const float e = column[l] - scale[l] * static_cast<float>(q8_code(column[l] * inverse[l]));
      error[l] += e * e;
    }
  }
  quant_keep(error, scale, none, best);
}

/// Tries the scales that put the largest weight at code 118 to 128.5: any of them may fall luckily on the other weights.
inline void q8_search(const quant_block& b, quant_best& best) noexcept {
  quant_start(b, best);
  float scale[quant_lanes];
  for (int half_codes = 236; half_codes <= 257; ++half_codes) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      const float largest = b.highest[l] > -b.lowest[l] ? b.highest[l] : -b.lowest[l];
      scale[l] = quant_scale(largest * (2.0f / static_cast<float>(half_codes)), 0, 0);
    }
    q8_try(b, scale, best);
  }
}

inline void q8_encode(const quant_block& b, const quant_best& best, quant_codes& codes,
                      f16* scales) noexcept {
  float inverse[quant_lanes];
  quant_invert(best.scale, inverse);
  for (std::uint32_t c = 0; c < quant_group; ++c) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      codes[c][l] = static_cast<std::uint8_t>(q8_code(b.x[c][l] * inverse[l]));
    }
  }
  for (std::uint32_t l = 0; l < quant_lanes; ++l) scales[l] = to_f16(best.scale[l] * 64.0f);
}

/// `step` if |v| is above the midpoint, given |v| by its pattern: integers compare as the positive floats do, and
/// compilers turn this into vector instructions where they leave branches for floats.
inline std::int32_t q4_step(std::int32_t pattern, float midpoint, std::int32_t step) noexcept {
  return -static_cast<std::int32_t>(pattern > std::bit_cast<std::int32_t>(midpoint)) & step;
}

/// Sums step(i) over the midpoints between positive levels i and i + 1 that |v| is above.
template <class Step>
inline std::int32_t q4_climb(float v, const Step& step) noexcept {
  const std::int32_t pattern = std::bit_cast<std::int32_t>(v) & 0x7fffffff;
  const auto over = [&](int i) {
    return q4_step(pattern, static_cast<float>(q4_levels[i] + q4_levels[i + 1]) / 2, step(i));
  };
  return over(8) + over(9) + over(10) + over(11) + over(12) + over(13) + over(14);
}

/// The level nearest to v.
inline float q4_level(float v) noexcept {
  const std::int32_t level =
      q4_levels[8] + q4_climb(v, [](int i) { return q4_levels[i + 1] - q4_levels[i]; });
  const std::int32_t sign = std::bit_cast<std::int32_t>(v) >> 31;
  return static_cast<float>((level ^ sign) - sign);
}

inline void q4_try(const quant_block& b, const float* scale, const float* offset, q4_sums& sums,
                   quant_best& best) noexcept {
  float inverse[quant_lanes], error[quant_lanes] = {};
  quant_invert(scale, inverse);
  q4_sums s = {};
  for (const auto& column : b.x) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      const float x = column[l];
      const float code = q4_level(x * inverse[l] - offset[l]) + offset[l];
      const float e = x - scale[l] * code;
      error[l] += e * e;
      s.code[l] += code;
      s.code_squared[l] += code * code;
      s.product[l] += x * code;
    }
  }
  quant_keep(error, scale, offset, best);
  sums = s;
}

inline float q4_limit(float offset) noexcept {
  constexpr float most = q4_largest_offset;
  return offset > most ? most : offset < -most ? -most : offset;
}

/// The first try: levels centred `shift` off the middle of the group, and as wide as to reach its ends.
inline void q4_first(const quant_block& b, float shift, float* scale, float* offset) noexcept {
  constexpr float end = q4_levels[15];
  for (std::uint32_t l = 0; l < quant_lanes; ++l) {
    const float width = (b.highest[l] - b.lowest[l]) / (2 * end);
    const float centre = q4_limit((b.highest[l] + b.lowest[l]) / 2 / (width > 0 ? width : 1.0f));
    const float moved = q4_limit(static_cast<float>(quant_round(centre)) + shift);
    const float above = b.highest[l] / (end + moved), below = -b.lowest[l] / (end - moved);
    offset[l] = moved;
    scale[l] = quant_scale(above > below ? above : below, 4, static_cast<std::int32_t>(quant_abs(moved)));
  }
}

/// The next try: the line weight = slope * code + intercept that fits the codes of the last one best, its slope as the
/// scale and its intercept, in whole steps, as the move of the offset.
inline void q4_next(const quant_block& b, const q4_sums& sums, float* scale, float* offset) noexcept {
  constexpr float n = quant_group;
  for (std::uint32_t l = 0; l < quant_lanes; ++l) {
    const float mean = sums.code[l] / n;
    const float variance = sums.code_squared[l] - sums.code[l] * mean;
    const float covariance = sums.product[l] - b.sum[l] * mean;
    const float slope = variance > 0 ? covariance / (variance > 0 ? variance : 1.0f) : 0.0f;
    const bool sloped = slope > 0;
    const float intercept = b.sum[l] / n - slope * mean;
    const float wanted = intercept / (sloped ? slope : 1.0f);
    const float limited = wanted > 30.0f ? 30.0f : wanted < -30.0f ? -30.0f : wanted;
    const float whole = static_cast<float>(quant_round(limited));
    const float moved = q4_limit(offset[l] + (sloped ? whole : 0.0f));
    offset[l] = moved;
    scale[l] = quant_scale(slope > 0 ? slope : 0.0f, 4, static_cast<std::int32_t>(quant_abs(moved)));
  }
}

/// Eleven starts of three tries each. More tries find luckier groups, but slowly: twenty times as many, 2 % of the error.
inline void q4_search(const quant_block& b, quant_best& best) noexcept {
  quant_start(b, best);
  float scale[quant_lanes], offset[quant_lanes];
  q4_sums sums;
  for (int shift = -10; shift <= 10; shift += 2) {
    q4_first(b, static_cast<float>(shift), scale, offset);
    q4_try(b, scale, offset, sums, best);
    for (int more = 0; more < 2; ++more) {
      q4_next(b, sums, scale, offset);
      q4_try(b, scale, offset, sums, best);
    }
  }
}

inline void q4_encode(const quant_block& b, const quant_best& best, quant_codes& codes,
                      f16* scales) noexcept {
  float inverse[quant_lanes];
  std::uint8_t mirror[quant_lanes];
  quant_invert(best.scale, inverse);
  for (std::uint32_t l = 0; l < quant_lanes; ++l) {
    // A negative offset is a negative scale with every level mirrored.
    const bool negative = best.offset[l] < 0;
    mirror[l] = negative ? 15 : 0;
    scales[l] = to_f16(best.scale[l] * 64.0f);
    if (negative) scales[l].bits |= 0x8000u;
  }
  for (std::uint32_t c = 0; c < quant_group; ++c) {
    for (std::uint32_t l = 0; l < quant_lanes; ++l) {
      const float v = b.x[c][l] * inverse[l] - best.offset[l];
      const std::int32_t above = q4_climb(v, [](int) { return 1; });  // 0 .. 7
      const std::int32_t sign = std::bit_cast<std::int32_t>(v) >> 31;
      codes[c][l] = static_cast<std::uint8_t>((8 + ((above ^ sign) & 15)) & 15) ^ mirror[l];
    }
  }
}

inline bool quant_block_q8(quant_block& b, quant_codes& codes, f16* scales) noexcept {
  if (!quant_prepare(b)) return false;
  quant_best best;
  q8_search(b, best);
  q8_encode(b, best, codes, scales);
  return true;
}

inline bool quant_block_q4(quant_block& b, quant_codes& codes, f16* scales) noexcept {
  if (!quant_prepare(b)) return false;
  quant_best best;
  q4_search(b, best);
  q4_encode(b, best, codes, scales);
  return true;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_QUANTIZE_SEARCH_IPP
