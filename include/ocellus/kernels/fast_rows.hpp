// Activations of fast precision, as linear() keeps them while it multiplies.
//
// As int8, for products with q8 and q4 weights in fast precision. A row of f32 is cut into the same groups of
// 32 columns as the weights, each with a scale of its own, so that one large value coarsens no more than its neighbours:
//
//   x = scale * code, scale = max |x| / 127 over the group, code = round to nearest even (x / scale)
//
// A group that holds a NaN or an infinity gets a scale that is none either, so the row's outputs are NaN.
#ifndef OCELLUS_KERNELS_FAST_ROWS_HPP
#define OCELLUS_KERNELS_FAST_ROWS_HPP

#include "ocellus/kernels/packed.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr float int8_largest = 127.0f;
/// Groups whose values are all below this count as 0: the reciprocal of their scale might be infinite.
inline constexpr float int8_smallest = 1e-30f;

/// Rows of codes, then of each group of them its scale, then the sum of its codes times what the kernel adds to the weights'
/// codes to make them unsigned, negative: where the sum of products starts.
struct int8_rows {
  std::byte* base;
  std::size_t k;  ///< padded columns, a multiple of 64

  /// Bytes of a row; rows of 4 KiB would all meet in the same sets of the first-level cache.
  [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t k) noexcept {
    return k + k / quant_group * (sizeof(float) + sizeof(std::int32_t)) + 64;
  }
  [[nodiscard]] std::int8_t* codes(std::size_t row) const noexcept {
    return reinterpret_cast<std::int8_t*>(base + row * row_bytes(k));
  }
  [[nodiscard]] float* scales(std::size_t row) const noexcept {
    return reinterpret_cast<float*>(base + row * row_bytes(k) + k);
  }
  [[nodiscard]] std::int32_t* starts(std::size_t row) const noexcept {
    return reinterpret_cast<std::int32_t*>(base + row * row_bytes(k) + k + k / quant_group * sizeof(float));
  }
  /// The rows from `first` on.
  [[nodiscard]] int8_rows from(std::size_t first) const noexcept { return {base + first * row_bytes(k), k}; }
};

/// Rows of bf16, rounded to nearest even: for products with weights of 16 and 32 bits.
struct bf16_rows {
  std::byte* base;
  std::size_t k;  ///< padded columns, a multiple of 64

  [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t k) noexcept { return 2 * k + 64; }
  [[nodiscard]] std::uint16_t* values(std::size_t row) const noexcept {
    return reinterpret_cast<std::uint16_t*>(base + row * row_bytes(k));
  }
  /// The rows from `first` on.
  [[nodiscard]] bf16_rows from(std::size_t first) const noexcept { return {base + first * row_bytes(k), k}; }
};

/// Neighbouring panels of a weight, which a task multiplies its rows by.
struct dot_panels {
  weight_format format;
  const std::byte* codes;
  const std::byte* scales;  ///< of q8 and q4, a panel's k bytes on
  std::size_t size;         ///< bytes from one panel to the next
  std::size_t count;
  const std::byte*
      next_codes;  ///< panels that the same worker will probably be given next: they may be fetched
  const std::byte* next_scales;
};

/// What a call of linear() may keep for each value of its padded input: int8 rows or bf16, with what is between rows.
inline constexpr std::uint64_t fast_scratch_bytes_per_value = 3;
static_assert(int8_rows::row_bytes(column_pad) <= column_pad * fast_scratch_bytes_per_value);
static_assert(bf16_rows::row_bytes(column_pad) <= column_pad * fast_scratch_bytes_per_value);

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_FAST_ROWS_HPP
