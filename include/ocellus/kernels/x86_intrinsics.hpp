// The intrinsics of x86-64. GCC 12 takes the undefined vectors inside of some for mistakes of ours, so its warning is off
// where they are defined.
#ifndef OCELLUS_KERNELS_X86_INTRINSICS_HPP
#define OCELLUS_KERNELS_X86_INTRINSICS_HPP

#include <hwy/base.h>

HWY_DIAGNOSTICS(push)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4703, ignored "-Wmaybe-uninitialized")
#include <immintrin.h>
HWY_DIAGNOSTICS(pop)

#endif  // OCELLUS_KERNELS_X86_INTRINSICS_HPP
