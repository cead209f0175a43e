// Per SIMD target: layer norm, RMS norm, addition, and the per-head norm + RoPE + append to the cache.
#ifndef OCELLUS_KERNELS_NORM_INL_H
#define OCELLUS_KERNELS_NORM_INL_H

#include <algorithm>
#include <cmath>

#include "ocellus/kernels/compat-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ocellus::inline OCELLUS_ABI {
namespace detail {
namespace HWY_NAMESPACE {

inline constexpr std::uint32_t rows_per_task = 8;  // of norms, additions and gathers

/// Runs body(row) for all rows, rows_per_task to a task.
template <class Body>
inline void for_rows(context& ctx, std::uint32_t rows, const Body& body) noexcept {
  ctx.parallel((rows + rows_per_task - 1) / rows_per_task, [&](std::uint32_t task, std::uint32_t) {
    const std::uint32_t end = (std::min)(rows, (task + 1) * rows_per_task);
    for (std::uint32_t row = task * rows_per_task; row < end; ++row) body(row);
  });
}

/// Sum of (x - shift)^Power over n values, Power 1 or 2, in four partial sums of a vector each.
/// x may be read up to the next multiple of 16.
template <int Power>
HWY_NOINLINE float sum_of_powers(const float* x, std::size_t n, float shift) {
  const f32_vec s = splat(shift);
  f32_vec sum0 = hn::Zero(f32_tag()), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  const auto add = [&](f32_vec& sum, f32_vec v) HWY_ATTR {
    if constexpr (Power == 2) {
      sum = hn::MulAdd(v, v, sum);
    } else {
      sum = hn::Add(sum, v);
    }
  };
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    add(sum0, hn::Sub(load(x + i), s));
    add(sum1, hn::Sub(load(x + i + lanes), s));
    add(sum2, hn::Sub(load(x + i + 2 * lanes), s));
    add(sum3, hn::Sub(load(x + i + 3 * lanes), s));
  }
  for (; i < n; i += lanes) add(sum0, first_lanes(n - i, hn::Sub(load(x + i), s)));
  return sum_of_lanes(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

/// 1 / sqrt(sum / n + eps)
inline float inverse_deviation(float sum, std::size_t n, float eps) {
  return static_cast<float>(
      1 / std::sqrt(static_cast<double>(sum) / static_cast<double>(n) + static_cast<double>(eps)));
}

/// out = (x - mean) * scale * weight + add; add: a bias or a residual row, or null. All [n].
HWY_NOINLINE void scale_row(const float* x, float mean, float scale, const float* weight, const float* add,
                            std::size_t n, float* out) {
  const f32_vec m = splat(mean), s = splat(scale);
  for (std::size_t i = 0; i < n; i += lanes) {
    const f32_vec y = hn::Mul(hn::Sub(load(x + i), m), s);
    const f32_vec w = load(weight + i);
    store(add != nullptr ? hn::MulAdd(y, w, load(add + i)) : hn::Mul(y, w), out + i);
  }
  zero_fill(out, n, round_up<std::size_t>(n, column_pad));
}

void layer_norm(context& ctx, const layer_norm_args& args) noexcept {
  for_rows(ctx, args.x.rows, [&](std::uint32_t t) {
    const float* x = cpu_row(args.x, t);
    const std::size_t n = args.x.cols;
    const float mean = sum_of_powers<1>(x, n, 0.0f) / static_cast<float>(n);
    const float scale = inverse_deviation(sum_of_powers<2>(x, n, mean), n, args.eps);
    scale_row(x, mean, scale, cpu_vector(args.weight), cpu_vector(args.bias), n, cpu_row(args.out, t));
  });
}

void rms_norm(context& ctx, const rms_norm_args& args) noexcept {
  for_rows(ctx, args.x.rows, [&](std::uint32_t t) {
    const float* x = cpu_row(args.x, t);
    const std::size_t n = args.x.cols;
    const float scale = inverse_deviation(sum_of_powers<2>(x, n, 0.0f), n, args.eps);
    const float* residual = args.residual ? cpu_row(args.residual, t) : nullptr;
    scale_row(x, 0.0f, scale, cpu_vector(args.weight), residual, n, cpu_row(args.out, t));
  });
}

/// out = a + b; all [n].
HWY_NOINLINE void add_row(const float* a, const float* b, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; i += lanes) store(hn::Add(load(a + i), load(b + i)), out + i);
  zero_fill(out, n, round_up<std::size_t>(n, column_pad));
}

void add(context& ctx, const matrix& a, const matrix& b, const matrix& out) noexcept {
  for_rows(ctx, a.rows,
           [&](std::uint32_t t) { add_row(cpu_row(a, t), cpu_row(b, t), a.cols, cpu_row(out, t)); });
}

/// Layer norm of one head (when there are weights), then the rotation of its first `rotary` values in halves.
/// Exactly the head's own values are read and written: whole vectors first, the rest one by one. x, out: [n];
/// weight, bias: [n] or null; cosines, sines: [rotary / 2]
HWY_NOINLINE void norm_and_rotate(const float* x, const float* weight, const float* bias, float eps,
                                  std::size_t n, std::size_t rotary, const float* cosines, const float* sines,
                                  float* out) {
  const std::size_t whole = n / lanes * lanes;
  float y[max_head_size];
  if (weight != nullptr) {
    f32_vec sum = hn::Zero(f32_tag());
    for (std::size_t i = 0; i < whole; i += lanes) sum = hn::Add(sum, load(x + i));
    float total = sum_of_lanes(sum);
    for (std::size_t i = whole; i < n; ++i) total += x[i];
    const float mean = total / static_cast<float>(n);
    sum = hn::Zero(f32_tag());
    for (std::size_t i = 0; i < whole; i += lanes) {
      const f32_vec d = hn::Sub(load(x + i), splat(mean));
      sum = hn::MulAdd(d, d, sum);
    }
    total = sum_of_lanes(sum);
    for (std::size_t i = whole; i < n; ++i) total += (x[i] - mean) * (x[i] - mean);
    const float scale = inverse_deviation(total, n, eps);
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = (x[i] - mean) * scale * weight[i] + (bias != nullptr ? bias[i] : 0.0f);
    }
    x = y;
  }
  const std::size_t half = rotary / 2;
  std::size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const f32_vec c = load(cosines + i), s = load(sines + i), a = load(x + i), b = load(x + i + half);
    store(hn::NegMulAdd(b, s, hn::Mul(a, c)), out + i);
    store(hn::MulAdd(a, s, hn::Mul(b, c)), out + i + half);
  }
  for (; i < half; ++i) {
    out[i] = x[i] * cosines[i] - x[i + half] * sines[i];
    out[i + half] = x[i + half] * cosines[i] + x[i] * sines[i];
  }
  std::memcpy(out + 2 * half, x + 2 * half, (n - 2 * half) * sizeof(float));
}

