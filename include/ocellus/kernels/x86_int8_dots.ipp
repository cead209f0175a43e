// int8 dot products of x86-64 processors, and the rows that they take. Three sets of instructions, for the algorithm in
// int8_dots-inl.h: 512-bit VNNI, 256-bit VNNI in AVX encoding, and plain AVX2, where pairs of products are summed in 16
// bits: 127 * 127 * 2 and 124 * 127 * 2 fit, 255 * 127 * 2 does not, so q8 codes are multiplied by magnitude and sign.
#ifndef OCELLUS_KERNELS_X86_INT8_DOTS_IPP
#define OCELLUS_KERNELS_X86_INT8_DOTS_IPP

#include "ocellus/kernels/x86_features.hpp"

#if OCELLUS_X86_64

#include <cstring>

#include "ocellus/kernels/fast_rows.hpp"
#include "ocellus/kernels/quantize.hpp"
#include "ocellus/kernels/x86_intrinsics.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline std::int32_t int8_word(const void* p) noexcept {
  std::int32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
inline float int8_float(const void* p) noexcept {
  float value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")
namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Row `row` of x as int8. from: [k], its tail 0; offset: what the kernel adds to the weights' codes.
inline void int8_quantize_row(const float* from, const int8_rows& x, std::size_t row,
                              std::int32_t offset) noexcept {
  std::int8_t* codes = x.codes(row);
  float* scales = x.scales(row);
  std::int32_t* starts = x.starts(row);
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (std::size_t k = 0; k < x.k; k += quant_group, from += quant_group, codes += quant_group) {
    const __m256 v0 = _mm256_loadu_ps(from), v1 = _mm256_loadu_ps(from + 8);
    const __m256 v2 = _mm256_loadu_ps(from + 16), v3 = _mm256_loadu_ps(from + 24);
    // As integers magnitudes have the same order, with infinity and NaN on top.
    const auto bits = [magnitude](__m256 v) __attribute__((target("avx2"), always_inline)) {
      return _mm256_and_si256(_mm256_castps_si256(v), magnitude);
    };
    __m256i most =
        _mm256_max_epi32(_mm256_max_epi32(bits(v0), bits(v1)), _mm256_max_epi32(bits(v2), bits(v3)));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    const float largest = _mm_cvtss_f32(_mm_castsi128_ps(half));
    const bool is_zero = largest < int8_smallest;
    const __m256 inverse = _mm256_set1_ps(is_zero ? 0.0f : int8_largest / largest);
    *scales++ = is_zero ? 0.0f : largest * (1.0f / int8_largest);
    const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(v0, inverse)),
                                           _mm256_cvtps_epi32(_mm256_mul_ps(v1, inverse)));
    const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(v2, inverse)),
                                            _mm256_cvtps_epi32(_mm256_mul_ps(v3, inverse)));
    // Packing works in halves of 128 bits: words of four codes come out as 0 2 4 6 | 1 3 5 7.
    const __m256i packed =
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), packed);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), packed);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    *starts++ = -offset * _mm_cvtsi128_si32(sum);
  }
}

/// Vectors of 256 bits: 8 outputs.
struct int8_vec256 {
  using i32 = __m256i;
  using f32 = __m256;
  static constexpr std::size_t lanes = 8;
  static constexpr std::size_t tile_rows = 4, stream_rows = 4;

  static HWY_INLINE i32 load(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static HWY_INLINE void store(i32 v, std::byte* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static HWY_INLINE i32 spread(const void* p) { return _mm256_set1_epi32(int8_word(p)); }
  static HWY_INLINE i32 zero() { return _mm256_setzero_si256(); }
  static HWY_INLINE f32 set(float x) { return _mm256_set1_ps(x); }
  static HWY_INLINE f32 spread_f32(const void* p) { return _mm256_set1_ps(int8_float(p)); }
  static HWY_INLINE f32 load_f32(const float* p) { return _mm256_loadu_ps(p); }
  static HWY_INLINE void store(f32 v, float* p) { _mm256_storeu_ps(p, v); }
  static HWY_INLINE f32 load_f16(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static HWY_INLINE f32 mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
  static HWY_INLINE f32 mul_add(f32 a, f32 b, f32 c) { return _mm256_fmadd_ps(a, b, c); }
  static HWY_INLINE f32 to_f32(i32 v) { return _mm256_cvtepi32_ps(v); }
  template <int Offset>
  static HWY_INLINE i32 add_offset(i32 v) {
    static_assert(Offset == 0 || Offset == 128);
    return Offset == 0 ? v : _mm256_xor_si256(v, _mm256_set1_epi8(-128));
  }
  static HWY_INLINE i32 add_bytes(i32 a, i32 b) { return _mm256_add_epi8(a, b); }
  template <int Part>
  static HWY_INLINE i32 nibbles(i32 v) {
    return _mm256_and_si256(Part == 0 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
  }
  static HWY_INLINE i32 q4_level(i32 nibbles) {
    const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q4_levels));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), nibbles);
  }
  /// The offset that a scale's pattern says, and `offset`, in each of an output's four bytes.
  static HWY_INLINE i32 q4_add(const std::byte* scales, int offset) {
    const __m256i pattern = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)));
    const __m256i lowest =
        _mm256_shuffle_epi8(pattern, _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0,
                                                      0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    return _mm256_add_epi8(_mm256_and_si256(lowest, _mm256_set1_epi8(15)),
                           _mm256_set1_epi8(static_cast<char>(offset)));
  }
  static HWY_INLINE void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  static HWY_INLINE void prefetch_later(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
  }
};

