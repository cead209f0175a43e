// The intrinsics of x86-64. GCC 12 takes the undefined vectors inside of some for mistakes of ours, so its warnings are off
// where they are defined.
#ifndef OCELLUS_KERNELS_X86_INTRINSICS_HPP
#define OCELLUS_KERNELS_X86_INTRINSICS_HPP

#include <hwy/base.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#endif  // OCELLUS_KERNELS_X86_INTRINSICS_HPP
