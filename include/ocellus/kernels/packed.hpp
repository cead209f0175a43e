// Packed matrices: how weights are stored in a model file and computed on, in place.
//
// A weight W [n, k] (n outputs, k inputs) is padded with zeros to N = round_up(n, 16) rows and K = round_up(k, 64)
// columns and stored as N/16 panels of 16 rows. A panel is a sequence of 64-byte lines along K; a line holds, for each
// of its 16 rows, the next columns in 4 bytes:
//
//   f32        [N/16][K  ][16]      one column a line
//   f16, bf16  [N/16][K/2][16][2]   two columns a line, the pairs that dot-product instructions and tiles take
//   q8         [N/16][K/4][16][4]   four columns a line, int8
//   q4         [N/16][K/8][16][4]   eight columns a line: four in the low, the next four in the high halves of bytes
//
// So kernels have no tails, a line is a register or a cache line, and one panel is a contiguous stream. What the codes of
// q8 and q4 mean stands in quantize.hpp; each 32 columns of a row share a scale, f16, and the scales are an array of
// their own: [N/16][K/32][16].
//
// A table is a matrix whose rows are gathered (the token embedding). It is row-major, rows padded to K, its elements
//
//   f32, f16, bf16  [n][K]
//   q8              [n][K]     int8
//   q4              [n][K/2]   column 2i in the low, column 2i + 1 in the high half of byte i
//   scales          [n][K/32]  f16
#ifndef OCELLUS_KERNELS_PACKED_HPP
#define OCELLUS_KERNELS_PACKED_HPP

#include "ocellus/checked.hpp"
#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// How the elements of a weight matrix are stored.
enum class weight_format : std::uint8_t { f32, f16, bf16, q8, q4 };

/// All of them.
inline constexpr weight_format weight_formats[] = {weight_format::f32, weight_format::f16,
                                                   weight_format::bf16, weight_format::q8, weight_format::q4};

/// "f32", "f16", "bf16", "q8", "q4": the names of --format and of the model file.
[[nodiscard]] std::string_view name_of(weight_format format) noexcept;
/// The format of that name; false if there is none.
[[nodiscard]] bool parse_weight_format(std::string_view name, weight_format& format) noexcept;
/// The element type of a format: I8 for q8, U8 for q4.
[[nodiscard]] dtype dtype_of_format(weight_format format) noexcept;
/// Has the format scales?
[[nodiscard]] constexpr bool is_quantized(weight_format format) noexcept {
  return format == weight_format::q8 || format == weight_format::q4;
}

inline constexpr std::uint32_t panel_rows = 16;  ///< rows of a panel
inline constexpr std::uint32_t column_pad =
    64;  ///< columns, and the stride of activation rows, are padded to this
inline constexpr std::size_t line_bytes = 64;     ///< a panel is a sequence of lines of so many bytes
inline constexpr std::uint32_t quant_group = 32;  ///< columns that share a scale in q8 and q4

/// The shape that a packed [n, k] has in a file, as written above, and that of its scales.
[[nodiscard]] shape packed_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept;
[[nodiscard]] shape packed_scale_shape(std::uint32_t n, std::uint32_t k) noexcept;
/// Bytes of one panel of a matrix with k columns, and of the scales of one panel.
[[nodiscard]] checked panel_bytes(weight_format format, std::uint32_t k) noexcept;
[[nodiscard]] checked panel_scale_bytes(std::uint32_t k) noexcept;
/// Bytes of a packed [n, k] without scales.
[[nodiscard]] checked packed_bytes(weight_format format, std::uint32_t n, std::uint32_t k) noexcept;

/// Packs up to 16 rows into one panel. Values are rounded to nearest even, or quantized; missing rows and columns become
/// 0. False, with the panel half written, if a weight is not a number, infinite or becomes so by rounding, or is beyond
/// quant_largest in q8 and q4.
/// rows: [count, k] f32, row i at rows + i * stride. panel: panel_bytes(format, k) bytes; scales: panel_scale_bytes(k)
/// bytes, for q8 and q4 only, else unused; any alignment.
[[nodiscard]] bool pack_panel(weight_format format, const float* rows, std::size_t stride,
                              std::uint32_t count, std::uint32_t k, std::byte* panel,
                              std::byte* scales) noexcept;

/// Element (row, column) of a packed matrix, widened to f32: for the reference, for tests and for looking at files.
[[nodiscard]] float packed_at(weight_format format, const std::byte* packed, const std::byte* scales,
                              std::uint32_t k, std::uint32_t row, std::uint32_t column) noexcept;

/// The shape that a table [n, k] has in a file, and that of its scales.
[[nodiscard]] shape table_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept;
[[nodiscard]] shape table_scale_shape(std::uint32_t n, std::uint32_t k) noexcept;
/// Bytes of one row of a table with k columns, and of its scales.
[[nodiscard]] checked table_row_bytes(weight_format format, std::uint32_t k) noexcept;
[[nodiscard]] checked table_row_scale_bytes(std::uint32_t k) noexcept;

/// Packs one row of a table; as pack_panel. row: [k]; to: table_row_bytes(format, k), scales: table_row_scale_bytes(k).
[[nodiscard]] bool pack_row(weight_format format, const float* row, std::uint32_t k, std::byte* to,
                            std::byte* scales) noexcept;
/// One row of a table, widened. row: [k]
void unpack_row(weight_format format, const std::byte* from, const std::byte* scales, std::uint32_t k,
                float* row) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_PACKED_HPP
