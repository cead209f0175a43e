// What fast precision multiplies with on x86-64: for each of its tables the functions that make rows of int8 or bf16 and
// those that multiply them by panels.
#ifndef OCELLUS_KERNELS_X86_DOTS_IPP
#define OCELLUS_KERNELS_X86_DOTS_IPP

#include "ocellus/kernels/x86_bf16_dots.ipp"
#include "ocellus/kernels/x86_int8_dots.ipp"

#if OCELLUS_X86_64

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// int8 products alone; weights of 16 and 32 bits are computed as in exact precision.
#define OCELLUS_INT8_DOTS(dots)                                                                \
  static constexpr std::size_t few_rows = dots::int8_vec::few_rows;                            \
  static void quantize_row(const float* from, const int8_rows& x, std::size_t row) noexcept {  \
    int8_quantize_row(from, x, row, dots::int8_vec::q4_offset);                                \
  }                                                                                            \
  static void int8_sums(const int8_rows& x, std::size_t rows, const dot_panels& w, float* out, \
                        std::size_t out_row, void* scratch) noexcept {                         \
    dots::int8_sums_of_format(x, rows, w, out, out_row, scratch);                              \
  }

struct avx2_dots {
  static constexpr bool has_bf16 = false;
  static constexpr std::size_t scratch_bytes = sizeof(dots_avx2::int8_scratch);
  OCELLUS_INT8_DOTS(dots_avx2)
};

struct avx2_vnni_dots {
  static constexpr bool has_bf16 = false;
  static constexpr std::size_t scratch_bytes = sizeof(dots_avx2_vnni::int8_scratch);
  OCELLUS_INT8_DOTS(dots_avx2_vnni)
};

struct avx512_vnni_dots {
  static constexpr bool has_bf16 = false;
  static constexpr std::size_t scratch_bytes = sizeof(dots_avx512_vnni::int8_scratch);
  OCELLUS_INT8_DOTS(dots_avx512_vnni)
};

/// int8 products for q8 and q4, bf16 products for the other formats.
struct avx512_bf16_dots {
  static constexpr bool has_bf16 = true;
  static constexpr std::size_t scratch_bytes = sizeof(dots_avx512_vnni::int8_scratch) >
                                                       sizeof(dots_avx512_bf16::bf16_scratch)
                                                   ? sizeof(dots_avx512_vnni::int8_scratch)
                                                   : sizeof(dots_avx512_bf16::bf16_scratch);
  OCELLUS_INT8_DOTS(dots_avx512_vnni)
  static void round_row(const float* from, const bf16_rows& x, std::size_t row) noexcept {
    dots_avx512_bf16::bf16_round_row(from, x, row);
  }
  static void bf16_sums(const bf16_rows& x, std::size_t rows, const dot_panels& w, float* out,
                        std::size_t out_row, void* scratch) noexcept {
    dots_avx512_bf16::bf16_sums(x, rows, w, out, out_row,
                                *static_cast<dots_avx512_bf16::bf16_scratch*>(scratch));
  }
};

#undef OCELLUS_INT8_DOTS

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_X86_64

#endif  // OCELLUS_KERNELS_X86_DOTS_IPP