void rotary_append(context& ctx, const rotary_append_args& args) noexcept {
  constexpr std::uint32_t task_heads = 8;
  const std::uint32_t size = args.head_size, width = args.heads * size;
  const std::uint32_t parts = (args.heads + task_heads - 1) / task_heads;
  for (const attention_sequence* s = args.sequences; s != args.sequences + args.sequence_count; ++s) {
    ctx.parallel(s->rows * parts, [&](std::uint32_t task, std::uint32_t) {
      const std::uint32_t i = task / parts, first_head = task % parts * task_heads;
      const std::uint32_t t = s->first_row + i, position = s->position + i;
      const float* qkv = cpu_row(args.qkv, t);  // [3 * H * D]
      float* q_out = cpu_row(args.q_out, t);    // [H * D]
      const float* cosines = args.rotary_size != 0 ? cpu_row(args.cosines, position) : nullptr;
      const float* sines = args.rotary_size != 0 ? cpu_row(args.sines, position) : nullptr;
      for (std::uint32_t h = first_head; h < (std::min)(first_head + task_heads, args.heads); ++h) {
        const std::uint32_t at = h * size;
        norm_and_rotate(qkv + at, cpu_vector(args.q_weight), cpu_vector(args.q_bias), args.eps, size,
                        args.rotary_size, cosines, sines, q_out + at);
        norm_and_rotate(qkv + width + at, cpu_vector(args.k_weight), cpu_vector(args.k_bias), args.eps, size,
                        args.rotary_size, cosines, sines, cpu_cached(*s, &kv_segment::k, position, h));
        std::memcpy(cpu_cached(*s, &kv_segment::v, position, h), qkv + 2 * width + at, size * sizeof(float));
      }
      if (first_head + task_heads >= args.heads) zero_fill(q_out, width, round_up(width, column_pad));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_NORM_INL_H
