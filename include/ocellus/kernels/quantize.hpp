// q8 and q4: weight matrices in 8.5 and 4.5 bits a weight, and the search for the scales that lose the least.
//
// Both cut a row of a weight W [n, k] into groups of 32 columns. A group has one f16 scale and every weight an integer
// code:
//
//   weight = scale * code / 64
//
//   q8   code = the stored int8, -127 .. 127; the scale is not negative
//   q4   code = q4_levels[the stored 4 bits] + the lowest 4 bits of the scale's f16 pattern, within -60 .. 60
//
// The levels of q4 are no even steps but lie where weights do, as a normal distribution has more of them near 0. Its
// scale says two things at once: its value, all 16 bits of it, is the scale, and its lowest 4 bits move all levels of
// the group up by 0 to 15. With the sign of the scale, which mirrors them, that lets the levels follow a group whose
// weights are not centred, for no bits of its own. So q4 is q8 with its codes written shorter: a kernel may add the
// offset to the codes, or add offset * (sum of the group's inputs) to the product; 64 + code is at most 124 in either
// format's q4 codes, so products with int8 inputs can be summed in pairs in 16 bits.
//
// Dividing by 64 keeps scales near the largest weight of their group, far from where f16 loses precision.
//
// Where codes and scales of a packed matrix or a table stand is written in packed.hpp. Rows beyond n and groups beyond k
// have scale 0. In q4 the columns from k to the end of its group are not exactly 0; what they are multiplied with is.
#ifndef OCELLUS_KERNELS_QUANTIZE_HPP
#define OCELLUS_KERNELS_QUANTIZE_HPP

#include "ocellus/checked.hpp"
#include "ocellus/dtype.hpp"
#include "ocellus/kernels/packed.hpp"

namespace ocellus::inline OCELLUS_ABI {

inline constexpr float quant_unit = 0x1p-6f;  ///< weight = scale * code * quant_unit
/// Weights beyond this are refused: the scale of their group might not fit in an f16.
inline constexpr float quant_largest = 32768.0f;
inline constexpr std::int32_t q8_largest_code = 127;
inline constexpr std::int32_t q4_largest_offset = 15;

/// What the 4 bits of q4 stand for. Found by descent on integers for the least error over groups of normal, Laplace and
/// Student t (4 degrees) numbers, searched as below, with the three weighed 2 : 1 : 1. Level i is minus level 15 - i.
inline constexpr std::int8_t q4_levels[16] = {-45, -33, -26, -20, -15, -10, -6, -2,
                                              2,   6,   10,  15,  20,  26,  33, 45};

/// What a group's q4 levels are moved by: 0 .. 15.
[[nodiscard]] constexpr std::int32_t q4_offset(f16 scale) noexcept { return scale.bits & 15; }

/// The weight of a q8 code. Exact: no bit is lost in f32.
[[nodiscard]] constexpr float q8_weight(std::int8_t code, f16 scale) noexcept {
  return to_f32(scale) * static_cast<float>(code) * quant_unit;
}
/// The weight of 4 bits of q4. Exact: no bit is lost in f32.
[[nodiscard]] constexpr float q4_weight(std::uint32_t bits, f16 scale) noexcept {
  return to_f32(scale) * static_cast<float>(q4_levels[bits & 15] + q4_offset(scale)) * quant_unit;
}

// Quantization. The same search for every matrix: each group gets the scale (and in q4 the offset) with the least sum of
// squared errors among a fixed set of tries, and each weight the nearest code. It depends on the group alone. The same
// build gives the same bits; builds that fuse multiplications with additions may decide a near tie the other way.
// False, with the output half written, if a weight is NaN, infinite or beyond quant_largest.

/// Up to 16 rows into one panel. rows: [count, k], row i at rows + i * stride. panel, scales: as of pack_panel.
[[nodiscard]] bool quantize_panel_q8(const float* rows, std::size_t stride, std::uint32_t count,
                                     std::uint32_t k, std::byte* panel, std::byte* scales) noexcept;
[[nodiscard]] bool quantize_panel_q4(const float* rows, std::size_t stride, std::uint32_t count,
                                     std::uint32_t k, std::byte* panel, std::byte* scales) noexcept;

/// One row of a table. row: [k]. codes, scales: as of pack_row.
[[nodiscard]] bool quantize_row_q8(const float* row, std::uint32_t k, std::byte* codes,
                                   std::byte* scales) noexcept;
[[nodiscard]] bool quantize_row_q4(const float* row, std::uint32_t k, std::byte* codes,
                                   std::byte* scales) noexcept;

/// Element (row, column) of a packed matrix with k columns.
[[nodiscard]] float q8_at(const std::byte* packed, const std::byte* scales, std::uint32_t k,
                          std::uint32_t row, std::uint32_t column) noexcept;
[[nodiscard]] float q4_at(const std::byte* packed, const std::byte* scales, std::uint32_t k,
                          std::uint32_t row, std::uint32_t column) noexcept;

/// A row of a table. row: [k]
void dequantize_row_q8(const std::byte* codes, const std::byte* scales, std::uint32_t k, float* row) noexcept;
void dequantize_row_q4(const std::byte* codes, const std::byte* scales, std::uint32_t k, float* row) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_QUANTIZE_HPP
