// int8 dot products of 64-bit Arm processors (FEAT_DotProd), for the algorithm in int8_dots-inl.h, and the rows that they
// take. The instruction multiplies signed by signed bytes, so codes are used as they are.
#ifndef OCELLUS_KERNELS_ARM_DOTS_IPP
#define OCELLUS_KERNELS_ARM_DOTS_IPP

#include "ocellus/kernels/arm_features.hpp"

#if OCELLUS_ARM_64

#include <arm_neon.h>
#include <hwy/base.h>

#include <cstring>

#include "ocellus/kernels/fast_rows.hpp"
#include "ocellus/kernels/quantize.hpp"

// GCC declares the intrinsics for this very architecture.
#if HWY_COMPILER_CLANG
HWY_PUSH_ATTRIBUTES("dotprod")
#else
HWY_PUSH_ATTRIBUTES("arch=armv8.2-a+dotprod")
#endif
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace dots_neon {

/// Vectors of 128 bits: 4 outputs.
struct int8_vec {
  using i32 = int32x4_t;
  using f32 = float32x4_t;
  static constexpr std::size_t lanes = 4;
  static constexpr std::size_t tile_rows = 6, stream_rows = 4, few_rows = 4;
  static constexpr int q8_offset = 0, q4_offset = 0;
  static constexpr bool unrolls = true;

  static HWY_INLINE i32 load(const std::byte* p) {
    return vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
  }
  static HWY_INLINE void store(i32 v, std::byte* p) {
    vst1q_u8(reinterpret_cast<std::uint8_t*>(p), vreinterpretq_u8_s32(v));
  }
  static HWY_INLINE i32 spread(const void* p) {
    std::int32_t word;
    std::memcpy(&word, p, sizeof word);
    return vdupq_n_s32(word);
  }
  static HWY_INLINE i32 zero() { return vdupq_n_s32(0); }
  static HWY_INLINE f32 set(float x) { return vdupq_n_f32(x); }
  static HWY_INLINE f32 spread_f32(const void* p) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return vdupq_n_f32(value);
  }
  static HWY_INLINE f32 load_f32(const float* p) { return vld1q_f32(p); }
  static HWY_INLINE void store(f32 v, float* p) { vst1q_f32(p, v); }
  static HWY_INLINE f32 load_f16(const std::byte* p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(p))));
  }
  static HWY_INLINE f32 mul(f32 a, f32 b) { return vmulq_f32(a, b); }
  static HWY_INLINE f32 mul_add(f32 a, f32 b, f32 c) { return vfmaq_f32(c, a, b); }
  static HWY_INLINE f32 to_f32(i32 v) { return vcvtq_f32_s32(v); }
  template <int Offset>
  static HWY_INLINE i32 add_offset(i32 v) {
    static_assert(Offset == 0);
    return v;
  }
  static HWY_INLINE i32 add_bytes(i32 a, i32 b) {
    return vreinterpretq_s32_u8(vaddq_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b)));
  }
  template <int Part>
  static HWY_INLINE i32 nibbles(i32 v) {
    const uint8x16_t bytes = vreinterpretq_u8_s32(v);
    return vreinterpretq_s32_u8(Part == 0 ? vandq_u8(bytes, vdupq_n_u8(15)) : vshrq_n_u8(bytes, 4));
  }
  static HWY_INLINE i32 q4_level(i32 nibbles) {
    return vreinterpretq_s32_s8(vqtbl1q_s8(vld1q_s8(q4_levels), vreinterpretq_u8_s32(nibbles)));
  }
  /// The offset that a scale's pattern says, in each of an output's four bytes.
  static HWY_INLINE i32 q4_add(const std::byte* scales, int) {
    const uint16x4_t pattern = vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(scales)));
    const uint32x4_t lowest = vandq_u32(vmovl_u16(pattern), vdupq_n_u32(15));
    return vreinterpretq_s32_u32(vmulq_n_u32(lowest, 0x01010101u));
  }
  static HWY_INLINE void prefetch(const std::byte* p) { __builtin_prefetch(p); }
  static HWY_INLINE void prefetch_later(const std::byte* p) { __builtin_prefetch(p, 0, 2); }
  template <int>
  static HWY_INLINE i32 dot(i32 sum, i32 w, i32 x) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x));
  }
};
#include "ocellus/kernels/int8_dots-inl.h"

}  // namespace dots_neon

/// int8 products alone; weights of 16 and 32 bits are computed as in exact precision.
struct neon_dots {
  static constexpr bool has_bf16 = false;
  static constexpr std::size_t scratch_bytes = sizeof(dots_neon::int8_scratch);
  static constexpr std::size_t few_rows = dots_neon::int8_vec::few_rows;

  /// Row `row` of x as int8. from: [k], its tail 0
  static void quantize_row(const float* from, const int8_rows& x, std::size_t row) noexcept {
    std::int8_t* codes = x.codes(row);
    float* scales = x.scales(row);
    for (std::size_t k = 0; k < x.k; k += quant_group, from += quant_group, codes += quant_group) {
      // As integers magnitudes have the same order, with infinity and NaN on top.
      uint32x4_t most = vdupq_n_u32(0);
      for (std::size_t i = 0; i < quant_group; i += 4) {
        most =
            vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(from + i)), vdupq_n_u32(0x7fffffffu)));
      }
      const std::uint32_t bits = vmaxvq_u32(most);
      float largest;
      std::memcpy(&largest, &bits, sizeof largest);
      const bool is_zero = largest < int8_smallest;
      const float inverse = is_zero ? 0.0f : int8_largest / largest;
      *scales++ = is_zero ? 0.0f : largest * (1.0f / int8_largest);
      for (std::size_t i = 0; i < quant_group; i += 8) {
        const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(from + i), inverse));
        const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(from + i + 4), inverse));
        vst1_s8(codes + i, vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high))));
      }
    }
  }
  static void int8_sums(const int8_rows& x, std::size_t rows, const dot_panels& w, float* out,
                        std::size_t out_row, void* scratch) noexcept {
    dots_neon::int8_sums_of_format(x, rows, w, out, out_row, scratch);
  }
};

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_POP_ATTRIBUTES

#endif  // OCELLUS_ARM_64

#endif  // OCELLUS_KERNELS_ARM_DOTS_IPP
