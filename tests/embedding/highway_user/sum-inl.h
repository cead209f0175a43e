// The program's own kernel, compiled once for each target.
#if defined(SUM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SUM_INL_H
#undef SUM_INL_H
#else
#define SUM_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace program {
namespace HWY_NAMESPACE {

inline float sum(const float* x, size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  for (size_t i = 0; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) sum = hn::Add(sum, hn::LoadU(d, x + i));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace program
HWY_AFTER_NAMESPACE();

#endif
