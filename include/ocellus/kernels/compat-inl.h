// Per SIMD target: the vector types that all CPU kernels share, and what Highway 1.0.3 lacks or newer versions
// rename. Like every -inl.h it is compiled once for each target: cpu-inl.h drops its guard.
#ifndef OCELLUS_KERNELS_COMPAT_INL_H
#define OCELLUS_KERNELS_COMPAT_INL_H

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "ocellus/kernels/cpu_memory.hpp"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A vector is at most the 16 rows of a panel's line: 16, 8 or 4 lanes.
using f32_tag = hn::CappedTag<float, 16>;
using u32_tag = hn::RebindToUnsigned<f32_tag>;
using i32_tag = hn::RebindToSigned<f32_tag>;
using u16_tag = hn::Rebind<std::uint16_t, f32_tag>;
using f16_tag = hn::Rebind<hwy::float16_t, f32_tag>;
using pair_tag = hn::Repartition<double, f32_tag>;  // two f32 moved as one
using f32_vec = hn::Vec<f32_tag>;

inline constexpr std::size_t lanes = hn::MaxLanes(f32_tag());
static_assert(16 % lanes == 0 && lanes >= 4, "the packed layout needs vectors of 128, 256 or 512 bits");

// Accumulator tiles are `tile_rows` x 2 vectors: 24 of 32 registers, or 12 of 16. Rows that are left over are
// done in tiles of `tile_rows_left`, then one by one.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
inline constexpr std::size_t tile_rows = 12, tile_rows_left = 4;
#else
inline constexpr std::size_t tile_rows = 6, tile_rows_left = 2;
#endif

HWY_INLINE f32_vec splat(float x) { return hn::Set(f32_tag(), x); }
HWY_INLINE f32_vec load(const float* p) { return hn::LoadU(f32_tag(), p); }
HWY_INLINE void store(f32_vec v, float* p) { hn::StoreU(v, f32_tag(), p); }
/// lanes [0, n) of v, then zeros; n may be more than there are lanes.
HWY_INLINE f32_vec first_lanes(std::size_t n, f32_vec v) {
  return n >= lanes ? v : hn::IfThenElseZero(hn::FirstN(f32_tag(), n), v);
}
HWY_INLINE float sum_of_lanes(f32_vec v) { return hn::GetLane(hn::SumOfLanes(f32_tag(), v)); }
HWY_INLINE float max_of_lanes(f32_vec v) { return hn::GetLane(hn::MaxOfLanes(f32_tag(), v)); }

/// The two f32 at p in every pair of lanes.
HWY_INLINE f32_vec splat_pair(const float* p) {
  double both;
  std::memcpy(&both, p, sizeof both);
  return hn::BitCast(f32_tag(), hn::Set(pair_tag(), both));
}

// Highway emulates the conversions from and to f16 where there are no instructions for them, but wrongly for infinity,
// NaN and ties.
#undef OCELLUS_CONVERTS_F16
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)) || HWY_ARCH_ARM_A64
#define OCELLUS_CONVERTS_F16 1
#else
#define OCELLUS_CONVERTS_F16 0
#endif

/// `lanes` f16 values at p, widened.
HWY_INLINE f32_vec load_f16(const std::byte* p) {
#if OCELLUS_CONVERTS_F16
  return hn::PromoteTo(f32_tag(), hn::LoadU(f16_tag(), reinterpret_cast<const hwy::float16_t*>(p)));
#else
  const u32_tag d;
  const auto bits = hn::PromoteTo(d, hn::LoadU(u16_tag(), reinterpret_cast<const std::uint16_t*>(p)));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(d, 0x8000u)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(d, 0x7fffu)));
  // The exponent's bias is 112 larger in f32; a product also makes subnormal numbers right.
  const auto scaled = hn::BitCast(d, hn::Mul(hn::BitCast(f32_tag(), magnitude), splat(0x1p112f)));
  const auto special = hn::Gt(hn::BitCast(i32_tag(), magnitude), hn::Set(i32_tag(), 0x7bff << 13));
  const auto exponent = hn::IfThenElseZero(special, hn::Set(i32_tag(), 0x7f800000));
  return hn::BitCast(f32_tag(), hn::Or(hn::Or(scaled, sign), hn::BitCast(d, exponent)));
#endif
}

/// `lanes` f32 to f16 at p, to nearest, ties to even: to_f16 of dtype.hpp.
HWY_INLINE void store_f16(f32_vec v, std::byte* p) {
#if OCELLUS_CONVERTS_F16
  hn::StoreU(hn::DemoteTo(f16_tag(), v), f16_tag(), reinterpret_cast<hwy::float16_t*>(p));
#else
  float values[lanes];
  store(v, values);
  for (std::size_t i = 0; i < lanes; ++i) {
    const f16 rounded = to_f16(values[i]);
    std::memcpy(p + i * sizeof(f16), &rounded, sizeof(f16));
  }
#endif
}

/// Asks for a line that is needed some microseconds from now: into the second-level cache, not the first.
HWY_INLINE void prefetch_later(const std::byte* p) {
#if HWY_COMPILER_MSVC
  hwy::Prefetch(p);
#else
  __builtin_prefetch(p, 0, 2);
#endif
}

/// Asks for a line that will be stored to.
HWY_INLINE void prefetch_to_store(const std::byte* p) {
#if HWY_COMPILER_MSVC
  hwy::Prefetch(p);
#else
  __builtin_prefetch(p, 1, 3);
#endif
}

/// Stores zeros to [from, to) of a row; both are multiples of nothing.
HWY_INLINE void zero_fill(float* row, std::size_t from, std::size_t to) {
  if (from < to) std::memset(row + from, 0, (to - from) * sizeof(float));
}

/// One step of an outer product: acc[r][j] += x[r * x_row] * w_j. R unrolled by recursion, so that the
/// accumulators become registers at every optimisation level.
template <std::size_t R, std::size_t Rows>
HWY_INLINE void add_products(f32_vec (&acc)[Rows][2], const float* x, std::size_t x_row, f32_vec w0,
                             f32_vec w1) {
  if constexpr (R != 0) {
    add_products<R - 1>(acc, x, x_row, w0, w1);
    const f32_vec value = splat(x[(R - 1) * x_row]);
    acc[R - 1][0] = hn::MulAdd(value, w0, acc[R - 1][0]);
    acc[R - 1][1] = hn::MulAdd(value, w1, acc[R - 1][1]);
  }
}

template <std::size_t R, std::size_t Rows>
HWY_INLINE void clear_tile(f32_vec (&acc)[Rows][2]) {
  if constexpr (R != 0) {
    clear_tile<R - 1>(acc);
    acc[R - 1][0] = acc[R - 1][1] = hn::Zero(f32_tag());
  }
}

/// Stores the tile as rows of 2 * lanes values, on top of what is there if asked to.
template <std::size_t R, std::size_t Rows>
HWY_INLINE void store_tile(const f32_vec (&acc)[Rows][2], float* out, std::size_t out_row, bool add) {
  if constexpr (R != 0) {
    store_tile<R - 1>(acc, out, out_row, add);
    float* row = out + (R - 1) * out_row;
    if (add) {
      store(hn::Add(load(row), acc[R - 1][0]), row);
      store(hn::Add(load(row + lanes), acc[R - 1][1]), row + lanes);
    } else {
      store(acc[R - 1][0], row);
      store(acc[R - 1][1], row + lanes);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_COMPAT_INL_H
