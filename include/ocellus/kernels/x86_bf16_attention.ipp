// Attention of many queries with dot products of bf16 pairs (AVX512_BF16), sums in f32: a task of attention_bf16() in
// attention-inl.h.
//
// A task is one head and some hundred queries; a lane is a query. q is transposed once per task, scaled, into pair panels
// [D/2][16 queries][2]. Then span by span of the keys: k and v are rounded to bf16 once for all queries, k as rows, v as
// pairs of neighbouring keys; for 32 queries at a time both products are tiles of up to 12 rows x 2 vectors in which a
// pair of k or v is spread over the lanes; the weights become pairs of bf16 between them, in online softmax.
#ifndef OCELLUS_KERNELS_X86_BF16_ATTENTION_IPP
#define OCELLUS_KERNELS_X86_BF16_ATTENTION_IPP

#include "ocellus/kernels/x86_features.hpp"

#if OCELLUS_X86_64

#include <cstring>
#include <limits>

#include "ocellus/kernels/attention_plan.hpp"
#include "ocellus/kernels/x86_intrinsics.hpp"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace avx512_bf16 {

inline constexpr std::size_t lanes = 16;
inline constexpr std::size_t most_queries = 1024;        // of a task
inline constexpr std::size_t most_query_values = 65536;  // of a task: out is 256 KiB, q half of that
inline constexpr std::size_t most_keys = 144;            // of a span: at D = 88, k and v are 50 KiB
inline constexpr std::size_t tile_keys = 12;             // rows of a tile of scores
inline constexpr std::size_t tile_vectors = 2;           // of queries
inline constexpr std::size_t group_queries = tile_vectors * lanes;
// A row of k has room for the largest head and one line more, or the rows would share few sets of the first-level cache.
inline constexpr std::size_t key_row = max_head_size * sizeof(bf16) + 64;

/// What one worker needs. A panel is of 16 queries.
struct scratch {
  alignas(64) std::uint32_t q[most_query_values / 2 + most_queries];  // [panels][D/2, rounded up][16] pairs
  float out[most_query_values];                                       // [panels][D][16]
  std::byte k[most_keys * key_row];                                   // [keys][D] bf16
  std::uint32_t v[most_keys / 2 * max_head_size];                     // [keys/2][D, padded to 16] pairs
  float scores[tile_vectors][most_keys * lanes];                      // [keys][16]
  std::uint32_t weights[tile_vectors][most_keys / 2 * lanes];         // [keys/2][16] pairs
  float rescale[tile_vectors][lanes];
  float largest[most_queries];
  float total[most_queries];
};
static_assert(most_keys % tile_keys == 0 && most_keys % 2 == 0);

/// sum + the products of the two bf16 in each lane
HWY_INLINE __m512 add_pair_products(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
/// The f32 of two vectors as bf16, low's first.
HWY_INLINE __m512i round_to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
/// As pairs: lane i holds even's and odd's lane i.
HWY_INLINE __m512i round_to_pairs(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, round_to_bf16(even, odd));
}

HWY_INLINE __mmask16 first_lanes(std::size_t n) {
  return static_cast<__mmask16>(n >= lanes ? 0xffffu : (1u << n) - 1);
}
/// The first n of 16 values at p, then zeros; nothing behind them is read.
HWY_INLINE __m512 load_part(const float* p, std::size_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
template <dtype Type>
HWY_INLINE __m512 load_cached(const std::byte* p, std::size_t n) {
  if constexpr (Type == dtype::f16) {
    const __m256i half = n >= lanes ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                    : _mm256_maskz_loadu_epi16(first_lanes(n), p);
    return _mm512_cvtph_ps(half);
  } else {
    return load_part(reinterpret_cast<const float*>(p), n);
  }
}

/// 2^x with a relative error below 8e-5, which is small against bf16's; 0 below -126. NaN stays NaN.
HWY_INLINE __m512 exp2_rough(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-127.0f), x);  // of NaN and a number this operation takes the second
  // To the nearest integer: behind 1.5 * 2^23 there is no room for a fraction.
  const __m512 unit = _mm512_set1_ps(12582912.0f);
  const __m512 n = _mm512_sub_ps(_mm512_add_ps(x, unit), unit);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(5.51716691e-2f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.42611122e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93260985e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.99928074e-1f));
  return _mm512_scalef_ps(p, n);
}

