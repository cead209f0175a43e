// The sizes of one model: what its file says in __metadata__, with every range closed.
#ifndef OCELLUS_MODEL_CONFIG_HPP
#define OCELLUS_MODEL_CONFIG_HPP

#include "ocellus/error.hpp"
#include "ocellus/memory.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// EVA-CLIP ViT: patches of a square picture to tokens.
struct vit_config {
  std::uint32_t image_size = 0;  ///< pixels along each side
  std::uint32_t patch_size = 0;
  std::uint32_t width = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t mlp_width = 0;
  float eps = 1e-6f;        ///< of the blocks' layer norms
  float final_eps = 1e-5f;  ///< of ln_vision, the layer norm behind the tower

  [[nodiscard]] std::uint32_t head_size() const noexcept { return width / heads; }
  [[nodiscard]] std::uint32_t grid() const noexcept { return image_size / patch_size; }
  [[nodiscard]] std::uint32_t patches() const noexcept { return grid() * grid(); }
  [[nodiscard]] std::uint32_t tokens() const noexcept { return patches() + 1; }
  [[nodiscard]] std::uint32_t patch_values() const noexcept { return 3 * patch_size * patch_size; }
};

/// BLIP-2's Q-Former, query branch: learned queries that read the picture's tokens.
struct qformer_config {
  std::uint32_t queries = 0;
  std::uint32_t width = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t mlp_width = 0;
  std::uint64_t cross_layers = 0;  ///< bit i: layer i has cross attention to the picture
  float eps = 1e-12f;

  [[nodiscard]] std::uint32_t head_size() const noexcept { return width / heads; }
  [[nodiscard]] bool has_cross(std::uint32_t layer) const noexcept {
    return (cross_layers >> layer & 1) != 0;
  }
};

/// Phi-2, plain or with TinyGPT-V's extra norms.
struct phi_config {
  std::uint32_t vocabulary = 0;  ///< rows of the embedding and of lm_head; not all need be tokens
  std::uint32_t width = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t mlp_width = 0;
  std::uint32_t rotary_size = 0;    ///< leading values of a head that RoPE rotates
  std::uint32_t max_positions = 0;  ///< context that the model was trained for
  float rope_theta = 10000.0f;
  float eps = 1e-5f;       ///< layer norms, and q/k norms
  float rms_eps = 1e-6f;   ///< the RMS norm behind attention
  bool qk_norm = false;    ///< a layer norm over each head's q and k
  bool post_norm = false;  ///< an RMS norm of the attention's output

  [[nodiscard]] std::uint32_t head_size() const noexcept { return width / heads; }
};

/// A whole model. Without a picture side (plain Phi-2), `has_vision` is false and the first three parts are unused.
struct model_config {
  bool has_vision = false;
  vit_config vit;
  qformer_config qformer;
  std::uint32_t projection_width = 0;  ///< between the two linear layers from the Q-Former to Phi
  phi_config phi;
};

/// Every field in its range and every pair consistent; the error names the field.
[[nodiscard]] result<void> validate(const model_config& config) noexcept;

/// Has the embedding a row for each of a tokenizer's ids? Error: config_mismatch.
[[nodiscard]] result<void> check_vocabulary(std::uint32_t ids, const phi_config& config) noexcept;

/// Reads the JSON that to_json wrote; a missing, unknown or mistyped field is an error. The result is validated.
[[nodiscard]] result<model_config> parse_model_config(std::string_view json,
                                                      const memory_hooks& memory) noexcept;

/// The configuration as one JSON object, for __metadata__ of a model file.
[[nodiscard]] result<text> to_json(const model_config& config, const memory_hooks& memory) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CONFIG_HPP
