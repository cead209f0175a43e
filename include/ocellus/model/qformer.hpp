// BLIP-2's Q-Former, query branch, and the two projections behind it: image tokens to embeddings that Phi reads
// (arXiv 2301.12597; reference: QFormer, llama_proj, llama_proj2).
#ifndef OCELLUS_MODEL_QFORMER_HPP
#define OCELLUS_MODEL_QFORMER_HPP

#include "ocellus/model/steps.hpp"
#include "ocellus/model/weights.hpp"
#include "ocellus/model/workspace.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// B pictures one behind the other, each of Q queries ("[Q, W]" below is [B * Q, W], and so on); W width, M MLP width, T image tokens, P projection width, E Phi's width.
struct qformer_buffers {
  matrix x, y, z;    ///< [Q, W]  the stream: at a layer's start, behind self and behind cross attention
  matrix sum;        ///< [Q, W]  dense(...) + residual, before its norm
  matrix qkv;        ///< [Q, 3 W]
  matrix q;          ///< [Q, W]
  matrix kv;         ///< [T, 2 W]
  matrix attended;   ///< [Q, W]
  matrix mlp;        ///< [Q, M]
  matrix projected;  ///< [Q, P]
  matrix embeds;     ///< [Q, E]  out

  static qformer_buffers plan(workspace& space, const model_config& c, std::uint32_t pictures) noexcept;
  /// The same buffers for fewer pictures.
  [[nodiscard]] qformer_buffers first(const model_config& c, std::uint32_t pictures) const noexcept;
};

/// image: [B * T, ViT width] -> b.embeds.
void qformer_forward(steps& run, const model_config& c, const model_weights& w, const matrix& image,
                     const qformer_buffers& b) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_QFORMER_HPP