namespace dots_avx2 {

struct int8_vec : int8_vec256 {
  static constexpr std::size_t few_rows = 4;
  static constexpr int q8_offset = 0, q4_offset = 64;
  static constexpr bool unrolls = false;  // 16 registers do not suffice for it
  template <int Offset>
  static HWY_INLINE i32 dot(i32 sum, i32 w, i32 x) {
    const __m256i pairs = Offset != 0 ? _mm256_maddubs_epi16(w, x)
                                      : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};
#include "ocellus/kernels/int8_dots-inl.h"

}  // namespace dots_avx2
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avxvnni")
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace dots_avx2_vnni {

struct int8_vec : int8_vec256 {
  static constexpr std::size_t few_rows = 8;
  static constexpr int q8_offset = 128, q4_offset = 128;
  static constexpr bool unrolls = true;
  template <int>
  static HWY_INLINE i32 dot(i32 sum, i32 w, i32 x) {
    return _mm256_dpbusd_avx_epi32(sum, w, x);
  }
};
#include "ocellus/kernels/int8_dots-inl.h"

}  // namespace dots_avx2_vnni
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace dots_avx512_vnni {

/// Vectors of 512 bits: 16 outputs.
struct int8_vec {
  using i32 = __m512i;
  using f32 = __m512;
  static constexpr std::size_t lanes = 16;
  static constexpr std::size_t tile_rows = 6, stream_rows = 4, few_rows = 15;
  static constexpr int q8_offset = 128, q4_offset = 128;
  static constexpr bool unrolls = true;

  static HWY_INLINE i32 load(const std::byte* p) { return _mm512_loadu_si512(p); }
  static HWY_INLINE void store(i32 v, std::byte* p) { _mm512_storeu_si512(p, v); }
  static HWY_INLINE i32 spread(const void* p) { return _mm512_set1_epi32(int8_word(p)); }
  static HWY_INLINE i32 zero() { return _mm512_setzero_si512(); }
  static HWY_INLINE f32 set(float x) { return _mm512_set1_ps(x); }
  static HWY_INLINE f32 spread_f32(const void* p) { return _mm512_set1_ps(int8_float(p)); }
  static HWY_INLINE f32 load_f32(const float* p) { return _mm512_loadu_ps(p); }
  static HWY_INLINE void store(f32 v, float* p) { _mm512_storeu_ps(p, v); }
  static HWY_INLINE f32 load_f16(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static HWY_INLINE f32 mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
  static HWY_INLINE f32 mul_add(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a, b, c); }
  static HWY_INLINE f32 to_f32(i32 v) { return _mm512_cvtepi32_ps(v); }
  template <int Offset>
  static HWY_INLINE i32 add_offset(i32 v) {
    static_assert(Offset == 128);
    return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
  }
  static HWY_INLINE i32 add_bytes(i32 a, i32 b) { return _mm512_add_epi8(a, b); }
  template <int Part>
  static HWY_INLINE i32 nibbles(i32 v) {
    return _mm512_and_si512(Part == 0 ? v : _mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
  }
  static HWY_INLINE i32 q4_level(i32 nibbles) {
    const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q4_levels));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), nibbles);
  }
  static HWY_INLINE i32 q4_add(const std::byte* scales, int offset) {
    const __m512i pattern =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales)));
    const __m512i lowest =
        _mm512_shuffle_epi8(pattern, _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0x00000000));
    return _mm512_add_epi8(_mm512_and_si512(lowest, _mm512_set1_epi8(15)),
                           _mm512_set1_epi8(static_cast<char>(offset)));
  }
  static HWY_INLINE void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  static HWY_INLINE void prefetch_later(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
  }
  template <int>
  static HWY_INLINE i32 dot(i32 sum, i32 w, i32 x) {
    return _mm512_dpbusd_epi32(sum, w, x);
  }
};
#include "ocellus/kernels/int8_dots-inl.h"

}  // namespace dots_avx512_vnni
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

#endif  // OCELLUS_X86_64

#endif  // OCELLUS_KERNELS_X86_INT8_DOTS_IPP
