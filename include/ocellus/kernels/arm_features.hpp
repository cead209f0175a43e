// What a 64-bit Arm processor can do beyond what Highway's NEON targets take for granted.
#ifndef OCELLUS_KERNELS_ARM_FEATURES_HPP
#define OCELLUS_KERNELS_ARM_FEATURES_HPP

#include <cstdint>

#include "ocellus/config.hpp"

// GCC, and Clang from 16 on, compile the instructions for processors that may lack them; others need them promised.
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) || (defined(__GNUC__) && !defined(__clang__)) || \
                             (defined(__clang__) && __clang_major__ >= 16))
#define OCELLUS_ARM_64 1
#if defined(__linux__) && !defined(__ARM_FEATURE_DOTPROD)
#include <sys/auxv.h>
#endif
#else
#define OCELLUS_ARM_64 0
#endif

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

enum arm_feature : std::uint32_t {
  arm_dot = 1u << 16,  ///< int8 dot products (FEAT_DotProd: Cortex-A55, A75 and later, Apple A11 and later)
};

/// The features of this processor.
[[nodiscard]] inline std::uint32_t arm_features() noexcept {
#if !OCELLUS_ARM_64
  return 0;
#elif defined(__ARM_FEATURE_DOTPROD)
  return arm_dot;
#elif defined(__linux__)
  constexpr unsigned long hwcap_asimddp = 1ul << 20;  // as Linux's asm/hwcap.h says
  return (getauxval(AT_HWCAP) & hwcap_asimddp) != 0 ? std::uint32_t{arm_dot} : 0;
#else
  return 0;
#endif
}

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_ARM_FEATURES_HPP
