// BLIP-2's Q-Former and the projections, the forward pass.
#ifndef OCELLUS_MODEL_QFORMER_IPP
#define OCELLUS_MODEL_QFORMER_IPP

#include <cmath>

#include "ocellus/model/qformer.hpp"

namespace ocellus::inline OCELLUS_ABI {

qformer_buffers qformer_buffers::plan(workspace& space, const model_config& c,
                                      std::uint32_t pictures) noexcept {
  const qformer_config& q = c.qformer;
  const std::uint32_t queries = pictures * q.queries;
  qformer_buffers b;
  b.x = space.activations(queries, q.width);
  b.y = space.activations(queries, q.width);
  b.z = space.activations(queries, q.width);
  b.sum = space.activations(queries, q.width);
  b.qkv = space.activations(queries, 3 * q.width);
  b.q = space.activations(queries, q.width);
  b.kv = space.activations(pictures * c.vit.tokens(), 2 * q.width);
  b.attended = space.activations(queries, q.width);
  b.mlp = space.activations(queries, q.mlp_width);
  b.projected = space.activations(queries, c.projection_width);
  b.embeds = space.activations(queries, c.phi.width);
  return b;
}

qformer_buffers qformer_buffers::first(const model_config& c, std::uint32_t pictures) const noexcept {
  qformer_buffers b = *this;
  for (matrix* m : {&b.x, &b.y, &b.z, &b.sum, &b.qkv, &b.q, &b.attended, &b.mlp, &b.projected, &b.embeds}) {
    *m = m->slice(0, pictures * c.qformer.queries);
  }
  b.kv = b.kv.slice(0, pictures * c.vit.tokens());
  return b;
}

void qformer_forward(steps& run, const model_config& c, const model_weights& w, const matrix& image,
                     const qformer_buffers& b) noexcept {
  const qformer_config& q = c.qformer;
  attention_args attend;
  attend.out = b.attended;
  attend.heads = q.heads;
  attend.head_size = q.head_size();
  attend.scale = 1.0f / std::sqrt(static_cast<float>(q.head_size()));

  const std::uint32_t pictures = b.x.rows / q.queries;
  const auto sequence = [&](std::uint32_t i, const matrix& keys, const matrix& values) {
    attention_sequence s;
    s.first_row = i * q.queries;
    s.rows = q.queries;
    s.segment_count = 1;
    s.segments[0] = {keys, values, q.head_size()};
    return s;
  };
  const auto queries = [&](std::uint32_t i) {  // keys from the queries themselves
    const matrix qkv = b.qkv.slice(i * q.queries, q.queries);
    return sequence(i, qkv.columns(q.width, q.head_size()), qkv.columns(2 * q.width, q.head_size()));
  };
  const auto picture = [&](std::uint32_t i) {  // keys from the picture
    const matrix kv = b.kv.slice(i * c.vit.tokens(), c.vit.tokens());
    return sequence(i, kv.columns(0, q.head_size()), kv.columns(q.width, q.head_size()));
  };

  // sum = dense(input) + residual; out = LN(sum)
  const auto output = [&](const linear_weights& dense, const matrix& input, const norm_weights& norm,
                          const matrix& residual, const matrix& out) {
    run.linear(input, {{.weight = dense.weight, .bias = dense.bias, .residual = residual, .out = b.sum}});
    run.layer_norm({.x = b.sum, .weight = norm.weight, .bias = norm.bias, .eps = q.eps, .out = out});
  };

  for (std::uint32_t i = 0; i < pictures; ++i) {
    run.layer_norm({.x = w.qformer.queries,
                    .weight = w.qformer.norm.weight,
                    .bias = w.qformer.norm.bias,
                    .eps = q.eps,
                    .out = b.x.slice(i * q.queries, q.queries)});
  }
  for (std::uint32_t i = 0; i < q.layers; ++i) {
    const qformer_layer_weights& l = w.qformer.layers[i];
    run.linear(b.x, {{.weight = l.self_qkv.weight, .bias = l.self_qkv.bias, .out = b.qkv}});
    attend.q = b.qkv.columns(0, q.width);
    run.attention(attend, pictures, queries);
    output(l.self_out, b.attended, l.self_norm, b.x, b.y);
    matrix residual = b.y;
    if (q.has_cross(i)) {
      run.linear(b.y, {{.weight = l.cross_q.weight, .bias = l.cross_q.bias, .out = b.q}});
      run.linear(image, {{.weight = l.cross_kv.weight, .bias = l.cross_kv.bias, .out = b.kv}});
      attend.q = b.q;
      run.attention(attend, pictures, picture);
      output(l.cross_out, b.attended, l.cross_norm, b.y, b.z);
      residual = b.z;
    }
    run.linear(residual,
               {{.weight = l.fc1.weight, .bias = l.fc1.bias, .act = activation::gelu, .out = b.mlp}});
    output(l.fc2, b.mlp, l.norm, residual, b.x);
    run.observe("qformer.layer.", i, b.x);
  }
  const linear_weights& p0 = w.projection[0];
  const linear_weights& p1 = w.projection[1];
  run.linear(b.x, {{.weight = p0.weight, .bias = p0.bias, .out = b.projected}});
  run.linear(b.projected, {{.weight = p1.weight, .bias = p1.bias, .out = b.embeds}});
  run.observe("image_embeds", b.embeds);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_QFORMER_IPP