// Arrays of vectors are indexed by constants alone, in recursions, so that they become registers at every optimisation
// level. (GCC 12's AddressSanitizer aligns those that are left in memory too little: GCC bug 110027.)

/// Transposes 4 x 4 lanes of each 128 bits, four rows at a time.
template <std::size_t I>
HWY_INLINE void transpose_lanes(const __m512i (&r)[16], __m512i (&t)[16]) {
  if constexpr (I != 16) {
    const __m512i a = _mm512_unpacklo_epi32(r[I], r[I + 1]), b = _mm512_unpackhi_epi32(r[I], r[I + 1]),
                  c = _mm512_unpacklo_epi32(r[I + 2], r[I + 3]),
                  d = _mm512_unpackhi_epi32(r[I + 2], r[I + 3]);
    t[I] = _mm512_unpacklo_epi64(a, c);
    t[I + 1] = _mm512_unpackhi_epi64(a, c);
    t[I + 2] = _mm512_unpacklo_epi64(b, d);
    t[I + 3] = _mm512_unpackhi_epi64(b, d);
    transpose_lanes<I + 4>(r, t);
  }
}
/// Transposes the 4 x 4 blocks of 128 bits of every fourth row.
template <std::size_t I>
HWY_INLINE void transpose_blocks(const __m512i (&t)[16], __m512i (&r)[16]) {
  if constexpr (I != 4) {
    const __m512i a = _mm512_shuffle_i32x4(t[I], t[I + 4], 0x44),
                  b = _mm512_shuffle_i32x4(t[I], t[I + 4], 0xee),
                  c = _mm512_shuffle_i32x4(t[I + 8], t[I + 12], 0x44),
                  d = _mm512_shuffle_i32x4(t[I + 8], t[I + 12], 0xee);
    r[I] = _mm512_shuffle_i32x4(a, c, 0x88);
    r[I + 4] = _mm512_shuffle_i32x4(a, c, 0xdd);
    r[I + 8] = _mm512_shuffle_i32x4(b, d, 0x88);
    r[I + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    transpose_blocks<I + 1>(t, r);
  }
}
HWY_INLINE void transpose(__m512i (&r)[16]) {
  __m512i t[16];
  transpose_lanes<0>(r, t);
  transpose_blocks<0>(t, r);
}

/// r[i] = pairs [d, d + 32) of query first + i, for i < N.
template <std::size_t N>
HWY_INLINE void load_queries(__m512i (&r)[16], const attention_task& task, std::size_t first, std::size_t d,
                             __m512 scale) {
  if constexpr (N != 0) {
    load_queries<N - 1>(r, task, first, d, scale);
    const std::size_t query = first + N - 1, left = task.args.head_size - d;
    __m512 low = _mm512_setzero_ps(), high = low;
    if (query < task.count) {
      const float* q = task.query(task.first + query) + d;
      low = _mm512_mul_ps(load_part(q, left), scale);
      if (left > lanes) high = _mm512_mul_ps(load_part(q + lanes, left - lanes), scale);
    }
    r[N - 1] = round_to_bf16(low, high);
  }
}
template <std::size_t N>
HWY_INLINE void store_pairs(const __m512i (&r)[16], std::uint32_t* to, std::size_t count) {
  if constexpr (N != 0) {
    store_pairs<N - 1>(r, to, count);
    if (N <= count) _mm512_store_si512(to + (N - 1) * lanes, r[N - 1]);
  }
}

/// Queries [first, first + 16) of a task, those behind its last as zeros. to: [D/2][16] pairs
inline void pack_queries(const attention_task& task, std::size_t first, float scale, std::uint32_t* to) {
  const std::size_t size = task.args.head_size, pairs = (size + 1) / 2;
  for (std::size_t d = 0; d < size; d += 2 * lanes) {
    __m512i r[16];
    load_queries<16>(r, task, first, d, _mm512_set1_ps(scale));
    transpose(r);
    store_pairs<16>(r, to + d / 2 * lanes, pairs - d / 2);
  }
}

template <std::size_t N>
HWY_INLINE void load_sums(__m512i (&r)[16], const float* from, std::size_t count, __m512 factor) {
  if constexpr (N != 0) {
    load_sums<N - 1>(r, from, count, factor);
    const __m512 sums = N <= count ? _mm512_load_ps(from + (N - 1) * lanes) : _mm512_setzero_ps();
    r[N - 1] = _mm512_castps_si512(_mm512_mul_ps(sums, factor));
  }
}
template <std::size_t N>
HWY_INLINE void store_queries(const __m512i (&r)[16], const attention_task& task, std::size_t first,
                              std::size_t d) {
  if constexpr (N != 0) {
    store_queries<N - 1>(r, task, first, d);
    const std::size_t query = first + N - 1;
    if (query < task.count) {
      _mm512_mask_storeu_ps(task.out(task.first + query) + d, first_lanes(task.args.head_size - d),
                            _mm512_castsi512_ps(r[N - 1]));
    }
  }
}

/// The sums of 16 queries, divided by their totals, as rows. from: [D][16]
inline void store_queries(const attention_task& task, std::size_t first, const float* from,
                          const float* total) {
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_load_ps(total));
  for (std::size_t d = 0; d < task.args.head_size; d += lanes) {
    __m512i r[16];
    load_sums<16>(r, from + d * lanes, task.args.head_size - d, inverse);
    transpose(r);
    store_queries<16>(r, task, first, d);
  }
}

