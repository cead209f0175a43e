// Packed matrices: how weights are stored in a model file and computed on, in place.
//
// A weight W [n, k] (n outputs, k inputs) is padded with zeros to N = round_up(n, 16) rows and K = round_up(k, 64)
// columns and stored as N/16 panels of 16 rows. A panel is a sequence of 64-byte lines along K; a line holds, for each
// of its 16 rows, the next 64/16/sizeof(element) columns:
//
//   f32        [N/16][K  ][16]      one column a line
//   f16, bf16  [N/16][K/2][16][2]   two columns a line, the pairs that dot-product instructions and tiles take
//
// So kernels have no tails, a line is a register or a cache line, and one panel is a contiguous stream.
#ifndef OCELLUS_KERNELS_PACKED_HPP
#define OCELLUS_KERNELS_PACKED_HPP

#include "ocellus/checked.hpp"
#include "ocellus/tensor.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// How the elements of a weight matrix are stored.
enum class weight_format : std::uint8_t { f32, f16, bf16 };

/// "f32", "f16", "bf16": the names of --format and of the model file.
[[nodiscard]] std::string_view name_of(weight_format format) noexcept;
/// The format of that name; false if there is none.
[[nodiscard]] bool parse_weight_format(std::string_view name, weight_format& format) noexcept;
/// The element type of a format.
[[nodiscard]] dtype dtype_of_format(weight_format format) noexcept;

inline constexpr std::uint32_t panel_rows = 16;  ///< rows of a panel
inline constexpr std::uint32_t column_pad =
    64;  ///< columns, and the stride of activation rows, are padded to this
inline constexpr std::size_t line_bytes = 64;  ///< a panel is a sequence of lines of so many bytes

/// The shape that a packed [n, k] has in a file, as written above.
[[nodiscard]] shape packed_shape(weight_format format, std::uint32_t n, std::uint32_t k) noexcept;
/// Bytes of one panel of a matrix with k columns.
[[nodiscard]] checked panel_bytes(weight_format format, std::uint32_t k) noexcept;
/// Bytes of a packed [n, k].
[[nodiscard]] checked packed_bytes(weight_format format, std::uint32_t n, std::uint32_t k) noexcept;

/// Packs up to 16 rows into one panel. Values are rounded to nearest even; missing rows and columns become 0.
/// rows: [count, k] f32, row i at rows + i * stride. panel: panel_bytes(format, k) bytes, any alignment.
void pack_panel(weight_format format, const float* rows, std::size_t stride, std::uint32_t count,
                std::uint32_t k, std::byte* panel) noexcept;

/// Element (row, column) of a packed matrix, widened to f32: for tests and for looking at files.
[[nodiscard]] float packed_at(weight_format format, const std::byte* packed, std::uint32_t k,
                              std::uint32_t row, std::uint32_t column) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_PACKED_HPP
