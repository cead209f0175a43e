// What Highway's foreach_target.h includes once for each target that it enables: the kernels for those that
// we want. No guard of its own: it is skipped by its condition.
//
// Few targets, because each costs seconds of compile time: SSE4, AVX2 and AVX-512, and whatever the
// compiler's flags already promise (SSE2 where Highway has it, NEON on Arm). What lies between or above them
// (SSSE3, AVX3_DL, ...) adds no instruction that these kernels use. HWY_SCALAR never pays; emulated vectors
// do in a static build only, where nothing else may be there.
#include <hwy/detect_targets.h>

#undef OCELLUS_WANTS_TARGET
#if HWY_TARGET == HWY_SCALAR || (HWY_TARGET == HWY_EMU128 && !defined(OCELLUS_STATIC_DISPATCH))
#define OCELLUS_WANTS_TARGET 0
#elif HWY_TARGET == HWY_SVE || HWY_TARGET == HWY_SVE2 || HWY_TARGET == HWY_SVE_256 || \
    HWY_TARGET == HWY_SVE2_128 || HWY_TARGET == HWY_RVV
#define OCELLUS_WANTS_TARGET 0  // vectors of no fixed size
#elif HWY_TARGET == HWY_STATIC_TARGET || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || \
    HWY_TARGET == HWY_AVX3
#define OCELLUS_WANTS_TARGET 1
#else
#define OCELLUS_WANTS_TARGET 0
#endif

#if OCELLUS_WANTS_TARGET
#if defined(OCELLUS_HIGHWAY_WAS_INCLUDED)
// The host included highway.h for the static target before. foreach_target.h allows for that, but Highway's guards, which
// were flipped by the host's include, would make it skip the first of these targets.
#undef OCELLUS_HIGHWAY_WAS_INCLUDED
#define HWY_TARGET_TOGGLE
#define HWY_SET_MACROS_PER_TARGET
#endif
#include "ocellus/kernels/cpu-inl.h"
#elif HWY_TARGET != HWY_STATIC_TARGET
// Highway flips this after each target so that guarded headers are seen again; a target that includes nothing
// must not count.
#ifdef HWY_TARGET_TOGGLE
#undef HWY_TARGET_TOGGLE
#else
#define HWY_TARGET_TOGGLE
#endif
#endif
