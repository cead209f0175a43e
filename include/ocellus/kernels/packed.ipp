// Packing of weight matrices and tables. Plain C++: it runs at conversion, not at inference.
#ifndef OCELLUS_KERNELS_PACKED_IPP
#define OCELLUS_KERNELS_PACKED_IPP

#include <bit>
#include <cstring>
#include <limits>

#include "ocellus/kernels/packed.hpp"
#include "ocellus/kernels/quantize.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(weight_format format) noexcept {
  constexpr std::string_view names[] = {"f32", "f16", "bf16", "q8", "q4"};
  return names[static_cast<std::size_t>(format)];
}

bool parse_weight_format(std::string_view name, weight_format& format) noexcept {
  for (weight_format f : weight_formats) {
    if (name == name_of(f)) return format = f, true;
  }
  return false;
}

dtype dtype_of_format(weight_format format) noexcept {
  constexpr dtype types[] = {dtype::f32, dtype::f16, dtype::bf16, dtype::i8, dtype::u8};
  return types[static_cast<std::size_t>(format)];
}

namespace detail {

/// Weights of f32, f16 and bf16 that are larger than this are, or round to, infinity.
[[nodiscard]] inline float largest_weight(weight_format format) noexcept {
  // The first values that round to infinity lie half a step above the largest ones.
  if (format == weight_format::f16) return 65519.996f;
  if (format == weight_format::bf16) return std::bit_cast<float>(0x7f7f7fffu);
  return (std::numeric_limits<float>::max)();
}

/// Columns that one line holds of each of its 16 rows.
[[nodiscard]] inline std::uint32_t columns_per_line(weight_format format) noexcept {
  constexpr std::uint8_t columns[] = {1, 2, 2, 4, 8};
  return columns[static_cast<std::size_t>(format)];
}

/// Can all values be packed? False for NaN.
[[nodiscard]] inline bool all_packable(weight_format format, const float* row, std::uint32_t k) noexcept {
  const float largest = largest_weight(format);
  bool fine = true;
  for (std::uint32_t c = 0; c < k; ++c) fine &= row[c] <= largest && row[c] >= -largest;
  return fine;
}

/// Writes a value as an element of f32, f16 or bf16 and returns where the next one goes.
inline std::byte* store_weight(weight_format format, float value, std::byte* to) noexcept {
  const auto store = [to](auto element) noexcept {
    std::memcpy(to, &element, sizeof element);
    return to + sizeof element;
  };
  if (format == weight_format::f16) return store(to_f16(value));
  if (format == weight_format::bf16) return store(to_bf16(value));
  return store(value);
}

}  // namespace detail

shape packed_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept {
  const std::uint64_t panels = round_up<std::uint64_t>(n, panel_rows) / panel_rows;
  const std::uint64_t lines = round_up<std::uint64_t>(k, column_pad) / detail::columns_per_line(format);
  if (format == weight_format::f32) return {panels, lines, panel_rows};
  const std::uint64_t elements = is_quantized(format) ? 4 : 2;
  return {panels, lines, panel_rows, elements};
}

shape packed_scale_shape(std::uint32_t n, std::uint32_t k) noexcept {
  return {round_up<std::uint64_t>(n, panel_rows) / panel_rows,
          round_up<std::uint64_t>(k, column_pad) / quant_group, panel_rows};
}

checked panel_bytes(weight_format format, std::uint32_t k) noexcept {
  return checked(k).align_up(column_pad) * (line_bytes / detail::columns_per_line(format));
}

checked panel_scale_bytes(std::uint32_t k) noexcept {
  static_assert(panel_rows * sizeof(f16) == quant_group, "a column of a panel has one byte of scale");
  return checked(k).align_up(column_pad);
}

checked packed_bytes(weight_format format, std::uint32_t n, std::uint32_t k) noexcept {
  return panel_bytes(format, k) * (round_up<std::uint64_t>(n, panel_rows) / panel_rows);
}

bool pack_panel(weight_format format, const float* rows, std::size_t stride, std::uint32_t count,
                std::uint32_t k, std::byte* panel, std::byte* scales) noexcept {
  if (format == weight_format::q8) return quantize_panel_q8(rows, stride, count, k, panel, scales);
  if (format == weight_format::q4) return quantize_panel_q4(rows, stride, count, k, panel, scales);
  for (std::uint32_t row = 0; row < count; ++row) {
    if (!detail::all_packable(format, rows + row * stride, k)) return false;
  }
  const std::uint32_t together = detail::columns_per_line(format);
  const std::uint32_t columns = round_up(k, column_pad);
  for (std::uint32_t first = 0; first < columns; first += together) {
    for (std::uint32_t row = 0; row < panel_rows; ++row) {
      for (std::uint32_t column = first; column < first + together; ++column) {
        const float value = row < count && column < k ? rows[row * stride + column] : 0.0f;
        panel = detail::store_weight(format, value, panel);
      }
    }
  }
  return true;
}

float packed_at(weight_format format, const std::byte* packed, const std::byte* scales, std::uint32_t k,
                std::uint32_t row, std::uint32_t column) noexcept {
  if (format == weight_format::q8) return q8_at(packed, scales, k, row, column);
  if (format == weight_format::q4) return q4_at(packed, scales, k, row, column);
  const std::uint32_t together = detail::columns_per_line(format);
  const std::byte* panel = packed + row / panel_rows * panel_bytes(format, k).value();
  const std::size_t element = std::size_t{column / together} * panel_rows * together +
                              row % panel_rows * together + column % together;
  return load_as_f32(dtype_of_format(format), panel, element);
}

shape table_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept {
  const std::uint64_t columns = round_up<std::uint64_t>(k, column_pad);
  return {n, format == weight_format::q4 ? columns / 2 : columns};
}

shape table_scale_shape(std::uint32_t n, std::uint32_t k) noexcept {
  return {n, round_up<std::uint64_t>(k, column_pad) / quant_group};
}

checked table_row_bytes(weight_format format, std::uint32_t k) noexcept {
  constexpr std::uint8_t half_bytes[] = {8, 4, 4, 2, 1};  // of an element
  return checked(round_up<std::uint64_t>(k, column_pad) / 2) * half_bytes[static_cast<std::size_t>(format)];
}

checked table_row_scale_bytes(std::uint32_t k) noexcept {
  return round_up<std::uint64_t>(k, column_pad) / quant_group * sizeof(f16);
}

bool pack_row(weight_format format, const float* row, std::uint32_t k, std::byte* to,
              std::byte* scales) noexcept {
  if (format == weight_format::q8) return quantize_row_q8(row, k, to, scales);
  if (format == weight_format::q4) return quantize_row_q4(row, k, to, scales);
  if (!detail::all_packable(format, row, k)) return false;
  for (std::uint32_t c = 0; c < round_up(k, column_pad); ++c) {
    to = detail::store_weight(format, c < k ? row[c] : 0.0f, to);
  }
  return true;
}

void unpack_row(weight_format format, const std::byte* from, const std::byte* scales, std::uint32_t k,
                float* row) noexcept {
  if (format == weight_format::q8) return dequantize_row_q8(from, scales, k, row);
  if (format == weight_format::q4) return dequantize_row_q4(from, scales, k, row);
  for (std::uint32_t c = 0; c < k; ++c) row[c] = load_as_f32(dtype_of_format(format), from, c);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_PACKED_IPP
