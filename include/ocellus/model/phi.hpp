// Phi-2, plain or with TinyGPT-V's q/k norms and post-attention RMS norm: embeddings to logits over a KV cache
// (reference: Phi, PhiLayer, PhiAttention).
#ifndef OCELLUS_MODEL_PHI_HPP
#define OCELLUS_MODEL_PHI_HPP

#include "ocellus/model/steps.hpp"
#include "ocellus/model/weights.hpp"
#include "ocellus/model/workspace.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Keys and values of every layer for C positions, f32 or f16, [layer][k or v][head][C][D padded to 16].
class kv_cache {
 public:
  kv_cache() noexcept = default;
  /// Bytes of a cache for `positions`.
  [[nodiscard]] static checked bytes(const phi_config& c, dtype type, std::uint32_t positions) noexcept;
  kv_cache(const phi_config& c, dtype type, const buffer& memory, std::uint32_t positions) noexcept;

  /// Positions [0, length) of a layer.
  [[nodiscard]] kv_segment segment(std::uint32_t layer, std::uint32_t length) const noexcept;
  /// `count` positions from `first` on, all heads of all layers, keys and values: a row for each of these, as it lies in
  /// memory. For copying.
  [[nodiscard]] matrix positions(const phi_config& c, std::uint32_t first,
                                 std::uint32_t count) const noexcept;

 private:
  void* handle_ = nullptr;
  dtype type_ = dtype::f32;
  std::uint32_t positions_ = 0, head_size_ = 0, heads_ = 0;
  std::uint64_t stride_ = 0;
};

/// Cosines and sines of RoPE, [positions, rotary_size / 2] each, computed as the reference does, in f32.
void rotary_tables(const phi_config& c, std::uint32_t positions, std::span<float> cosines,
                   std::span<float> sines) noexcept;

/// T rows, W width, M MLP width.
struct phi_buffers {
  matrix x, y;      ///< [T, W]  the residual stream, at a layer's start and behind its MLP
  matrix h;         ///< [T, W]  normed
  matrix qkv;       ///< [T, 3 W]
  matrix q;         ///< [T, W]
  matrix attended;  ///< [T, W]
  matrix dense;     ///< [T, W]
  matrix mlp;       ///< [T, M]

  static phi_buffers plan(workspace& space, const phi_config& c, std::uint32_t rows) noexcept;
  /// The same buffers for fewer rows.
  [[nodiscard]] phi_buffers first(std::uint32_t rows) const noexcept;
};

/// Consecutive rows of a pass that belong to one sequence, and where its keys and values are: those of its first
/// positions in a cache that it shares with others, those behind them in its own.
struct phi_sequence {
  std::uint32_t first_row = 0;
  std::uint32_t rows = 0;
  std::uint32_t position = 0;  ///< of the first row
  kv_cache prefix;
  std::uint32_t prefix_length = 0;  ///< positions in it; none of the rows' own
  kv_cache tail;
};

/// What a pass over some rows needs besides the weights.
struct phi_pass {
  matrix input;  ///< [T, W]  embeddings
  std::span<const phi_sequence> sequences;
  matrix cosines, sines;  ///< see rotary_tables
  phi_buffers buffers;    ///< of T rows
};

/// p.input -> p.buffers.h [T, W], behind the final norm; keys and values are stored at their positions. The input may be
/// p.buffers.x.
void phi_forward(steps& run, const phi_config& c, const phi_weights& w, const phi_pass& p) noexcept;

/// lm_head. h: [T, W] -> logits [T, vocabulary].
void phi_logits(steps& run, const phi_weights& w, const matrix& h, const matrix& logits) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_PHI_HPP
