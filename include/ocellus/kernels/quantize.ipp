// Quantized matrices: from rows of f32 to codes and scales in the layouts of quantize.hpp, and back.
#ifndef OCELLUS_KERNELS_QUANTIZE_IPP
#define OCELLUS_KERNELS_QUANTIZE_IPP

#include <algorithm>
#include <cstring>

#include "ocellus/kernels/quantize.hpp"
#include "ocellus/kernels/quantize_search.ipp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

using quant_function = bool (*)(quant_block&, quant_codes&, f16*);

// The search is plain C++ that compilers make vectors of. Where they may only assume the first x86-64, it is compiled for
// AVX2 as well: in a bit more than half the time to the same bits, as AVX2 does not bring fused multiply-add along.
#if defined(__GNUC__) && defined(__x86_64__) && !defined(__AVX2__) && !defined(OCELLUS_STATIC_DISPATCH)
[[gnu::target("avx2"), gnu::flatten]] inline bool quant_block_q8_avx2(quant_block& b, quant_codes& codes,
                                                                      f16* scales) noexcept {
  return quant_block_q8(b, codes, scales);
}
[[gnu::target("avx2"), gnu::flatten]] inline bool quant_block_q4_avx2(quant_block& b, quant_codes& codes,
                                                                      f16* scales) noexcept {
  return quant_block_q4(b, codes, scales);
}
[[nodiscard]] inline quant_function quant_function_of(weight_format format) noexcept {
  const bool avx2 = __builtin_cpu_supports("avx2") != 0;
  if (format == weight_format::q8) return avx2 ? quant_block_q8_avx2 : quant_block_q8;
  return avx2 ? quant_block_q4_avx2 : quant_block_q4;
}
#else
[[nodiscard]] inline quant_function quant_function_of(weight_format format) noexcept {
  return format == weight_format::q8 ? quant_block_q8 : quant_block_q4;
}
#endif

/// Cuts 16 rows into blocks, a lane a row, and gives each block's codes and scales to `store`.
/// store(first column, codes, scales)
template <class Store>
inline bool quant_rows(const float* rows, std::size_t stride, std::uint32_t count, std::uint32_t k,
                       weight_format format, const Store& store) noexcept {
  const quant_function quantize = quant_function_of(format);
  for (std::uint32_t first = 0; first < round_up(k, column_pad); first += quant_group) {
    quant_block b = {};
    for (std::uint32_t r = 0; r < count; ++r) {
      for (std::uint32_t c = 0; c < quant_group && first + c < k; ++c)
        b.x[c][r] = rows[r * stride + first + c];
    }
    quant_codes codes;
    f16 scales[quant_lanes];
    if (!quantize(b, codes, scales)) return false;
    store(first, codes, scales);
  }
  return true;
}

/// Cuts one row into blocks, a lane a group, and gives each group's codes and scale to `store`.
/// store(first column, codes, lane, scale)
template <class Store>
inline bool quant_groups(const float* row, std::uint32_t k, weight_format format,
                         const Store& store) noexcept {
  const quant_function quantize = quant_function_of(format);
  const std::uint32_t columns = round_up(k, column_pad);
  for (std::uint32_t first = 0; first < columns; first += quant_lanes * quant_group) {
    const std::uint32_t end = (std::min)(first + quant_lanes * quant_group, columns);
    quant_block b = {};
    for (std::uint32_t c = first; c < (std::min)(end, k); ++c) {
      b.x[c % quant_group][(c - first) / quant_group] = row[c];
    }
    quant_codes codes;
    f16 scales[quant_lanes];
    if (!quantize(b, codes, scales)) return false;
    for (std::uint32_t c = first; c < end; c += quant_group) {
      const std::uint32_t lane = (c - first) / quant_group;
      store(c, codes, lane, scales[lane]);
    }
  }
  return true;
}

inline f16 quant_load_scale(const std::byte* scales, std::size_t index) noexcept {
  f16 scale;
  std::memcpy(&scale, scales + index * sizeof scale, sizeof scale);
  return scale;
}

inline void quant_store_scale(std::byte* scales, std::size_t index, f16 scale) noexcept {
  std::memcpy(scales + index * sizeof scale, &scale, sizeof scale);
}

/// Where the scale of (row, column) stands in a packed matrix.
inline f16 quant_scale_at(const std::byte* scales, std::uint32_t k, std::uint32_t row,
                          std::uint32_t column) noexcept {
  const std::size_t groups = round_up<std::size_t>(k, column_pad) / quant_group;
  return quant_load_scale(scales,
                          (row / panel_rows * groups + column / quant_group) * panel_rows + row % panel_rows);
}

}  // namespace detail

