// The scalar twin: specification, oracle of the tests and fallback below the SIMD baseline. One row at a
// time; every sum is in double and is rounded to f32 once, when it is stored.
#ifndef OCELLUS_KERNELS_REFERENCE_IPP
#define OCELLUS_KERNELS_REFERENCE_IPP

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ocellus/kernels/reference.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

double reference_activation(activation act, double x) noexcept {
  switch (act) {
    case activation::gelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case activation::none:
      break;
  }
  return x;
}

void reference_linear(context& ctx, const matrix& x, const linear_output* outputs,
                      std::uint32_t count) noexcept {
  for (const linear_output* o = outputs; o != outputs + count; ++o) {
    const packed_matrix& w = o->weight;
    const float* bias = cpu_vector(o->bias);
    constexpr std::uint32_t block = 256;  // outputs of one task
    const std::uint32_t blocks = (w.n + block - 1) / block;
    ctx.parallel(x.rows * blocks, [&](std::uint32_t task, std::uint32_t) {
      const std::uint32_t t = task / blocks, first = task % blocks * block;
      const float* in = cpu_row(x, t);                                          // [K]
      const float* residual = o->residual ? cpu_row(o->residual, t) : nullptr;  // [N]
      float* out = cpu_row(o->out, t);                                          // [N]
      for (std::uint32_t n = first; n < (std::min)(first + block, w.n); ++n) {
        double sum = 0;
        for (std::uint32_t k = 0; k < w.k; ++k) {
          const float weight = packed_at(w.format, cpu_panels(w), cpu_scales(w), w.k, n, k);
          sum += static_cast<double>(in[k]) * static_cast<double>(weight);
        }
        if (bias != nullptr) sum += static_cast<double>(bias[n]);
        sum = reference_activation(o->act, sum);
        if (residual != nullptr) sum += static_cast<double>(residual[n]);
        out[n] = static_cast<float>(sum);
      }
      if (first + block >= w.n) cpu_zero_tail(o->out, t);
    });
  }
}

void reference_layer_norm(context& ctx, const layer_norm_args& args) noexcept {
  const float* weight = cpu_vector(args.weight);  // [K]
  const float* bias = cpu_vector(args.bias);      // [K]
  ctx.parallel(args.x.rows, [&](std::uint32_t t, std::uint32_t) {
    const float* x = cpu_row(args.x, t);  // [K]
    float* out = cpu_row(args.out, t);    // [K]
    const std::uint32_t size = args.x.cols;
    double mean = 0, variance = 0;
    for (std::uint32_t k = 0; k < size; ++k) mean += static_cast<double>(x[k]) / size;
    for (std::uint32_t k = 0; k < size; ++k) {
      const double d = static_cast<double>(x[k]) - mean;
      variance += d * d / size;
    }
    const double scale = 1 / std::sqrt(variance + static_cast<double>(args.eps));
    for (std::uint32_t k = 0; k < size; ++k) {
      const double y = (static_cast<double>(x[k]) - mean) * scale;
      out[k] = static_cast<float>(y * static_cast<double>(weight[k]) + static_cast<double>(bias[k]));
    }
    cpu_zero_tail(args.out, t);
  });
}

void reference_rms_norm(context& ctx, const rms_norm_args& args) noexcept {
  const float* weight = cpu_vector(args.weight);  // [K]
  ctx.parallel(args.x.rows, [&](std::uint32_t t, std::uint32_t) {
    const float* x = cpu_row(args.x, t);                                          // [K]
    const float* residual = args.residual ? cpu_row(args.residual, t) : nullptr;  // [K]
    float* out = cpu_row(args.out, t);                                            // [K]
    const std::uint32_t size = args.x.cols;
    double square = 0;
    for (std::uint32_t k = 0; k < size; ++k)
      square += static_cast<double>(x[k]) * static_cast<double>(x[k]) / size;
    const double scale = 1 / std::sqrt(square + static_cast<double>(args.eps));
    for (std::uint32_t k = 0; k < size; ++k) {
      double y = static_cast<double>(x[k]) * scale * static_cast<double>(weight[k]);
      if (residual != nullptr) y += static_cast<double>(residual[k]);
      out[k] = static_cast<float>(y);
    }
    cpu_zero_tail(args.out, t);
  });
}

