// What an x86-64 processor can do beyond the SIMD targets that Highway tells apart. The state of the vector registers
// needs no question of its own: whoever asks has a table of a Highway target that includes it.
#ifndef OCELLUS_KERNELS_X86_FEATURES_HPP
#define OCELLUS_KERNELS_X86_FEATURES_HPP

#include <cstdint>

#include "ocellus/config.hpp"

#if defined(__x86_64__) || defined(_M_X64)
#define OCELLUS_X86_64 1
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#else
#define OCELLUS_X86_64 0
#endif

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Instructions that fast tables need beside their Highway target.
enum x86_feature : std::uint32_t {
  x86_avx_vnni = 1u << 0,     ///< int8 dot products of 256 bits in AVX encoding
  x86_avx512_vnni = 1u << 1,  ///< int8 dot products of 512 bits
  x86_avx512_bf16 = 1u << 2,  ///< bf16 dot products of 512 bits
};

/// The features of this processor.
[[nodiscard]] inline std::uint32_t x86_features() noexcept {
  std::uint32_t found = 0;
#if OCELLUS_X86_64
  unsigned leaf0[4] = {}, leaf1[4] = {};  // of function 7: eax, ebx, ecx, edx
#if defined(_MSC_VER) && !defined(__clang__)
  int words[4];
  __cpuid(words, 0);
  if (words[0] < 7) return 0;
  __cpuidex(words, 7, 0);
  for (int i = 0; i < 4; ++i) leaf0[i] = static_cast<unsigned>(words[i]);
  if (leaf0[0] >= 1) __cpuidex(words, 7, 1);
  for (int i = 0; i < 4 && leaf0[0] >= 1; ++i) leaf1[i] = static_cast<unsigned>(words[i]);
#else
  if (__get_cpuid_count(7, 0, &leaf0[0], &leaf0[1], &leaf0[2], &leaf0[3]) == 0) return 0;
  if (leaf0[0] >= 1) __get_cpuid_count(7, 1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]);
#endif
  if ((leaf0[2] >> 11 & 1) != 0) found |= x86_avx512_vnni;
  if ((leaf1[0] >> 4 & 1) != 0) found |= x86_avx_vnni;
  if ((leaf1[0] >> 5 & 1) != 0) found |= x86_avx512_bf16;
#endif
  return found;
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_X86_FEATURES_HPP
