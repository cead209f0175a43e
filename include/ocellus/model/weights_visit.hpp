// The walk over all weights (see weights.hpp): the one place where the names and shapes of a model file stand.
#ifndef OCELLUS_MODEL_WEIGHTS_VISIT_HPP
#define OCELLUS_MODEL_WEIGHTS_VISIT_HPP

#include "ocellus/model/weights.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

/// Joins the visitor's four calls into layers and norms.
template <class Visitor>
struct weight_walk {
  Visitor& visit;

  [[nodiscard]] result<void> linear(const tensor_name& at, linear_weights& w, std::uint32_t n,
                                    std::uint32_t k) noexcept {
    OCELLUS_TRY(visit.matrix_of((at / "weight").view(), w.weight, n, k));
    return visit.vector_of((at / "bias").view(), w.bias, n);
  }
  [[nodiscard]] result<void> norm(const tensor_name& at, norm_weights& w, std::uint32_t size) noexcept {
    OCELLUS_TRY(visit.vector_of((at / "weight").view(), w.weight, size));
    return visit.vector_of((at / "bias").view(), w.bias, size);
  }
  template <class Layer>
  [[nodiscard]] result<void> size_layers(array<Layer>& layers, std::uint32_t count) noexcept {
    if (!layers.resize(count)) return no_memory(count, " layers");
    return {};
  }

  [[nodiscard]] result<void> vit(const vit_config& c, vit_weights& w) noexcept {
    const tensor_name at("vision");
    OCELLUS_TRY(linear(at / "patch", w.patch, c.width, c.patch_values()));
    OCELLUS_TRY(visit.rows_of((at / "class").view(), w.class_token, 1, c.width));
    OCELLUS_TRY(visit.rows_of((at / "positions").view(), w.positions, c.tokens(), c.width));
    OCELLUS_TRY(size_layers(w.blocks, c.layers));
    for (std::uint32_t i = 0; i < c.layers; ++i) {
      const tensor_name block = at / "blocks" / i;
      vit_block_weights& b = w.blocks[i];
      OCELLUS_TRY(norm(block / "norm1", b.norm1, c.width));
      OCELLUS_TRY(linear(block / "qkv", b.qkv, 3 * c.width, c.width));
      OCELLUS_TRY(linear(block / "proj", b.proj, c.width, c.width));
      OCELLUS_TRY(norm(block / "norm2", b.norm2, c.width));
      OCELLUS_TRY(linear(block / "fc1", b.fc1, c.mlp_width, c.width));
      OCELLUS_TRY(linear(block / "fc2", b.fc2, c.width, c.mlp_width));
    }
    return norm(at / "norm", w.norm, c.width);
  }

  [[nodiscard]] result<void> qformer(const qformer_config& c, std::uint32_t image_width,
                                     qformer_weights& w) noexcept {
    const tensor_name at("qformer");
    OCELLUS_TRY(visit.rows_of((at / "queries").view(), w.queries, c.queries, c.width));
    OCELLUS_TRY(norm(at / "norm", w.norm, c.width));
    OCELLUS_TRY(size_layers(w.layers, c.layers));
    for (std::uint32_t i = 0; i < c.layers; ++i) {
      const tensor_name layer = at / "layers" / i;
      qformer_layer_weights& l = w.layers[i];
      OCELLUS_TRY(linear(layer / "self" / "qkv", l.self_qkv, 3 * c.width, c.width));
      OCELLUS_TRY(linear(layer / "self" / "out", l.self_out, c.width, c.width));
      OCELLUS_TRY(norm(layer / "self" / "norm", l.self_norm, c.width));
      if (c.has_cross(i)) {
        OCELLUS_TRY(linear(layer / "cross" / "q", l.cross_q, c.width, c.width));
        OCELLUS_TRY(linear(layer / "cross" / "kv", l.cross_kv, 2 * c.width, image_width));
        OCELLUS_TRY(linear(layer / "cross" / "out", l.cross_out, c.width, c.width));
        OCELLUS_TRY(norm(layer / "cross" / "norm", l.cross_norm, c.width));
      }
      OCELLUS_TRY(linear(layer / "fc1", l.fc1, c.mlp_width, c.width));
      OCELLUS_TRY(linear(layer / "fc2", l.fc2, c.width, c.mlp_width));
      OCELLUS_TRY(norm(layer / "norm", l.norm, c.width));
    }
    return {};
  }

  [[nodiscard]] result<void> phi(const phi_config& c, phi_weights& w) noexcept {
    const tensor_name at("phi");
    OCELLUS_TRY(visit.table_of((at / "embedding").view(), w.embedding, c.vocabulary, c.width));
    OCELLUS_TRY(size_layers(w.layers, c.layers));
    for (std::uint32_t i = 0; i < c.layers; ++i) {
      const tensor_name layer = at / "layers" / i;
      phi_layer_weights& l = w.layers[i];
      OCELLUS_TRY(norm(layer / "norm", l.norm, c.width));
      OCELLUS_TRY(linear(layer / "qkv", l.qkv, 3 * c.width, c.width));
      if (c.qk_norm) {
        OCELLUS_TRY(norm(layer / "q_norm", l.q_norm, c.head_size()));
        OCELLUS_TRY(norm(layer / "k_norm", l.k_norm, c.head_size()));
      }
      OCELLUS_TRY(linear(layer / "dense", l.dense, c.width, c.width));
      if (c.post_norm) {
        OCELLUS_TRY(visit.vector_of((layer / "post_norm" / "weight").view(), l.post_norm.weight, c.width));
      }
      OCELLUS_TRY(linear(layer / "fc1", l.fc1, c.mlp_width, c.width));
      OCELLUS_TRY(linear(layer / "fc2", l.fc2, c.width, c.mlp_width));
    }
    OCELLUS_TRY(norm(at / "norm", w.norm, c.width));
    return linear(at / "head", w.head, c.vocabulary, c.width);
  }
};

}  // namespace detail

template <class Visitor>
result<void> visit_weights(const model_config& c, model_weights& w, Visitor& visit) noexcept {
  detail::weight_walk<Visitor> walk{visit};
  if (c.has_vision) {
    OCELLUS_TRY(walk.vit(c.vit, w.vit));
    OCELLUS_TRY(walk.qformer(c.qformer, c.vit.width, w.qformer));
    OCELLUS_TRY(
        walk.linear(tensor_name("projection") / 0u, w.projection[0], c.projection_width, c.qformer.width));
    OCELLUS_TRY(
        walk.linear(tensor_name("projection") / 1u, w.projection[1], c.phi.width, c.projection_width));
  }
  return walk.phi(c.phi, w.phi);
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_WEIGHTS_VISIT_HPP
