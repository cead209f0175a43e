// EVA-CLIP ViT, the forward pass.
#ifndef OCELLUS_MODEL_VIT_IPP
#define OCELLUS_MODEL_VIT_IPP

#include <cmath>

#include "ocellus/model/vit.hpp"

namespace ocellus::inline OCELLUS_ABI {

vit_buffers vit_buffers::plan(workspace& space, const vit_config& c, std::uint32_t pictures) noexcept {
  const std::uint32_t patches = pictures * c.patches(), tokens = pictures * c.tokens();
  vit_buffers b;
  b.patch_values = space.activations(patches, c.patch_values());
  b.patches = space.activations(patches, c.width);
  b.x = space.activations(tokens, c.width);
  b.y = space.activations(tokens, c.width);
  b.h = space.activations(tokens, c.width);
  b.qkv = space.activations(tokens, 3 * c.width);
  b.attended = space.activations(tokens, c.width);
  b.mlp = space.activations(tokens, c.mlp_width);
  b.tokens = space.activations(tokens, c.width);
  return b;
}

vit_buffers vit_buffers::first(const vit_config& c, std::uint32_t pictures) const noexcept {
  vit_buffers b = *this;
  for (matrix* m : {&b.patch_values, &b.patches}) *m = m->slice(0, pictures * c.patches());
  for (matrix* m : {&b.x, &b.y, &b.h, &b.qkv, &b.attended, &b.mlp, &b.tokens}) {
    *m = m->slice(0, pictures * c.tokens());
  }
  return b;
}

void extract_patches(const vit_config& c, std::span<const float> pixels, std::span<float> rows) noexcept {
  const std::size_t side = c.image_size, patch = c.patch_size;
  float* to = rows.data();
  for (std::size_t py = 0; py < c.grid(); ++py) {
    for (std::size_t px = 0; px < c.grid(); ++px) {
      for (std::size_t channel = 0; channel < 3; ++channel) {
        for (std::size_t y = 0; y < patch; ++y) {
          const float* from = pixels.data() + (channel * side + py * patch + y) * side + px * patch;
          std::memcpy(to, from, patch * sizeof(float));
          to += patch;
        }
      }
    }
  }
}

void vit_forward(steps& run, const vit_config& c, const vit_weights& w, const vit_buffers& b) noexcept {
  run.linear(b.patch_values, {{.weight = w.patch.weight, .bias = w.patch.bias, .out = b.patches}});
  run.observe("vit.patches", b.patches);
  const std::uint32_t pictures = b.x.rows / c.tokens();
  for (std::uint32_t i = 0; i < pictures; ++i) {
    const matrix x = b.x.slice(i * c.tokens(), c.tokens());
    run.add(w.class_token, w.positions.slice(0, 1), x.slice(0, 1));
    run.add(b.patches.slice(i * c.patches(), c.patches()), w.positions.slice(1, c.patches()),
            x.slice(1, c.patches()));
  }

  const auto sequence = [&](std::uint32_t i) {  // every token of a picture sees every other
    const matrix qkv = b.qkv.slice(i * c.tokens(), c.tokens());
    attention_sequence s;
    s.first_row = i * c.tokens();
    s.rows = c.tokens();
    s.segment_count = 1;
    s.segments[0] = {qkv.columns(c.width, c.head_size()), qkv.columns(2 * c.width, c.head_size()),
                     c.head_size()};
    return s;
  };
  attention_args attend;
  attend.q = b.qkv.columns(0, c.width);
  attend.out = b.attended;
  attend.heads = c.heads;
  attend.head_size = c.head_size();
  attend.scale = 1.0f / std::sqrt(static_cast<float>(c.head_size()));

  for (std::uint32_t i = 0; i < c.layers; ++i) {
    const vit_block_weights& l = w.blocks[i];
    // y = x + proj(attention(norm1(x)))
    run.layer_norm({.x = b.x, .weight = l.norm1.weight, .bias = l.norm1.bias, .eps = c.eps, .out = b.h});
    run.linear(b.h, {{.weight = l.qkv.weight, .bias = l.qkv.bias, .out = b.qkv}});
    run.attention(attend, pictures, sequence);
    run.linear(b.attended, {{.weight = l.proj.weight, .bias = l.proj.bias, .residual = b.x, .out = b.y}});
    // x = y + fc2(gelu(fc1(norm2(y))))
    run.layer_norm({.x = b.y, .weight = l.norm2.weight, .bias = l.norm2.bias, .eps = c.eps, .out = b.h});
    run.linear(b.h, {{.weight = l.fc1.weight, .bias = l.fc1.bias, .act = activation::gelu, .out = b.mlp}});
    run.linear(b.mlp, {{.weight = l.fc2.weight, .bias = l.fc2.bias, .residual = b.y, .out = b.x}});
    run.observe("vit.block.", i, b.x);
  }
  run.layer_norm(
      {.x = b.x, .weight = w.norm.weight, .bias = w.norm.bias, .eps = c.final_eps, .out = b.tokens});
  run.observe("ln_vision", b.tokens);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_VIT_IPP