bool quantize_panel_q8(const float* rows, std::size_t stride, std::uint32_t count, std::uint32_t k,
                       std::byte* panel, std::byte* scales) noexcept {
  return detail::quant_rows(
      rows, stride, count, k, weight_format::q8,
      [&](std::uint32_t first, const detail::quant_codes& codes, const f16* of_rows) {
        for (std::uint32_t r = 0; r < panel_rows; ++r) {
          for (std::uint32_t c = 0; c < quant_group; ++c) {
            panel[(first + c) / 4 * line_bytes + r * 4 + c % 4] = static_cast<std::byte>(codes[c][r]);
          }
          detail::quant_store_scale(scales, std::size_t{first / quant_group} * panel_rows + r, of_rows[r]);
        }
      });
}

bool quantize_panel_q4(const float* rows, std::size_t stride, std::uint32_t count, std::uint32_t k,
                       std::byte* panel, std::byte* scales) noexcept {
  return detail::quant_rows(rows, stride, count, k, weight_format::q4,
                            [&](std::uint32_t first, const detail::quant_codes& codes, const f16* of_rows) {
                              for (std::uint32_t r = 0; r < panel_rows; ++r) {
                                for (std::uint32_t c = 0; c < quant_group;
                                     c += c % 4 == 3 ? 5u : 1u) {  // the columns in low halves
                                  panel[(first + c) / 8 * line_bytes + r * 4 + c % 4] =
                                      static_cast<std::byte>(codes[c][r] | codes[c + 4][r] << 4);
                                }
                                detail::quant_store_scale(
                                    scales, std::size_t{first / quant_group} * panel_rows + r, of_rows[r]);
                              }
                            });
}

bool quantize_row_q8(const float* row, std::uint32_t k, std::byte* codes, std::byte* scales) noexcept {
  return detail::quant_groups(
      row, k, weight_format::q8,
      [&](std::uint32_t first, const detail::quant_codes& block, std::uint32_t lane, f16 scale) {
        for (std::uint32_t c = 0; c < quant_group; ++c) {
          codes[first + c] = static_cast<std::byte>(block[c][lane]);
        }
        detail::quant_store_scale(scales, first / quant_group, scale);
      });
}

bool quantize_row_q4(const float* row, std::uint32_t k, std::byte* codes, std::byte* scales) noexcept {
  return detail::quant_groups(
      row, k, weight_format::q4,
      [&](std::uint32_t first, const detail::quant_codes& block, std::uint32_t lane, f16 scale) {
        for (std::uint32_t c = 0; c < quant_group; c += 2) {
          codes[(first + c) / 2] = static_cast<std::byte>(block[c][lane] | block[c + 1][lane] << 4);
        }
        detail::quant_store_scale(scales, first / quant_group, scale);
      });
}

float q8_at(const std::byte* packed, const std::byte* scales, std::uint32_t k, std::uint32_t row,
            std::uint32_t column) noexcept {
  const std::byte* panel = packed + row / panel_rows * panel_bytes(weight_format::q8, k).value();
  const std::byte code = panel[column / 4 * line_bytes + row % panel_rows * 4 + column % 4];
  return q8_weight(static_cast<std::int8_t>(code), detail::quant_scale_at(scales, k, row, column));
}

float q4_at(const std::byte* packed, const std::byte* scales, std::uint32_t k, std::uint32_t row,
            std::uint32_t column) noexcept {
  const std::byte* panel = packed + row / panel_rows * panel_bytes(weight_format::q4, k).value();
  const auto pair =
      static_cast<std::uint32_t>(panel[column / 8 * line_bytes + row % panel_rows * 4 + column % 4]);
  return q4_weight(column / 4 % 2 == 0 ? pair & 15 : pair >> 4,
                   detail::quant_scale_at(scales, k, row, column));
}

void dequantize_row_q8(const std::byte* codes, const std::byte* scales, std::uint32_t k,
                       float* row) noexcept {
  for (std::uint32_t c = 0; c < k; ++c) {
    row[c] = q8_weight(static_cast<std::int8_t>(codes[c]), detail::quant_load_scale(scales, c / quant_group));
  }
}

void dequantize_row_q4(const std::byte* codes, const std::byte* scales, std::uint32_t k,
                       float* row) noexcept {
  for (std::uint32_t c = 0; c < k; ++c) {
    const auto pair = static_cast<std::uint32_t>(codes[c / 2]);
    row[c] = q4_weight(c % 2 == 0 ? pair & 15 : pair >> 4, detail::quant_load_scale(scales, c / quant_group));
  }
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_QUANTIZE_IPP
