// Phi-2, the forward pass.
#ifndef OCELLUS_MODEL_PHI_IPP
#define OCELLUS_MODEL_PHI_IPP

#include <cmath>

#include "ocellus/model/phi.hpp"

namespace ocellus::inline OCELLUS_ABI {

namespace detail {

[[nodiscard]] inline std::uint64_t cache_stride(const phi_config& c) noexcept {
  return round_up<std::uint64_t>(c.head_size(), panel_rows);
}

}  // namespace detail

checked kv_cache::bytes(const phi_config& c, dtype type, std::uint32_t positions) noexcept {
  return checked(2) * c.layers * c.heads * positions * detail::cache_stride(c) * (bits_of(type) / 8);
}

kv_cache::kv_cache(const phi_config& c, dtype type, const buffer& memory, std::uint32_t positions) noexcept
    : handle_(memory.handle),
      type_(type),
      positions_(positions),
      head_size_(c.head_size()),
      heads_(c.heads),
      stride_(detail::cache_stride(c)) {}

kv_segment kv_cache::segment(std::uint32_t layer, std::uint32_t length) const noexcept {
  const std::uint64_t per_head = positions_ * stride_;
  const std::uint64_t half = heads_ * per_head * (bits_of(type_) / 8);
  kv_segment s;
  s.k = {handle_, 2 * layer * half, type_, length, head_size_, stride_};
  s.v = s.k;
  s.v.offset += half;
  s.head_stride = per_head;
  return s;
}

matrix kv_cache::positions(const phi_config& c, std::uint32_t first, std::uint32_t count) const noexcept {
  const std::uint64_t per_head = positions_ * stride_;
  return {handle_,
          first * stride_ * (bits_of(type_) / 8),
          type_,
          2 * c.layers * heads_,
          static_cast<std::uint32_t>(count * stride_),
          per_head};
}

void rotary_tables(const phi_config& c, std::uint32_t positions, std::span<float> cosines,
                   std::span<float> sines) noexcept {
  const std::uint32_t half = c.rotary_size / 2;
  for (std::uint32_t i = 0; i < half; ++i) {
    // The reference rounds the frequency and the angle to f32; at position 2047 that is 1e-4 of a turn away from the
    // angle in double, so the same roundings are made here.
    const double exponent =
        static_cast<double>(static_cast<float>(2 * i) / static_cast<float>(c.rotary_size));
    const float power = static_cast<float>(std::pow(static_cast<double>(c.rope_theta), exponent));
    const float frequency = 1.0f / power;
    for (std::uint32_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      cosines[std::size_t{p} * half + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      sines[std::size_t{p} * half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
}

phi_buffers phi_buffers::plan(workspace& space, const phi_config& c, std::uint32_t rows) noexcept {
  phi_buffers b;
  b.x = space.activations(rows, c.width);
  b.y = space.activations(rows, c.width);
  b.h = space.activations(rows, c.width);
  b.qkv = space.activations(rows, 3 * c.width);
  b.q = space.activations(rows, c.width);
  b.attended = space.activations(rows, c.width);
  b.dense = space.activations(rows, c.width);
  b.mlp = space.activations(rows, c.mlp_width);
  return b;
}

phi_buffers phi_buffers::first(std::uint32_t rows) const noexcept {
  phi_buffers b = *this;
  for (matrix* m : {&b.x, &b.y, &b.h, &b.qkv, &b.q, &b.attended, &b.dense, &b.mlp}) *m = m->slice(0, rows);
  return b;
}

void phi_forward(steps& run, const phi_config& c, const phi_weights& w, const phi_pass& p) noexcept {
  const phi_buffers& b = p.buffers;
  const auto count = static_cast<std::uint32_t>(p.sequences.size());
  rotary_append_args rotate;
  rotate.qkv = b.qkv;
  rotate.heads = c.heads;
  rotate.head_size = c.head_size();
  rotate.rotary_size = c.rotary_size;
  rotate.eps = c.eps;
  rotate.cosines = p.cosines;
  rotate.sines = p.sines;
  rotate.q_out = b.q;

  attention_args attend;
  attend.q = b.q;
  attend.out = b.attended;
  attend.heads = c.heads;
  attend.head_size = c.head_size();
  attend.scale = 1.0f / std::sqrt(static_cast<float>(c.head_size()));
  attend.causal = true;

  matrix x = p.input;
  for (std::uint32_t i = 0; i < c.layers; ++i) {
    const phi_layer_weights& l = w.layers[i];
    const auto sequence = [&](std::uint32_t n) {
      const phi_sequence& from = p.sequences[n];
      attention_sequence s;
      s.first_row = from.first_row;
      s.rows = from.rows;
      s.position = from.position;
      if (from.prefix_length != 0) s.segments[s.segment_count++] = from.prefix.segment(i, from.prefix_length);
      s.segments[s.segment_count++] = from.tail.segment(i, from.position + from.rows - from.prefix_length);
      return s;
    };
    rotate.q_weight = l.q_norm.weight, rotate.q_bias = l.q_norm.bias;
    rotate.k_weight = l.k_norm.weight, rotate.k_bias = l.k_norm.bias;

    // Attention and MLP run in parallel from the same norm: x = x + post(dense(attention(h))) + fc2(gelu(fc1(h))).
    run.layer_norm({.x = x, .weight = l.norm.weight, .bias = l.norm.bias, .eps = c.eps, .out = b.h});
    run.linear(b.h,
               {{.weight = l.qkv.weight, .bias = l.qkv.bias, .out = b.qkv},
                {.weight = l.fc1.weight, .bias = l.fc1.bias, .act = activation::gelu_tanh, .out = b.mlp}});
    run.rotary_append(rotate, count, sequence);
    run.attention(attend, count, sequence);
    run.linear(b.mlp, {{.weight = l.fc2.weight, .bias = l.fc2.bias, .residual = x, .out = b.y}});
    if (c.post_norm) {
      run.linear(b.attended, {{.weight = l.dense.weight, .bias = l.dense.bias, .out = b.dense}});
      run.rms_norm(
          {.x = b.dense, .weight = l.post_norm.weight, .residual = b.y, .eps = c.rms_eps, .out = b.x});
    } else {
      run.linear(b.attended, {{.weight = l.dense.weight, .bias = l.dense.bias, .residual = b.y, .out = b.x}});
    }
    x = b.x;
    run.observe("phi.layer.", i, x);
  }
  run.layer_norm({.x = x, .weight = w.norm.weight, .bias = w.norm.bias, .eps = c.eps, .out = b.h});
}

void phi_logits(steps& run, const phi_weights& w, const matrix& h, const matrix& logits) noexcept {
  run.linear(h, {{.weight = w.head.weight, .bias = w.head.bias, .out = logits}});
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_PHI_IPP
