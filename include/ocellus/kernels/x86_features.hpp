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
  x86_amx_bf16 =
      1u << 3,  ///< tiles and their products of bf16, whose state the system keeps: see x86_tiles.hpp
};

/// The features that CPUID's function 7 tells of, parts 0 and 1: eax, ebx, ecx, edx. xcr0: the states that the system keeps.
[[nodiscard]] constexpr std::uint32_t x86_features_of(const unsigned (&leaf7_0)[4],
                                                      const unsigned (&leaf7_1)[4],
                                                      std::uint64_t xcr0) noexcept {
  const auto bit = [](std::uint64_t word, int i) { return (word >> i & 1) != 0; };
  std::uint32_t found = 0;
  if (bit(leaf7_0[2], 11)) found |= x86_avx512_vnni;
  if (bit(leaf7_1[0], 4)) found |= x86_avx_vnni;
  if (bit(leaf7_1[0], 5)) found |= x86_avx512_bf16;
  const bool amx_tile = bit(leaf7_0[3], 24), amx_bf16 = bit(leaf7_0[3], 22);
  if (amx_tile && amx_bf16 && bit(xcr0, 17) && bit(xcr0, 18)) found |= x86_amx_bf16;
  return found;
}

/// XCR0: the states of the processor that the system keeps for each thread; 0 where we cannot tell.
[[nodiscard]] inline std::uint64_t x86_kept_states() noexcept {
#if OCELLUS_X86_64 && (defined(__GNUC__) || defined(__clang__))
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned osxsave = 1u << 27;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & osxsave) == 0) return 0;
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return std::uint64_t{edx} << 32 | eax;
#else
  return 0;  // only tiles are asked for, and they are used with these compilers
#endif
}

/// The features of this processor.
[[nodiscard]] inline std::uint32_t x86_features() noexcept {
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
  return x86_features_of(leaf0, leaf1, x86_kept_states());
#else
  return 0;
#endif
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_X86_FEATURES_HPP