/// Rounds the keys of a span. to: [keys][D], zeros up to pairs
template <dtype Type>
inline void pack_keys(const key_span& span, std::size_t size, std::byte* to) {
  constexpr std::size_t element = bits_of(Type) / 8;
  for (std::size_t i = 0; i < span.count; ++i) {
    const std::byte* k = span.k + i * span.k_row;
    for (std::size_t d = 0; d < size; d += 2 * lanes) {
      const std::size_t left = size - d;
      const __m512 low = load_cached<Type>(k + d * element, left);
      const __m512 high =
          left > lanes ? load_cached<Type>(k + (d + lanes) * element, left - lanes) : _mm512_setzero_ps();
      _mm512_store_si512(to + i * key_row + d * sizeof(bf16), round_to_bf16(low, high));
    }
  }
}

/// Rounds the values of a span, pairs of keys, 0 for one behind the last; are all of them finite? to: [keys/2][D padded]
template <dtype Type>
inline bool pack_values(const key_span& span, std::size_t size, std::uint32_t* to) {
  constexpr std::size_t element = bits_of(Type) / 8;
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 special = 0;
  for (std::size_t i = 0; i < span.count; i += 2) {
    const std::byte* v = span.v + i * span.v_row;
    for (std::size_t d = 0; d < size; d += lanes) {
      const __m512 even = load_cached<Type>(v + d * element, size - d);
      const __m512 odd = i + 1 < span.count ? load_cached<Type>(v + span.v_row + d * element, size - d)
                                            : _mm512_setzero_ps();
      const __m512i pairs = round_to_pairs(even, odd);
      special |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(pairs, exponent), exponent);
      _mm512_store_si512(to, pairs);
      to += lanes;
    }
  }
  return special == 0;
}

