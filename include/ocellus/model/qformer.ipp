// BLIP-2's Q-Former and the projections, the forward pass.
#ifndef OCELLUS_MODEL_QFORMER_IPP
#define OCELLUS_MODEL_QFORMER_IPP

#include <cmath>

#include "ocellus/model/qformer.hpp"

namespace ocellus::inline OCELLUS_ABI {

qformer_buffers qformer_buffers::plan(workspace& space, const model_config& c) noexcept {
  const qformer_config& q = c.qformer;
  qformer_buffers b;
  b.x = space.activations(q.queries, q.width);
  b.y = space.activations(q.queries, q.width);
  b.z = space.activations(q.queries, q.width);
  b.sum = space.activations(q.queries, q.width);
  b.qkv = space.activations(q.queries, 3 * q.width);
  b.q = space.activations(q.queries, q.width);
  b.kv = space.activations(c.vit.tokens(), 2 * q.width);
  b.attended = space.activations(q.queries, q.width);
  b.mlp = space.activations(q.queries, q.mlp_width);
  b.projected = space.activations(q.queries, c.projection_width);
  b.embeds = space.activations(q.queries, c.phi.width);
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

  attention_sequence queries;  // keys from the queries themselves
  queries.rows = q.queries;
  queries.segment_count = 1;
  queries.segments[0] = {b.qkv.columns(q.width, q.head_size()), b.qkv.columns(2 * q.width, q.head_size()),
                         q.head_size()};
  attention_sequence picture = queries;  // keys from the picture
  picture.segments[0] = {b.kv.columns(0, q.head_size()), b.kv.columns(q.width, q.head_size()), q.head_size()};

  // sum = dense(input) + residual; out = LN(sum)
  const auto output = [&](const linear_weights& dense, const matrix& input, const norm_weights& norm,
                          const matrix& residual, const matrix& out) {
    run.linear(input, {{.weight = dense.weight, .bias = dense.bias, .residual = residual, .out = b.sum}});
    run.layer_norm({.x = b.sum, .weight = norm.weight, .bias = norm.bias, .eps = q.eps, .out = out});
  };

  run.layer_norm({.x = w.qformer.queries,
                  .weight = w.qformer.norm.weight,
                  .bias = w.qformer.norm.bias,
                  .eps = q.eps,
                  .out = b.x});
  for (std::uint32_t i = 0; i < q.layers; ++i) {
    const qformer_layer_weights& l = w.qformer.layers[i];
    run.linear(b.x, {{.weight = l.self_qkv.weight, .bias = l.self_qkv.bias, .out = b.qkv}});
    attend.q = b.qkv.columns(0, q.width);
    run.attention(attend, queries);
    output(l.self_out, b.attended, l.self_norm, b.x, b.y);
    matrix residual = b.y;
    if (q.has_cross(i)) {
      run.linear(b.y, {{.weight = l.cross_q.weight, .bias = l.cross_q.bias, .out = b.q}});
      run.linear(image, {{.weight = l.cross_kv.weight, .bias = l.cross_kv.bias, .out = b.kv}});
      attend.q = b.q;
      run.attention(attend, picture);
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
