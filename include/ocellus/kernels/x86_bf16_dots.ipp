// bf16 dot products of x86-64 processors (AVX512_BF16): rows of bf16 activations times panels of 16-bit or 32-bit weights,
// sums in f32. A line of a bf16 panel is what the instruction takes; f16 and f32 weights are rounded to such lines, a K block
// at a time. An output's products are added in the order of K whatever the number of rows, so a row has the same bits
// in every call.
#ifndef OCELLUS_KERNELS_X86_BF16_DOTS_IPP
#define OCELLUS_KERNELS_X86_BF16_DOTS_IPP

#include "ocellus/kernels/x86_features.hpp"

#if OCELLUS_X86_64

#include <cstring>

#include "ocellus/kernels/fast_rows.hpp"
#include "ocellus/kernels/x86_intrinsics.hpp"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace dots_avx512_bf16 {

inline constexpr std::size_t bf16_k_block = 512;  // columns: 32 KiB of two panels
inline constexpr std::size_t bf16_prefetch_bytes = 2048;
inline constexpr std::size_t bf16_tile_rows = 12, bf16_stream_rows = 4;

/// Row `row` of x as bf16. from: [k], its tail 0
inline void bf16_round_row(const float* from, const bf16_rows& x, std::size_t row) noexcept {
  std::uint16_t* to = x.values(row);
  for (std::size_t k = 0; k < x.k; k += 32) {
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + k + 16), _mm512_loadu_ps(from + k));
    std::memcpy(to + k, &both, sizeof both);
  }
}

HWY_INLINE __m512bh bf16_line(const std::byte* p) {
  __m512bh line;
  std::memcpy(&line, p, sizeof line);
  return line;
}
/// Two columns of a row in every lane.
HWY_INLINE __m512bh bf16_pair(const std::uint16_t* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof word);
  const __m512i all = _mm512_set1_epi32(word);
  __m512bh pair;
  std::memcpy(&pair, &all, sizeof pair);
  return pair;
}

template <std::size_t R, std::size_t Rows>
HWY_INLINE void bf16_dot_rows(__m512 (&sums)[Rows][2], __m512bh w0, __m512bh w1, const std::uint16_t* x,
                              std::size_t x_row) {
  if constexpr (R != 0) {
    bf16_dot_rows<R - 1>(sums, w0, w1, x, x_row);
    const __m512bh pair = bf16_pair(x + (R - 1) * x_row);
    sums[R - 1][0] = _mm512_dpbf16_ps(sums[R - 1][0], w0, pair);
    sums[R - 1][1] = _mm512_dpbf16_ps(sums[R - 1][1], w1, pair);
  }
}
template <std::size_t R, std::size_t Rows>
HWY_INLINE void bf16_load_rows(__m512 (&sums)[Rows][2], const float* out, std::size_t out_row, bool add) {
  if constexpr (R != 0) {
    bf16_load_rows<R - 1>(sums, out, out_row, add);
    const float* row = out + (R - 1) * out_row;
    sums[R - 1][0] = add ? _mm512_loadu_ps(row) : _mm512_setzero_ps();
    sums[R - 1][1] = add ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps();
  }
}
template <std::size_t R, std::size_t Rows>
HWY_INLINE void bf16_store_rows(const __m512 (&sums)[Rows][2], float* out, std::size_t out_row, bool second) {
  if constexpr (R != 0) {
    bf16_store_rows<R - 1>(sums, out, out_row, second);
    _mm512_storeu_ps(out + (R - 1) * out_row, sums[R - 1][0]);
    if (second) _mm512_storeu_ps(out + (R - 1) * out_row + 16, sums[R - 1][1]);
  }
}

/// What a tile computes with. w0, w1: bf16 lines of two panels (or of one, then `second` is false); ahead: what a later tile
/// reads, of which a line is fetched for every four columns.
struct bf16_tile_args {
  const std::uint16_t* x;
  std::size_t x_row;
  const std::byte* w0;
  const std::byte* w1;
  const std::byte* ahead;
  std::size_t columns;
  float* out;
  std::size_t out_row;
  bool add;  // to what is in `out`
  bool second;
};

/// R rows by two panels. out: [R, 32]
template <std::size_t R>
HWY_NOINLINE void bf16_tile(const bf16_tile_args& a) {
  __m512 sums[R][2];
  bf16_load_rows<R>(sums, a.out, a.out_row, a.add);
  const std::byte *w0 = a.w0, *w1 = a.w1, *ahead = a.ahead;
  const std::uint16_t* x = a.x;
  for (std::size_t k = 0; k < a.columns; k += 4, x += 4, w0 += 2 * line_bytes, w1 += 2 * line_bytes) {
    if constexpr (R <= bf16_stream_rows) {
      for (const std::byte* w : {w0, w1}) {
        _mm_prefetch(reinterpret_cast<const char*>(w + bf16_prefetch_bytes), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(w + bf16_prefetch_bytes + line_bytes), _MM_HINT_T0);
      }
    } else {
      _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
      ahead += line_bytes;
    }
    bf16_dot_rows<R>(sums, bf16_line(w0), bf16_line(w1), x, a.x_row);
    bf16_dot_rows<R>(sums, bf16_line(w0 + line_bytes), bf16_line(w1 + line_bytes), x + 2, a.x_row);
  }
  bf16_store_rows<R>(sums, a.out, a.out_row, a.second);
}