template <std::size_t R, std::size_t Row, std::size_t C>
HWY_INLINE void add_row_products(__m512 (&sums)[][C], const std::byte* x, const __m512i (&w)[C]) {
  if constexpr (R != 0) {
    add_row_products<R - 1, Row>(sums, x, w);
    std::int32_t pair;
    std::memcpy(&pair, x + (R - 1) * Row, sizeof pair);
    const __m512i spread = _mm512_set1_epi32(pair);
    sums[R - 1][0] = add_pair_products(sums[R - 1][0], w[0], spread);
    if constexpr (C == 2) sums[R - 1][1] = add_pair_products(sums[R - 1][1], w[1], spread);
  }
}
HWY_INLINE __m512 rescaled(const float* sums, const float* by) {
  return _mm512_mul_ps(_mm512_load_ps(sums), _mm512_load_ps(by));
}
template <std::size_t R, std::size_t C>
HWY_INLINE void begin_rows(__m512 (&sums)[][C], const float* out, std::size_t out_panel,
                           const float* rescale) {
  if constexpr (R != 0) {
    begin_rows<R - 1>(sums, out, out_panel, rescale);
    if (rescale == nullptr) {
      sums[R - 1][0] = _mm512_setzero_ps();
      if constexpr (C == 2) sums[R - 1][1] = _mm512_setzero_ps();
      return;
    }
    const float* at = out + (R - 1) * lanes;
    sums[R - 1][0] = rescaled(at, rescale);
    if constexpr (C == 2) sums[R - 1][1] = rescaled(at + out_panel, rescale + lanes);
  }
}
template <std::size_t R, std::size_t C>
HWY_INLINE void store_rows(const __m512 (&sums)[][C], float* out, std::size_t out_panel) {
  if constexpr (R != 0) {
    store_rows<R - 1>(sums, out, out_panel);
    _mm512_store_ps(out + (R - 1) * lanes, sums[R - 1][0]);
    if constexpr (C == 2) _mm512_store_ps(out + out_panel + (R - 1) * lanes, sums[R - 1][1]);
  }
}

/// Where the queries of C panels and their results lie: the first panel, and how far on the second is.
struct panels {
  const std::uint32_t* w;  // [steps][16] pairs
  std::size_t w_panel;
  float* out;  // [rows][16]
  std::size_t out_panel;
  const float* rescale;  // [C][16]; null: nothing is in `out` yet
};

/// out[r] = out[r] * rescale + sum over steps of x[r][step] . w[step], x and w pairs. Rows of x are Row bytes apart, steps
/// x_step bytes.
template <std::size_t R, std::size_t C, std::size_t Row>
__attribute__((noinline)) void tile(const std::byte* x, std::size_t x_step, std::size_t steps,
                                    const panels& p, float* out) {
  __m512 sums[R][C];
  begin_rows<R, C>(sums, out, p.out_panel, p.rescale);
  const std::uint32_t* w = p.w;
  for (std::size_t i = 0; i < steps; ++i, x += x_step, w += lanes) {
    __m512i vectors[C];
    vectors[0] = _mm512_load_si512(w);
    if constexpr (C == 2) vectors[1] = _mm512_load_si512(w + p.w_panel);
    add_row_products<R, Row, C>(sums, x, vectors);
  }
  store_rows<R, C>(sums, out, p.out_panel);
}

/// Scores of `count` keys; rows behind them, up to a multiple of tile_keys, become anything. k: see pack_keys
template <std::size_t C>
inline void score(const std::byte* k, std::size_t count, std::size_t pairs, const panels& p) {
  for (std::size_t i = 0; i < count; i += tile_keys) {
    tile<tile_keys, C, key_row>(k + i * key_row, 4, pairs, p, p.out + i * lanes);
  }
}

/// Sums of `size` rows of the D values, as evenly cut as can be. v: see pack_values
template <std::size_t C>
inline void add_values(const std::uint32_t* v, std::size_t size, std::size_t pairs, const panels& p) {
  const std::size_t step = round_up(size, lanes) * sizeof(std::uint32_t);
  constexpr void (*tiles[])(const std::byte*, std::size_t, std::size_t, const panels&, float*) = {
      tile<1, C, 4>, tile<2, C, 4>, tile<3, C, 4>, tile<4, C, 4>,  tile<5, C, 4>,  tile<6, C, 4>,
      tile<7, C, 4>, tile<8, C, 4>, tile<9, C, 4>, tile<10, C, 4>, tile<11, C, 4>, tile<12, C, 4>};
  std::size_t left = (size + std::size(tiles) - 1) / std::size(tiles);
  for (std::size_t d = 0; left != 0; --left) {
    const std::size_t rows = (size - d + left - 1) / left;
    tiles[rows - 1](reinterpret_cast<const std::byte*>(v + d), step, pairs, p, p.out + d * lanes);
    d += rows;
  }
}

