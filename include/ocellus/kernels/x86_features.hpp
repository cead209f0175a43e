// Instructions of x86-64 that Highway's oldest supported version does not know of, asked from the processor. Only where
// AVX-512 is there (hwy::SupportedTargets says so, and that the system saves its registers).
#ifndef OCELLUS_KERNELS_X86_FEATURES_HPP
#define OCELLUS_KERNELS_X86_FEATURES_HPP

#include <cpuid.h>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Dot products of bf16, and of bytes.
[[nodiscard]] inline bool x86_has_avx512_bf16() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (ecx >> 11 & 1) == 0)
    return false;  // AVX512_VNNI
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 5 & 1) != 0;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_X86_FEATURES_HPP