/// Rounds `columns` columns of a panel of f16 or f32 to bf16 lines. to: [columns / 2][16][2]
inline void bf16_round_panel(weight_format format, const std::byte* w, std::size_t columns,
                             std::byte* to) noexcept {
  // Takes the even and the odd lanes of a pair of vectors: a line of pairs as two vectors of one column each.
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (std::size_t k = 0; k < columns; k += 2, to += line_bytes) {
    __m512 first, second;
    if (format == weight_format::f32) {
      first = _mm512_loadu_ps(w);
      second = _mm512_loadu_ps(w + line_bytes);
      w += 2 * line_bytes;
    } else {
      const __m512 low = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
      const __m512 high = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32)));
      first = _mm512_permutex2var_ps(low, even, high);
      second = _mm512_permutex2var_ps(low, odd, high);
      w += line_bytes;
    }
    const __m256bh a = _mm512_cvtneps_pbh(first), b = _mm512_cvtneps_pbh(second);
    __m256i a_bits, b_bits;
    std::memcpy(&a_bits, &a, sizeof a);
    std::memcpy(&b_bits, &b, sizeof b);
    const __m512i line =
        _mm512_or_si512(_mm512_cvtepu16_epi32(a_bits), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b_bits), 16));
    _mm512_storeu_si512(to, line);
  }
}

/// A K block of two panels, rounded.
struct bf16_scratch {
  alignas(64) std::byte lines[2][bf16_k_block / 2 * line_bytes];
};

template <std::size_t R>
HWY_INLINE void bf16_rows_tile(std::size_t rows, const bf16_tile_args& args) {
  if constexpr (R == 1) {
    bf16_tile<1>(args);
  } else if (rows == R) {
    bf16_tile<R>(args);
  } else {
    bf16_rows_tile<R - 1>(rows, args);
  }
}

/// Sums of `rows` rows for the panels, without bias. out: [rows, 16 * w.count]
inline void bf16_sums(const bf16_rows& x, std::size_t rows, const dot_panels& w, float* out,
                      std::size_t out_row, bf16_scratch& scratch) noexcept {
  const std::size_t column_bytes = w.format == weight_format::f32 ? line_bytes : line_bytes / 2;
  // Few rows read each panel once and in one piece, as the memory likes best.
  const std::size_t block = rows <= bf16_stream_rows && w.format == weight_format::bf16 ? x.k : bf16_k_block;
  for (std::size_t k0 = 0; k0 < x.k; k0 += block) {
    const std::size_t columns = x.k - k0 < block ? x.k - k0 : block;
    const std::size_t bytes = columns * column_bytes;  // of a panel's block
    for (std::size_t first = 0; first < w.count; first += 2) {
      const bool second = first + 1 < w.count;
      const std::byte* lines[2];
      for (std::size_t p = 0; p < 2; ++p) {
        const std::byte* from = w.codes + (first + (second ? p : 0)) * w.size + k0 * column_bytes;
        if (w.format == weight_format::bf16) {
          lines[p] = from;
        } else {
          if (p == 0 || second) bf16_round_panel(w.format, from, columns, scratch.lines[p]);
          lines[p] = scratch.lines[second ? p : 0];
        }
      }
      // Each tile fetches its share of what comes behind this block of two panels.
      const std::byte* coming = first + 2 < w.count  ? w.codes + (first + 2) * w.size + k0 * column_bytes
                                : k0 + columns < x.k ? w.codes + (k0 + columns) * column_bytes
                                                     : w.next_codes;
      const std::size_t tiles = (rows + bf16_tile_rows - 1) / bf16_tile_rows;
      const std::size_t share = 2 * bytes / tiles / line_bytes * line_bytes;
      for (std::size_t tile = 0; tile < tiles; ++tile) {
        const std::size_t r = tile * bf16_tile_rows, at = tile * share;
        bf16_rows_tile<bf16_tile_rows>(rows - r < bf16_tile_rows ? rows - r : bf16_tile_rows,
                                       {x.values(r) + k0, bf16_rows::row_bytes(x.k) / 2, lines[0], lines[1],
                                        coming + at / bytes * w.size + at % bytes, columns,
                                        out + r * out_row + first * panel_rows, out_row, k0 != 0, second});
      }
    }
  }
}

}  // namespace dots_avx512_bf16
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

#endif  // OCELLUS_X86_64

#endif  // OCELLUS_KERNELS_X86_BF16_DOTS_IPP