/// Scores of 16 queries to weights 2^(score - largest), in pairs of bf16; brings total to the new largest, and leaves the
/// factor that does so for the sums. limit: keys that the first query sees, one more for each further one when causal.
template <bool Causal>
inline void weigh(const float* scores, std::size_t count, std::ptrdiff_t limit, float* largest, float* total,
                  std::uint32_t* weights, float* rescale) {
  // Which queries see key i: all lanes from i - limit + 1 on.
  const auto seen = [limit](std::size_t i) -> __mmask16 {
    const std::ptrdiff_t hidden = static_cast<std::ptrdiff_t>(i) + 1 - limit;
    if (hidden <= 0) return 0xffff;
    return hidden >= 16 ? __mmask16{0} : static_cast<__mmask16>(0xffffu << hidden);
  };
  const __m512 before = _mm512_load_ps(largest);
  __m512 most = before;
  for (std::size_t i = 0; i < count; ++i) {
    const __m512 s = _mm512_load_ps(scores + i * lanes);
    most = Causal ? _mm512_mask_max_ps(most, seen(i), most, s) : _mm512_max_ps(most, s);
  }
  __m512 sum = _mm512_setzero_ps();
  for (std::size_t i = 0; i < count; i += 2) {
    __m512 even = exp2_rough(_mm512_sub_ps(_mm512_load_ps(scores + i * lanes), most));
    __m512 odd = exp2_rough(_mm512_sub_ps(_mm512_load_ps(scores + (i + 1) * lanes), most));
    if (i + 1 == count) odd = _mm512_setzero_ps();
    if (Causal) {
      even = _mm512_maskz_mov_ps(seen(i), even);
      odd = _mm512_maskz_mov_ps(seen(i + 1), odd);
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(even, odd));
    _mm512_store_si512(weights + i / 2 * lanes, round_to_pairs(even, odd));
  }
  const __m512 factor = exp2_rough(_mm512_sub_ps(before, most));
  _mm512_store_ps(total, _mm512_fmadd_ps(_mm512_load_ps(total), factor, sum));
  _mm512_store_ps(largest, most);
  _mm512_store_ps(rescale, factor);
}

/// A span of keys for C panels of queries from `panel` on. sees: keys of the span that their first query sees
template <std::size_t C>
inline void attend_span(const attention_task& task, const key_span& span, std::size_t panel,
                        std::ptrdiff_t sees, scratch& s) {
  const std::size_t size = task.args.head_size, pairs = (size + 1) / 2;
  std::size_t count = span.count;
  if (task.args.causal) {
    const std::ptrdiff_t last = sees + static_cast<std::ptrdiff_t>(C * lanes) - 1;
    if (last <= 0) return;
    count = (std::min)(count, static_cast<std::size_t>(last));
  }
  score<C>(s.k, count, pairs,
           {s.q + panel * pairs * lanes, pairs * lanes, s.scores[0], most_keys * lanes, nullptr});
  for (std::size_t c = 0; c < C; ++c) {
    const std::size_t at = (panel + c) * lanes;
    const std::ptrdiff_t limit = sees + static_cast<std::ptrdiff_t>(c * lanes);
    if (task.args.causal && limit < static_cast<std::ptrdiff_t>(count)) {
      weigh<true>(s.scores[c], count, limit, s.largest + at, s.total + at, s.weights[c], s.rescale[c]);
    } else {
      weigh<false>(s.scores[c], count, limit, s.largest + at, s.total + at, s.weights[c], s.rescale[c]);
    }
  }
  add_values<C>(
      s.v, size, (count + 1) / 2,
      {s.weights[0], most_keys / 2 * lanes, s.out + panel * size * lanes, size * lanes, s.rescale[0]});
}

/// Asks for the D values at p.
template <int Write>
HWY_INLINE void prefetch_values(const void* p, std::size_t bytes) {
  // From whole lines on, so that the last value is in one of them.
  const auto* at = reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(p) / 64 * 64);
  for (const std::byte* end = static_cast<const std::byte*>(p) + bytes; at < end; at += 64) {
    __builtin_prefetch(at, Write, 2);
  }
}

