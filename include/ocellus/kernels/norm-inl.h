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

/// Layer norm of one head (when there are weights), then the rotation of its first `rotary` values in halves. x, weight
/// and bias may be read up to the next multiple of 16. x: [n]; weight, bias: [n] or null; cosines, sines: [rotary / 2];
/// y: [n], and room for whole vectors
HWY_NOINLINE void norm_and_rotate(const float* x, const float* weight, const float* bias, float eps,
                                  std::size_t n, std::size_t rotary, const float* cosines, const float* sines,
                                  float* HWY_RESTRICT y) {
  if (weight != nullptr) {
    f32_vec sum = hn::Zero(f32_tag());
    for (std::size_t i = 0; i < n; i += lanes) sum = hn::Add(sum, first_lanes(n - i, load(x + i)));
    const f32_vec mean = splat(sum_of_lanes(sum) / static_cast<float>(n));
    sum = hn::Zero(f32_tag());
    for (std::size_t i = 0; i < n; i += lanes) {
      const f32_vec d = first_lanes(n - i, hn::Sub(load(x + i), mean));
      sum = hn::MulAdd(d, d, sum);
    }
    const f32_vec scale = splat(inverse_deviation(sum_of_lanes(sum), n, eps));
    for (std::size_t i = 0; i < n; i += lanes) {
      const f32_vec v = hn::Mul(hn::Sub(load(x + i), mean), scale), w = load(weight + i);
      store(bias != nullptr ? hn::MulAdd(v, w, load(bias + i)) : hn::Mul(v, w), y + i);
    }
  } else {
    std::memcpy(y, x, n * sizeof(float));
  }
  const std::size_t half = rotary / 2;
  std::size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const f32_vec c = load(cosines + i), s = load(sines + i), a = load(y + i), b = load(y + i + half);
    store(hn::NegMulAdd(b, s, hn::Mul(a, c)), y + i);
    store(hn::MulAdd(a, s, hn::Mul(b, c)), y + i + half);
  }
  for (; i < half; ++i) {
    const float a = y[i], b = y[i + half];
    y[i] = a * cosines[i] - b * sines[i];
    y[i + half] = b * cosines[i] + a * sines[i];
  }
}

/// n values into a cache.
HWY_NOINLINE void store_cached(const float* from, std::size_t n, dtype type, std::byte* to) {
  if (type == dtype::f32) {
    std::memcpy(to, from, n * sizeof(float));
    return;
  }
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) store_f16(load(from + i), to + i * sizeof(f16));
  for (; i < n; ++i) {
    const f16 rounded = to_f16(from[i]);
    std::memcpy(to + i * sizeof(f16), &rounded, sizeof(f16));
  }
}

/// A row is a task: one of 32 heads of 80 takes two microseconds, less than waking a worker.
void rotary_append(context& ctx, const rotary_append_args& args) noexcept {
  const std::uint32_t size = args.head_size, width = args.heads * size;
  for (const attention_sequence* s = args.sequences; s != args.sequences + args.sequence_count; ++s) {
    const dtype type = s->segments[s->segment_count - 1].k.type;
    ctx.parallel(s->rows, [&](std::uint32_t i, std::uint32_t) {
      const std::uint32_t t = s->first_row + i, position = s->position + i;
      const float* qkv = cpu_row(args.qkv, t);  // [3 * H * D]
      float* q_out = cpu_row(args.q_out, t);    // [H * D]
      const float* cosines = args.rotary_size != 0 ? cpu_row(args.cosines, position) : nullptr;
      const float* sines = args.rotary_size != 0 ? cpu_row(args.sines, position) : nullptr;
      float y[max_head_size];
      // The heads' places in the cache are far apart: all are fetched at once instead of one after the other.
      for (std::uint32_t h = 0; h < args.heads; ++h) {
        for (std::uint64_t byte = 0; byte < size * (bits_of(type) / 8); byte += line_bytes) {
          prefetch_to_store(cpu_cached(*s, &kv_segment::k, position, h) + byte);
          prefetch_to_store(cpu_cached(*s, &kv_segment::v, position, h) + byte);
        }
      }
      for (std::uint32_t h = 0; h < args.heads; ++h) {
        const float* from = qkv + h * size;
        norm_and_rotate(from, cpu_vector(args.q_weight), cpu_vector(args.q_bias), args.eps, size,
                        args.rotary_size, cosines, sines, y);
        std::memcpy(q_out + h * size, y, size * sizeof(float));
        norm_and_rotate(from + width, cpu_vector(args.k_weight), cpu_vector(args.k_bias), args.eps, size,
                        args.rotary_size, cosines, sines, y);
        store_cached(y, size, type, cpu_cached(*s, &kv_segment::k, position, h));
        store_cached(from + 2 * width, size, type, cpu_cached(*s, &kv_segment::v, position, h));
      }
      zero_fill(q_out, width, round_up(width, column_pad));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI
HWY_AFTER_NAMESPACE();

#endif  // OCELLUS_KERNELS_NORM_INL_H
