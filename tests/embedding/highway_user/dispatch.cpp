// The program's own run-time dispatch, in a file that includes ocellus as well.
#include <ocellus/ocellus.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sum-inl.h"
#include <hwy/foreach_target.h>

#include "sum-inl.h"

namespace program {

HWY_EXPORT(sum);

float dispatched_sum(const float* x, size_t n) { return HWY_DYNAMIC_DISPATCH(sum)(x, n); }

}  // namespace program
