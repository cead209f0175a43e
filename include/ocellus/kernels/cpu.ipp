// The CPU kernels, compiled for each SIMD target, and the list of those that this processor can run. The only
// file that includes Highway. A host may use Highway itself: in other files in any way, in this one before and after
// with static dispatch (highway.h without foreach_target.h, which works once a file).
#ifndef OCELLUS_KERNELS_CPU_IPP
#define OCELLUS_KERNELS_CPU_IPP

#include "ocellus/kernels/cpu.hpp"
#include "ocellus/kernels/reference.ipp"

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

// Tables whose instructions Highway's oldest supported version does not reach build on its AVX-512 kernels: those chosen
// at run time, or those of a static target that is at least as good.
#if defined(__x86_64__) && !defined(_MSC_VER)
#if HWY_STATIC_TARGET <= HWY_AVX3
#if !defined(OCELLUS_STATIC_DISPATCH) || (defined(__AVX512BF16__) && defined(__AVX512VNNI__))
#define OCELLUS_AVX512_KERNELS HWY_NAMESPACE
#define OCELLUS_AVX512_NEEDS 0
#endif
#elif !defined(OCELLUS_STATIC_DISPATCH) && (HWY_TARGETS & HWY_AVX3) != 0
#define OCELLUS_AVX512_KERNELS N_AVX3
#define OCELLUS_AVX512_NEEDS HWY_AVX3
#endif
#endif

#if defined(OCELLUS_AVX512_KERNELS)
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace avx512 = OCELLUS_AVX512_KERNELS;
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
#include "ocellus/kernels/attention_bf16.ipp"
#include "ocellus/kernels/x86_features.hpp"
#endif

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

#if defined(OCELLUS_STATIC_DISPATCH)
#define OCELLUS_CHOSEN_AT_RUN_TIME(target) 0
#else
#define OCELLUS_CHOSEN_AT_RUN_TIME(target) ((HWY_TARGETS & (target)) != 0 && HWY_STATIC_TARGET != (target))
#endif

#if defined(OCELLUS_AVX512_KERNELS)
/// AVX-512 with dot products of bf16.
inline constexpr kernels avx512_bf16_table = [] {
  kernels table = avx512::table<precision::fast>;
  table.name = "AVX3_BF16";
  table.scratch_bytes_per_worker = (std::max)(table.scratch_bytes_per_worker, avx512_bf16::scratch_bytes);
  table.attention = avx512_bf16::attention;
  return table;
}();
#endif

/// The tables of a target, and what it needs of the processor beyond what the compiler was told.
struct cpu_target {
  const kernels* exact;  // null: there is nothing better for it than the one before
  const kernels* fast;
  std::int64_t needs;                       // bits of Highway's
  bool (*also_needs)() noexcept = nullptr;  // or null
};

// Slowest first.
inline constexpr cpu_target cpu_targets[] = {
    {&reference_table<precision::exact>, &reference_table<precision::fast>, 0},
#if OCELLUS_WANTS_TARGET
    {&HWY_NAMESPACE::table<precision::exact>, &HWY_NAMESPACE::table<precision::fast>, 0},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_SSE4)
    {&N_SSE4::table<precision::exact>, &N_SSE4::table<precision::fast>, HWY_SSE4},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_AVX2)
    {&N_AVX2::table<precision::exact>, &N_AVX2::table<precision::fast>, HWY_AVX2},
#endif
#if OCELLUS_CHOSEN_AT_RUN_TIME(HWY_AVX3)
    {&N_AVX3::table<precision::exact>, &N_AVX3::table<precision::fast>, HWY_AVX3},
#endif
#if defined(OCELLUS_AVX512_KERNELS)
    {nullptr, &avx512_bf16_table, OCELLUS_AVX512_NEEDS, x86_has_avx512_bf16},
#endif
};

}  // namespace detail

kernel_tables cpu_kernels(precision mode) noexcept {
#if defined(OCELLUS_STATIC_DISPATCH)
  constexpr std::int64_t supported = 0;
#else
  const std::int64_t supported = hwy::SupportedTargets();
#endif
  kernel_tables tables;
  for (const detail::cpu_target& t : detail::cpu_targets) {
    const kernels* table = mode == precision::exact ? t.exact : t.fast;
    if (table == nullptr || (t.needs & ~supported) != 0) continue;
    if (t.also_needs == nullptr || t.also_needs()) tables.push(table);
  }
  return tables;
}

const kernels* find_cpu_kernels(std::string_view name, precision mode) noexcept {
  const kernel_tables tables = cpu_kernels(mode);
  if (name.empty()) return tables.back();
  for (const kernels* table : tables) {
    if (name == table->name) return table;
  }
  return nullptr;
}

}  // namespace ocellus::inline OCELLUS_ABI

#undef OCELLUS_AVX512_KERNELS
#undef OCELLUS_AVX512_NEEDS
#undef OCELLUS_CHOSEN_AT_RUN_TIME
#undef OCELLUS_WANTS_TARGET

#endif  // OCELLUS_KERNELS_CPU_IPP
