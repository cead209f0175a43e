// Per SIMD target: exp and the two GELUs on vectors of f32, good to a few units in the last place of the
// result.
#ifndef OCELLUS_KERNELS_MATH_INL_H
#define OCELLUS_KERNELS_MATH_INL_H

#include "ocellus/kernels/compat-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

/// e^x: relative error below 2e-7. 0 below -87, held at e^88 above 88; NaN stays NaN.
/// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2; the polynomial is the minimax one of degree 6 in
/// relative error (1.9e-9 before rounding).
HWY_INLINE f32_vec exp_f32(f32_vec x) {
  const f32_tag d;
  const f32_vec lowest = splat(-87.0f);
  // Not Max and Min, which treat NaN differently on each target: with comparisons it passes.
  const auto vanishes = hn::Lt(x, lowest);
  f32_vec y = hn::IfThenElse(vanishes, lowest, x);
  y = hn::IfThenElse(hn::Gt(y, splat(88.0f)), splat(88.0f), y);
  const f32_vec n = hn::Round(hn::Mul(y, splat(1.44269504f)));
  // ln 2 in two parts; the first has 10 bits, so that n times it is exact.
  f32_vec r = hn::NegMulAdd(n, splat(0.693359375f), y);
  r = hn::NegMulAdd(n, splat(-2.12194440e-4f), r);
  f32_vec p = splat(1.38367428e-3f);
  p = hn::MulAdd(p, r, splat(8.37489806e-3f));
  p = hn::MulAdd(p, r, splat(4.16682318e-2f));
  p = hn::MulAdd(p, r, splat(1.66664192e-1f));
  p = hn::MulAdd(p, r, splat(4.99999920e-1f));
  p = hn::MulAdd(p, r, splat(1.00000004f));
  p = hn::MulAdd(p, r, splat(1.0f));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(i32_tag(), n), hn::Set(i32_tag(), 127)));
  return hn::IfThenZeroElse(vanishes, hn::Mul(p, hn::BitCast(d, power)));
}

/// x Phi(x), Phi the normal distribution function: x/2 (1 + erf(x / sqrt 2)), without the cancellation of
/// that form for x < 0. Phi(-t) = e^(-t^2/2) g(u) / 2 with u = 1 / (1 + 0.3 t), t >= 0; g is the minimax
/// polynomial u * p(u) of degree 10 for relative error on t in [0, 14] (3.4e-9 before rounding).
HWY_INLINE f32_vec gelu_f32(f32_vec x) {
  const f32_vec t = hn::Abs(x), one = splat(1.0f);
  const f32_vec u = hn::Div(one, hn::MulAdd(t, splat(0.3f), one));
  f32_vec p = splat(-0.0412266837f);
  p = hn::MulAdd(p, u, splat(0.2247570978f));
  p = hn::MulAdd(p, u, splat(-0.4561479699f));
  p = hn::MulAdd(p, u, splat(0.3831804855f));
  p = hn::MulAdd(p, u, splat(-0.1585087154f));
  p = hn::MulAdd(p, u, splat(0.1921230638f));
  p = hn::MulAdd(p, u, splat(0.1568486561f));
  p = hn::MulAdd(p, u, splat(0.2204551692f));
  p = hn::MulAdd(p, u, splat(0.2391456219f));
  p = hn::MulAdd(p, u, splat(0.2393732712f));
  const f32_vec tail = hn::Mul(hn::Mul(p, u), exp_f32(hn::Mul(hn::Mul(t, t), splat(-0.5f))));  // 2 Phi(-t)
  const f32_vec half = hn::Mul(x, splat(0.5f));
  const f32_vec small_side = hn::Mul(half, tail);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(f32_tag())), small_side, hn::Sub(x, small_side));
}

/// x/2 (1 + tanh(v)) = x / (1 + e^(-2v)) with v = sqrt(2/pi) (x + 0.044715 x^3).
HWY_INLINE f32_vec gelu_tanh_f32(f32_vec x) {
  const f32_vec one = splat(1.0f);
  const f32_vec cubic =
      hn::MulAdd(hn::Mul(x, x), splat(-2.0f * 0.7978845608f * 0.044715f), splat(-2.0f * 0.7978845608f));
  return hn::Div(x, hn::Add(one, exp_f32(hn::Mul(x, cubic))));
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_MATH_INL_H
