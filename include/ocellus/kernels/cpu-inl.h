// Per SIMD target: the table. Included once for each target, without a guard; the files below are guarded within one
// target, by guards that are dropped here and so do not depend on how Highway was included before.
#undef OCELLUS_KERNELS_ATTENTION_INL_H
#undef OCELLUS_KERNELS_ATTENTION_FEW_INL_H
#undef OCELLUS_KERNELS_COMPAT_INL_H
#undef OCELLUS_KERNELS_LINEAR_FAST_INL_H
#undef OCELLUS_KERNELS_LINEAR_INL_H
#undef OCELLUS_KERNELS_LINEAR_TILES_INL_H
#undef OCELLUS_KERNELS_LINES_INL_H
#undef OCELLUS_KERNELS_MATH_INL_H
#undef OCELLUS_KERNELS_MODEL_TILES_INL_H
#undef OCELLUS_KERNELS_NORM_INL_H

#include "ocellus/kernels/attention-inl.h"
#include "ocellus/kernels/linear_fast-inl.h"
#include "ocellus/kernels/norm-inl.h"
#if OCELLUS_X86_64 && HWY_TARGET <= HWY_AVX3
#include "ocellus/kernels/linear_tiles-inl.h"
#if defined(OCELLUS_MODEL_TILES)
#include "ocellus/kernels/model_tiles-inl.h"
#endif
#endif

namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

/// The name of a table without the "N_" of its namespace, and what its dot products add to it.
#define OCELLUS_TABLE_NAME(dots) (&HWY_STR(HWY_NAMESPACE) dots[2])

inline constexpr std::size_t table_scratch_bytes =
    (std::max)(sizeof(attention_scratch), sizeof(linear_scratch));

inline constexpr kernels table = {
    OCELLUS_TABLE_NAME(""),
    precision::exact,
    cache_type_of(precision::exact),
    round_up<std::uint64_t>(table_scratch_bytes, 64),
    0,
    cpu_allocate,
    cpu_release,
    cpu_wrap,
    cpu_upload,
    cpu_download,
    cpu_copy,
    linear,
    layer_norm,
    rms_norm,
    add,
    attention,
    rotary_append,
    cpu_embed,
};

/// A table of fast precision that differs from the exact one in its products and in the type of its cache.
template <class Dots>
constexpr kernels fast_table_with(const char* name) noexcept {
  kernels t = table;
  t.name = name;
  t.mode = precision::fast;
  t.cache_type = cache_type_of(precision::fast);
  t.scratch_bytes_per_worker =
      round_up<std::uint64_t>((std::max)(table_scratch_bytes, sizeof(fast_scratch<Dots>)), 64);
  t.scratch_bytes_per_value = fast_scratch_bytes_per_value;
  t.linear = linear_fast<Dots>;
  return t;
}

#if OCELLUS_X86_64 && HWY_TARGET <= HWY_AVX3
inline constexpr kernels fast_table = fast_table_with<avx2_dots>(OCELLUS_TABLE_NAME(""));
inline constexpr kernels vnni_table = fast_table_with<avx512_vnni_dots>(OCELLUS_TABLE_NAME("_VNNI"));
inline constexpr kernels bf16_table = [] {
  kernels t = fast_table_with<avx512_bf16_dots>(OCELLUS_TABLE_NAME("_BF16"));
  t.scratch_bytes_per_worker =
      (std::max)(t.scratch_bytes_per_worker, round_up<std::uint64_t>(sizeof(bf16_attention_scratch), 64));
  t.attention = attention_bf16;
  return t;
}();
#if OCELLUS_X86_TILES
inline constexpr kernels amx_table = table_with_tiles<x86_tiles, bf16_table>(OCELLUS_TABLE_NAME("_AMX"));
#endif
#if defined(OCELLUS_MODEL_TILES)
inline constexpr kernels model_tiles_table =
    table_with_tiles<model_tiles, fast_table>(OCELLUS_TABLE_NAME("_MODEL_TILES"));
#endif
#elif OCELLUS_X86_64 && HWY_TARGET <= HWY_AVX2
inline constexpr kernels fast_table = fast_table_with<avx2_dots>(OCELLUS_TABLE_NAME(""));
inline constexpr kernels vnni_table = fast_table_with<avx2_vnni_dots>(OCELLUS_TABLE_NAME("_VNNI"));
#else
/// Without dot products of its own: only the cache differs.
inline constexpr kernels fast_table = [] {
  kernels t = table;
  t.mode = precision::fast;
  t.cache_type = cache_type_of(precision::fast);
  return t;
}();
#if OCELLUS_ARM_64
inline constexpr kernels dot_table = fast_table_with<neon_dots>(OCELLUS_TABLE_NAME("_DOT"));
#endif
#endif

#undef OCELLUS_TABLE_NAME

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
