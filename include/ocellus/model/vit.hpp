// EVA-CLIP ViT: patches of a picture to tokens (arXiv 2303.15389; reference: VisionTransformer).
#ifndef OCELLUS_MODEL_VIT_HPP
#define OCELLUS_MODEL_VIT_HPP

#include "ocellus/model/steps.hpp"
#include "ocellus/model/weights.hpp"
#include "ocellus/model/workspace.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// B pictures one behind the other, each of T tokens = 1 + P patches; W width, M MLP width, C = 3 * patch * patch values
/// of a patch. "[P, C]" below is [B * P, C], and so on.
struct vit_buffers {
  matrix patch_values;  ///< [P, C]  in
  matrix patches;       ///< [P, W]
  matrix x, y;          ///< [T, W]  the residual stream, before and after attention
  matrix h;             ///< [T, W]  normed
  matrix qkv;           ///< [T, 3 W]
  matrix attended;      ///< [T, W]
  matrix mlp;           ///< [T, M]
  matrix tokens;        ///< [T, W]  out: behind ln_vision

  static vit_buffers plan(workspace& space, const vit_config& c, std::uint32_t pictures) noexcept;
  /// The same buffers for fewer pictures.
  [[nodiscard]] vit_buffers first(const vit_config& c, std::uint32_t pictures) const noexcept;
};

/// Pixels to the rows that the patch embedding multiplies: row (py, px), column (channel, y, x).
/// pixels: [3, S, S]; rows: [P, C].
void extract_patches(const vit_config& c, std::span<const float> pixels, std::span<float> rows) noexcept;

/// b.patch_values -> b.tokens.
void vit_forward(steps& run, const vit_config& c, const vit_weights& w, const vit_buffers& b) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_VIT_HPP
