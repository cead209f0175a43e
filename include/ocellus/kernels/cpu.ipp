// The CPU kernels, compiled for each SIMD target, and the list of those that this processor can run. The only
// file that includes Highway. A host may use Highway itself: in other files in any way, in this one before and after
// with static dispatch (highway.h without foreach_target.h, which works once a file).
#ifndef OCELLUS_KERNELS_CPU_IPP
#define OCELLUS_KERNELS_CPU_IPP

#include <iterator>

#include "ocellus/kernels/arm_dots.ipp"
#include "ocellus/kernels/cpu.hpp"
#include "ocellus/kernels/reference.ipp"
#include "ocellus/kernels/x86_bf16_attention.ipp"
#include "ocellus/kernels/x86_dots.ipp"
#include "ocellus/kernels/x86_tiles.hpp"

#if defined(HIGHWAY_HWY_FOREACH_TARGET_H_) && !defined(OCELLUS_STATIC_DISPATCH)
#error "hwy/foreach_target.h works once a file: include <ocellus/implementation.hpp> in a .cpp of its own"
#endif

// The kernels need vectors whose size is known at compile time: NEON rather than SVE. (The names become known
// later.)
#if defined(__ARM_FEATURE_SVE) && !defined(HWY_DISABLED_TARGETS)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

// Highway 1.0.3 refuses to build for the best that the compiler promises unless it may also use it at run time.
#if defined(__AVX512VBMI2__) && !defined(HWY_WANT_AVX3_DL)
#define HWY_WANT_AVX3_DL
#endif

#if defined(OCELLUS_STATIC_DISPATCH)
// Highway takes AVX2 and better for promised only together with AES and carry-less products, which are not used here.
#if defined(__AVX2__) && !defined(__AES__) && !defined(HWY_DISABLE_PCLMUL_AES)
#define HWY_DISABLE_PCLMUL_AES 1
#endif
// Highway avoids its emulated vectors with GCC below 12.3, which multiplies 16-bit integers wrongly in them
// (GCC bug 106322). There are none here, and the scalar kernels would be 50 times slower.
#if !defined(HWY_BROKEN_EMU128)
#define HWY_BROKEN_EMU128 0
#endif
#else
#include <hwy/detect_targets.h>
#if (HWY_TARGETS & (HWY_SSE4 | HWY_AVX2 | HWY_AVX3) & ~HWY_STATIC_TARGET) != 0
#if defined(HWY_HIGHWAY_INCLUDED)
#define OCELLUS_HIGHWAY_WAS_INCLUDED
#endif
#pragma push_macro("HWY_TARGET_INCLUDE")
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ocellus/kernels/targets-inl.h"
#include <hwy/foreach_target.h>
#pragma pop_macro("HWY_TARGET_INCLUDE")
#if defined(HWY_ALREADY_INCLUDED)
#include <hwy/ops/set_macros-inl.h>  // back to the static target, whose operations the host's include has brought
#endif
#endif
#endif

#include "ocellus/kernels/targets-inl.h"  // the static target

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

#if defined(OCELLUS_STATIC_DISPATCH)
#define OCELLUS_CHOSEN_AT_RUN_TIME(target) 0
#else
#define OCELLUS_CHOSEN_AT_RUN_TIME(target) ((HWY_TARGETS & (target)) != 0 && HWY_STATIC_TARGET != (target))
#endif

/// A table, and what it needs of the processor: a bit of Highway's (0: nothing beyond what the compiler was told) and
/// of x86_feature or arm_feature.
struct cpu_table {
  const kernels* table;
  std::int64_t target = 0;
  std::uint32_t features = 0;
};

#if OCELLUS_X86_64 && OCELLUS_WANTS_TARGET && HWY_STATIC_TARGET <= HWY_AVX3
#define OCELLUS_STATIC_DOT_TABLES                   \
  {&HWY_NAMESPACE::vnni_table, 0, x86_avx512_vnni}, \
      {&HWY_NAMESPACE::bf16_table, 0, x86_avx512_vnni | x86_avx512_bf16},
