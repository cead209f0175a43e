// Packing of weight matrices. Plain C++: it runs at conversion, not at inference.
#ifndef OCELLUS_KERNELS_PACKED_IPP
#define OCELLUS_KERNELS_PACKED_IPP

#include <cstring>

#include "ocellus/kernels/packed.hpp"

namespace ocellus::inline OCELLUS_ABI {

std::string_view name_of(weight_format format) noexcept {
  switch (format) {
    case weight_format::f32:
      return "f32";
    case weight_format::f16:
      return "f16";
    case weight_format::bf16:
      return "bf16";
  }
  return "?";
}

bool parse_weight_format(std::string_view name, weight_format& format) noexcept {
  for (weight_format f : {weight_format::f32, weight_format::f16, weight_format::bf16}) {
    if (name == name_of(f)) return format = f, true;
  }
  return false;
}

dtype dtype_of_format(weight_format format) noexcept {
  switch (format) {
    case weight_format::f16:
      return dtype::f16;
    case weight_format::bf16:
      return dtype::bf16;
    case weight_format::f32:
      break;
  }
  return dtype::f32;
}

namespace detail {

/// Columns that one line holds of each of its 16 rows.
[[nodiscard]] inline std::uint32_t columns_per_line(weight_format format) noexcept {
  return format == weight_format::f32 ? 1 : 2;
}

}  // namespace detail

shape packed_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept {
  const std::uint64_t panels = round_up<std::uint64_t>(n, panel_rows) / panel_rows;
  const std::uint64_t columns = round_up<std::uint64_t>(k, column_pad);
  const std::uint32_t together = detail::columns_per_line(format);
  if (together == 1) return {panels, columns, panel_rows};
  return {panels, columns / together, panel_rows, together};
}

checked panel_bytes(weight_format format, std::uint32_t k) noexcept {
  return checked(k).align_up(column_pad) * (line_bytes / detail::columns_per_line(format));
}

checked packed_bytes(weight_format format, std::uint32_t n, std::uint32_t k) noexcept {
  return panel_bytes(format, k) * (round_up<std::uint64_t>(n, panel_rows) / panel_rows);
}

void pack_panel(weight_format format, const float* rows, std::size_t stride, std::uint32_t count,
                std::uint32_t k, std::byte* panel) noexcept {
  const std::uint32_t together = detail::columns_per_line(format);
  const std::uint32_t columns = round_up(k, column_pad);
  for (std::uint32_t first = 0; first < columns; first += together) {
    for (std::uint32_t row = 0; row < panel_rows; ++row) {
      for (std::uint32_t column = first; column < first + together; ++column) {
        const float value = row < count && column < k ? rows[row * stride + column] : 0.0f;
        switch (format) {
          case weight_format::f32:
            std::memcpy(panel, &value, sizeof(float));
            panel += sizeof(float);
            break;
          case weight_format::f16: {
            const f16 rounded = to_f16(value);
            std::memcpy(panel, &rounded, sizeof(f16));
            panel += sizeof(f16);
            break;
          }
          case weight_format::bf16: {
            const bf16 rounded = to_bf16(value);
            std::memcpy(panel, &rounded, sizeof(bf16));
            panel += sizeof(bf16);
            break;
          }
        }
      }
    }
  }
}

float packed_at(weight_format format, const std::byte* packed, std::uint32_t k, std::uint32_t row,
                std::uint32_t column) noexcept {
  const std::uint32_t together = detail::columns_per_line(format);
  const std::byte* panel = packed + row / panel_rows * panel_bytes(format, k).value();
  const std::size_t element = std::size_t{column / together} * panel_rows * together +
                              row % panel_rows * together + column % together;
  switch (format) {
    case weight_format::f16: {
      f16 v;
      std::memcpy(&v, panel + element * sizeof v, sizeof v);
      return to_f32(v);
    }
    case weight_format::bf16: {
      bf16 v;
      std::memcpy(&v, panel + element * sizeof v, sizeof v);
      return to_f32(v);
    }
    case weight_format::f32:
      break;
  }
  float v;
  std::memcpy(&v, panel + element * sizeof v, sizeof v);
  return v;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_PACKED_IPP
