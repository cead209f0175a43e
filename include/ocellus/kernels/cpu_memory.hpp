// Memory of the CPU tables: a handle is the memory itself. Also how their entries find a row of a matrix, and the
// gathering of rows, which they share.
#ifndef OCELLUS_KERNELS_CPU_MEMORY_HPP
#define OCELLUS_KERNELS_CPU_MEMORY_HPP

#include "ocellus/kernels/kernels.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

buffer cpu_allocate(context& ctx, std::uint64_t bytes) noexcept;
void cpu_release(context& ctx, buffer& memory) noexcept;
buffer cpu_wrap(context& ctx, const void* memory, std::uint64_t bytes) noexcept;
void cpu_upload(context& ctx, const void* rows, const matrix& to) noexcept;
void cpu_download(context& ctx, const matrix& from, void* rows) noexcept;
void cpu_copy(context& ctx, const matrix& from, const matrix& to) noexcept;
void cpu_embed(context& ctx, const embed_args& args) noexcept;

/// The first byte of row i.
[[nodiscard]] inline std::byte* cpu_row_bytes(const matrix& m, std::uint64_t i) noexcept {
  return static_cast<std::byte*>(m.handle) + m.offset + i * m.stride * (bits_of(m.type) / 8);
}
/// Row i of a matrix of f32.
[[nodiscard]] inline float* cpu_row(const matrix& m, std::uint64_t i) noexcept {
  return reinterpret_cast<float*>(cpu_row_bytes(m, i));
}
/// Row 0, or null for an absent vector.
[[nodiscard]] inline const float* cpu_vector(const matrix& m) noexcept { return m ? cpu_row(m, 0) : nullptr; }

/// Stores 0 behind the last column of row i, as the contract of activations asks.
inline void cpu_zero_tail(const matrix& m, std::uint32_t i) noexcept {
  float* row = cpu_row(m, i);
  for (std::uint32_t c = m.cols; c < round_up(m.cols, column_pad); ++c) row[c] = 0.0f;
}

/// The first byte of a packed weight.
[[nodiscard]] inline const std::byte* cpu_panels(const packed_matrix& w) noexcept {
  return static_cast<const std::byte*>(w.handle) + w.offset;
}
/// The first byte of its scales; null for a format that has none.
[[nodiscard]] inline const std::byte* cpu_scales(const packed_matrix& w) noexcept {
  return is_quantized(w.format) ? static_cast<const std::byte*>(w.handle) + w.scales : nullptr;
}

/// The bytes of row i of a table, and of its scales.
[[nodiscard]] inline const std::byte* cpu_table_row(const gathered_table& t, std::uint64_t i) noexcept {
  return static_cast<const std::byte*>(t.handle) + t.offset + i * table_row_bytes(t.format, t.cols).value();
}
[[nodiscard]] inline const std::byte* cpu_table_scales(const gathered_table& t, std::uint64_t i) noexcept {
  if (!is_quantized(t.format)) return nullptr;
  return static_cast<const std::byte*>(t.handle) + t.scales + i * table_row_scale_bytes(t.cols).value();
}

/// The first byte of key or value row p of head h of a sequence, p counted through its segments.
[[nodiscard]] inline std::byte* cpu_cached(const attention_sequence& s, matrix kv_segment::*side,
                                           std::uint64_t p, std::uint32_t h) noexcept {
  std::uint32_t i = 0;
  while (i + 1 < s.segment_count && p >= (s.segments[i].*side).rows) p -= (s.segments[i++].*side).rows;
  const matrix& rows = s.segments[i].*side;
  return cpu_row_bytes(rows, p) + h * s.segments[i].head_stride * (bits_of(rows.type) / 8);
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_CPU_MEMORY_HPP