#elif OCELLUS_X86_64 && OCELLUS_WANTS_TARGET && HWY_STATIC_TARGET <= HWY_AVX2
#define OCELLUS_STATIC_DOT_TABLES {&HWY_NAMESPACE::vnni_table, 0, x86_avx_vnni},
#elif OCELLUS_ARM_64 && OCELLUS_WANTS_TARGET
#define OCELLUS_STATIC_DOT_TABLES {&HWY_NAMESPACE::dot_table, 0, arm_dot},
#else
#define OCELLUS_STATIC_DOT_TABLES
#endif

// Slowest first, those of both precisions.
inline constexpr cpu_table cpu_tables[] = {
    {&reference_table<precision::exact>},
    {&reference_table<precision::fast>},
#if OCELLUS_WANTS_TARGET
    {&HWY_NAMESPACE::table},
    {&HWY_NAMESPACE::fast_table},
    OCELLUS_STATIC_DOT_TABLES
#endif
#if OCELLUS_X86_TILES && OCELLUS_WANTS_TARGET && HWY_STATIC_TARGET <= HWY_AVX3
    {&HWY_NAMESPACE::amx_table, 0, x86_avx512_vnni | x86_avx512_bf16 | x86_amx_bf16},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_SSE4)
    {&N_SSE4::table, HWY_SSE4},
    {&N_SSE4::fast_table, HWY_SSE4},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_AVX2)
    {&N_AVX2::table, HWY_AVX2},
    {&N_AVX2::fast_table, HWY_AVX2},
    {&N_AVX2::vnni_table, HWY_AVX2, x86_avx_vnni},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_AVX3)
    {&N_AVX3::table, HWY_AVX3},
    {&N_AVX3::fast_table, HWY_AVX3},
    {&N_AVX3::vnni_table, HWY_AVX3, x86_avx512_vnni},
    {&N_AVX3::bf16_table, HWY_AVX3, x86_avx512_vnni | x86_avx512_bf16},
#if OCELLUS_X86_TILES
    {&N_AVX3::amx_table, HWY_AVX3, x86_avx512_vnni | x86_avx512_bf16 | x86_amx_bf16},
#endif
#endif
};
static_assert(std::size(cpu_tables) <= 2 * kernel_tables::capacity);
#undef OCELLUS_STATIC_DOT_TABLES

}  // namespace detail

kernel_tables cpu_kernels(precision mode, bool allow_amx) noexcept {
#if defined(OCELLUS_STATIC_DISPATCH)
  constexpr std::int64_t supported = 0;
#else
  const std::int64_t supported = hwy::SupportedTargets();
#endif
  const bool allow_tiles = allow_amx && mode == precision::fast;
  const std::uint32_t features =
      detail::x86_usable_features(detail::x86_features(), allow_tiles, detail::x86_ask_for_tiles) |
      detail::arm_features();
  kernel_tables tables;
  for (const detail::cpu_table& t : detail::cpu_tables) {
    const bool runs = (t.target & ~supported) == 0 && (t.features & ~features) == 0;
    if (runs && t.table->mode == mode) tables.push(t.table);
  }
  return tables;
}

const kernels* find_cpu_kernels(std::string_view name, precision mode, bool allow_amx) noexcept {
  const kernel_tables tables = cpu_kernels(mode, allow_amx);
  if (name.empty()) return tables.back();
  for (const kernels* table : tables) {
    if (name == table->name) return table;
  }
  return nullptr;
}

#if defined(OCELLUS_MODEL_TILES)
namespace detail {

const kernels* model_tiles_kernels() noexcept {
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_AVX3)
  return (hwy::SupportedTargets() & HWY_AVX3) != 0 ? &N_AVX3::model_tiles_table : nullptr;
#elif OCELLUS_X86_64 && OCELLUS_WANTS_TARGET && HWY_STATIC_TARGET <= HWY_AVX3
  return &HWY_NAMESPACE::model_tiles_table;
#else
  return nullptr;
#endif
}

}  // namespace detail
#endif

}  // namespace ocellus::inline OCELLUS_ABI

#undef OCELLUS_CHOSEN_AT_RUN_TIME
#undef OCELLUS_WANTS_TARGET

#endif  // OCELLUS_KERNELS_CPU_IPP
