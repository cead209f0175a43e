// Highway in the same file, after ocellus and, without run-time dispatch, before it too (Highway's foreach_target.h, which
// dispatch needs, must be the first of Highway that a file sees).
#if defined(OCELLUS_STATIC_DISPATCH)
#include <hwy/highway.h>

static float sum_before(const float* x, std::size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  for (std::size_t i = 0; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) sum = hn::Add(sum, hn::LoadU(d, x + i));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}
#endif

#include <ocellus/implementation.hpp>

#include <hwy/highway.h>

static float sum_after(const float* x, std::size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::CappedTag<float, 4> d;
  auto sum = hn::Zero(d);
  for (std::size_t i = 0; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) sum = hn::Add(sum, hn::LoadU(d, x + i));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

bool same_file_works() {
  float x[64];
  for (int i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
#if defined(OCELLUS_STATIC_DISPATCH)
  if (sum_before(x, 64) != 2016.0f) return false;
#endif
  return sum_after(x, 64) == 2016.0f;
}