/// Asks for a share of the keys and values of a span, the shares being numbered.
inline void prefetch_keys(const key_span& span, std::size_t row_bytes, std::size_t share,
                          std::size_t shares) {
  for (std::size_t i = span.count * share / shares; i < span.count * (share + 1) / shares; ++i) {
    prefetch_values<0>(span.k + i * span.k_row, row_bytes);
    prefetch_values<0>(span.v + i * span.v_row, row_bytes);
  }
}

/// False: a value that not all queries see is not finite, and nothing was stored.
template <dtype Type>
inline bool attend_many(const attention_task& task, scratch& s) {
  const std::size_t size = task.args.head_size, pairs = (size + 1) / 2;
  const std::size_t panel_count = (task.count + lanes - 1) / lanes;
  const std::size_t groups = (panel_count + tile_vectors - 1) / tile_vectors;
  constexpr float log2_e = 1.44269504f;
  std::fill_n(s.largest, panel_count * lanes, -3.0e38f);
  std::fill_n(s.total, panel_count * lanes, 0.0f);
  std::fill_n(s.out, panel_count * size * lanes, 0.0f);
  const auto prefetch_queries = [&](std::size_t group) {
    for (std::size_t i = group * group_queries; i < (std::min)(task.count, (group + 1) * group_queries);
         ++i) {
      prefetch_values<0>(task.query(task.first + i), size * sizeof(float));
    }
  };
  const std::size_t position = task.sequence.position + task.first;
  const std::size_t row_bytes = size * (bits_of(Type) / 8);
  key_walk walk(task.sequence, task.head, task.visible(task.first + task.count - 1), most_keys, 4);
  key_span span, coming;
  if (!walk.next(span)) {  // no keys
    for (std::size_t i = 0; i < task.count; ++i) std::fill_n(task.out(task.first + i), size, 0.0f);
    return true;
  }
  prefetch_keys(span, row_bytes, 0, 1);
  prefetch_queries(0);
  for (; span.count != 0; span = coming) {
    const bool more = walk.next(coming);
    pack_keys<Type>(span, size, s.k);
    const bool finite = pack_values<Type>(span, size, s.v);
    const std::ptrdiff_t sees =
        static_cast<std::ptrdiff_t>(position + 1) - static_cast<std::ptrdiff_t>(span.first);
    // A key that a query does not see has the weight 0 for it, which does not hide infinity and NaN.
    if (!finite && task.args.causal && sees < static_cast<std::ptrdiff_t>(span.count)) return false;
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t panel = group * tile_vectors, count = (std::min)(tile_vectors, panel_count - panel);
      const std::ptrdiff_t group_sees = sees + static_cast<std::ptrdiff_t>(panel * lanes);
      if (more) prefetch_keys(coming, row_bytes, group, groups);
      if (span.first == 0) {  // q is packed when it is needed first, and comes from memory meanwhile
        prefetch_queries(group + 1);
        for (std::size_t i = panel; i < panel + count; ++i) {
          pack_queries(task, i * lanes, task.args.scale * log2_e, s.q + i * pairs * lanes);
        }
      }
      if (!more) {
        for (std::size_t i = panel * lanes; i < (std::min)(task.count, (panel + count) * lanes); ++i) {
          prefetch_values<1>(task.out(task.first + i), size * sizeof(float));
        }
      }
      if (count == 2) {
        attend_span<2>(task, span, panel, group_sees, s);
      } else {
        attend_span<1>(task, span, panel, group_sees, s);
      }
      if (!more) {
        for (std::size_t i = panel; i < panel + count; ++i) {
          store_queries(task, i * lanes, s.out + i * size * lanes, s.total + i * lanes);
        }
      }
    }
  }
  return true;
}

}  // namespace avx512_bf16
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

#endif  // OCELLUS_X86_64

#endif  // OCELLUS_KERNELS_X86_BF16_ATTENTION_IPP