void reference_add(context& ctx, const matrix& a, const matrix& b, const matrix& out) noexcept {
  ctx.parallel(a.rows, [&](std::uint32_t t, std::uint32_t) {
    for (std::uint32_t k = 0; k < a.cols; ++k) cpu_row(out, t)[k] = cpu_row(a, t)[k] + cpu_row(b, t)[k];
    cpu_zero_tail(out, t);
  });
}

/// A key or value row of a head as f32. to: [D]
inline void reference_read_cached(const attention_sequence& s, matrix kv_segment::*side, std::uint32_t p,
                                  std::uint32_t head, std::uint32_t head_size, float* to) noexcept {
  const std::byte* from = cpu_cached(s, side, p, head);
  const dtype type = (s.segments[0].*side).type;
  for (std::uint32_t d = 0; d < head_size; ++d) to[d] = load_as_f32(type, from, d);
}

/// Stores f32 values as what the last segment holds. from: [D]
inline void reference_write_cached(const attention_sequence& s, matrix kv_segment::*side, std::uint32_t p,
                                   std::uint32_t head, std::uint32_t head_size, const float* from) noexcept {
  std::byte* to = cpu_cached(s, side, p, head);
  if ((s.segments[s.segment_count - 1].*side).type == dtype::f32) {
    std::memcpy(to, from, head_size * sizeof(float));
  } else {
    for (std::uint32_t d = 0; d < head_size; ++d) {
      const f16 rounded = to_f16(from[d]);
      std::memcpy(to + d * sizeof(f16), &rounded, sizeof(f16));
    }
  }
}

/// One query of one head against `visible` keys.
/// q, out: [D]
inline void reference_attend(const attention_sequence& s, std::uint32_t head, std::uint32_t visible,
                             const float* q, std::uint32_t head_size, float scale, float* out) noexcept {
  float row[max_head_size];
  const auto score = [&](std::uint32_t p) {
    reference_read_cached(s, &kv_segment::k, p, head, head_size, row);
    double dot = 0;
    for (std::uint32_t d = 0; d < head_size; ++d)
      dot += static_cast<double>(q[d]) * static_cast<double>(row[d]);
    return dot * static_cast<double>(scale);
  };
  double largest = -std::numeric_limits<double>::infinity();
  for (std::uint32_t p = 0; p < visible; ++p) largest = (std::max)(largest, score(p));
  double total = 0, mixed[max_head_size] = {};
  for (std::uint32_t p = 0; p < visible; ++p) {
    const double weight = std::exp(score(p) - largest);
    total += weight;
    reference_read_cached(s, &kv_segment::v, p, head, head_size, row);
    for (std::uint32_t d = 0; d < head_size; ++d) mixed[d] += weight * static_cast<double>(row[d]);
  }
  for (std::uint32_t d = 0; d < head_size; ++d) {
    out[d] = visible == 0 ? 0.0f : static_cast<float>(mixed[d] / total);
  }
}

void reference_attention(context& ctx, const attention_args& args) noexcept {
  for (const attention_sequence* s = args.sequences; s != args.sequences + args.sequence_count; ++s) {
    std::uint32_t keys = 0;
    for (std::uint32_t i = 0; i < s->segment_count; ++i) keys += s->segments[i].k.rows;
    ctx.parallel(s->rows, [&](std::uint32_t i, std::uint32_t) {
      const std::uint32_t t = s->first_row + i;
      const std::uint32_t visible = args.causal ? (std::min)(keys, s->position + i + 1) : keys;
      for (std::uint32_t h = 0; h < args.heads; ++h) {
        if (ctx.stopped()) return;
        const std::uint32_t first = h * args.head_size;
        reference_attend(*s, h, visible, cpu_row(args.q, t) + first, args.head_size, args.scale,
                         cpu_row(args.out, t) + first);
      }
      cpu_zero_tail(args.out, t);
    });
  }
}

/// Layer norm of one head (when there are weights), then the rotation of its first `rotary` values.
/// x, out: [D]; weight, bias: [D] or null; cosines, sines: [rotary / 2]
inline void reference_norm_rotate(const float* x, const float* weight, const float* bias, double eps,
                                  std::uint32_t size, std::uint32_t rotary, const float* cosines,
                                  const float* sines, float* out) noexcept {
  double y[max_head_size];
  for (std::uint32_t d = 0; d < size; ++d) y[d] = static_cast<double>(x[d]);
  if (weight != nullptr) {
    double mean = 0, variance = 0;
    for (std::uint32_t d = 0; d < size; ++d) mean += y[d] / size;
    for (std::uint32_t d = 0; d < size; ++d) variance += (y[d] - mean) * (y[d] - mean) / size;
    for (std::uint32_t d = 0; d < size; ++d) {
      y[d] = (y[d] - mean) / std::sqrt(variance + eps) * static_cast<double>(weight[d]);
      if (bias != nullptr) y[d] += static_cast<double>(bias[d]);
    }
  }
  const std::uint32_t half = rotary / 2;
  for (std::uint32_t d = 0; d < half; ++d) {
    const double c = static_cast<double>(cosines[d]), s = static_cast<double>(sines[d]);
    out[d] = static_cast<float>(y[d] * c - y[d + half] * s);
    out[d + half] = static_cast<float>(y[d + half] * c + y[d] * s);
  }
  for (std::uint32_t d = 2 * half; d < size; ++d) out[d] = static_cast<float>(y[d]);
}

void reference_rotary_append(context& ctx, const rotary_append_args& args) noexcept {
  const std::uint32_t size = args.head_size, width = args.heads * size;
  for (const attention_sequence* s = args.sequences; s != args.sequences + args.sequence_count; ++s) {
    ctx.parallel(s->rows, [&](std::uint32_t i, std::uint32_t) {
      const std::uint32_t t = s->first_row + i, position = s->position + i;
      const float* qkv = cpu_row(args.qkv, t);  // [3 * H * D]
      const float* cosines = args.rotary_size != 0 ? cpu_row(args.cosines, position) : nullptr;
      const float* sines = args.rotary_size != 0 ? cpu_row(args.sines, position) : nullptr;
      for (std::uint32_t h = 0; h < args.heads; ++h) {
        const std::uint32_t first = h * size;
        reference_norm_rotate(qkv + first, cpu_vector(args.q_weight), cpu_vector(args.q_bias),
                              static_cast<double>(args.eps), size, args.rotary_size, cosines, sines,
                              cpu_row(args.q_out, t) + first);
        float key[max_head_size];
        reference_norm_rotate(qkv + width + first, cpu_vector(args.k_weight), cpu_vector(args.k_bias),
                              static_cast<double>(args.eps), size, args.rotary_size, cosines, sines, key);
        reference_write_cached(*s, &kv_segment::k, position, h, size, key);
        reference_write_cached(*s, &kv_segment::v, position, h, size, qkv + 2 * width + first);
      }
      cpu_zero_tail(args.q_out, t);
    });
  }
}

template <precision Mode>
inline constexpr kernels reference_table = {
    "reference",
    Mode,
    cache_type_of(Mode),
    0,
    0,
    cpu_allocate,
    cpu_release,
    cpu_wrap,
    cpu_upload,
    cpu_download,
    cpu_copy,
    reference_linear,
    reference_layer_norm,
    reference_rms_norm,
    reference_add,
    reference_attention,
    reference_rotary_append,
    cpu_embed,
};

}  // namespace detail

const kernels& reference_kernels(precision mode) noexcept {
  return mode == precision::exact ? detail::reference_table<precision::exact>
                                  : detail::reference_table<precision::fast>;
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_REFERENCE_IPP
